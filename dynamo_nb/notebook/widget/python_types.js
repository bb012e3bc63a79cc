// JSON schemas and values as Python code, for signatures and labels.

const SCALARS = { string: "str", integer: "int", number: "float", boolean: "bool", null: "None" };
const FORMATS = { "date-time": "datetime", date: "date", time: "time", duration: "timedelta", uuid: "UUID", binary: "bytes" };

/** A schema with its references replaced. root: the schema that has the definitions. */
export function resolve(schema, root) {
  if (typeof schema !== "object" || schema === null) return {};
  const { $ref, allOf, ...own } = schema;
  if (allOf?.length === 1) return { ...resolve(allOf[0], root), ...own };
  if (!$ref?.startsWith("#/")) return schema;
  const found = $ref.slice(2).split("/").reduce((at, key) => at?.[key], root);
  return { ...(found?.$ref ? {} : found), ...own };
}

/** The type of a schema, such as `list[str] | None`; "Any" if it has none. */
export function pythonType(given, root = given) {
  const schema = resolve(given, root);
  if (schema.enum) return `Literal[${schema.enum.map(pythonValue).join(", ")}]`;
  if ("const" in schema) return `Literal[${pythonValue(schema.const)}]`;
  const variants = schema.anyOf ?? schema.oneOf;
  if (variants) return [...new Set(variants.map((each) => pythonType(each, root)))].join(" | ");
  if (Array.isArray(schema.type)) return schema.type.map((type) => pythonType({ ...schema, type }, root)).join(" | ");
  if (schema.type === "array") return arrayType(schema, root);
  if (schema.type === "object" && !schema.properties) {
    const values = schema.additionalProperties;
    return values && values !== true ? `dict[str, ${pythonType(values, root)}]` : "dict";
  }
  if (schema.properties) return schema.title ?? "dict";
  return (schema.type === "string" && FORMATS[schema.format]) || SCALARS[schema.type] || "Any";
}

function arrayType({ items, prefixItems, uniqueItems }, root) {
  if (prefixItems) return `tuple[${prefixItems.map((each) => pythonType(each, root)).join(", ")}]`;
  const name = uniqueItems ? "set" : "list";
  return items && items !== true && pythonType(items, root) !== "Any" ? `${name}[${pythonType(items, root)}]` : name;
}

/** A JSON value as Python writes it. */
export function pythonValue(value) {
  if (value === null || value === undefined) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(pythonValue).join(", ")}]`;
  if (typeof value === "object") {
    return `{${Object.entries(value).map(([key, each]) => `${JSON.stringify(key)}: ${pythonValue(each)}`).join(", ")}}`;
  }
  return JSON.stringify(value);
}

/** The signature of an endpoint, such as `(text: str, top_k: int = 3) -> list[str]`. */
export function signature({ input, output, stream }) {
  const parameters = Object.entries(input?.properties ?? {}).map(([name, schema]) => {
    const type = pythonType(schema);
    const annotated = type === "Any" ? name : `${name}: ${type}`;
    if (input.required?.includes(name)) return annotated;
    const value = "default" in schema ? pythonValue(schema.default) : schema["x-default"] ?? "…";
    return type === "Any" ? `${annotated}=${value}` : `${annotated} = ${value}`;
  });
  const returned = output ? pythonType(output) : "Any";
  if (stream) return `(${parameters.join(", ")}) -> AsyncIterator[${returned}]`;
  return `(${parameters.join(", ")})${returned === "Any" ? "" : ` -> ${returned}`}`;
}
