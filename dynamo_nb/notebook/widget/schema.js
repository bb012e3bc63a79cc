// A parameter's JSON schema as a control. A control reads as JSON text, so that no number loses digits on its way.

/** What a schema comes to: kind (string, number, integer, boolean, choice, json), and whether null is one of its values. */
function kindOf(given, root) {
  const schema = resolved(given, root);
  const options = schema.enum ?? ("const" in schema ? [schema.const] : null);
  if (options) return { ...schema, kind: "choice", options };
  const some = schema.anyOf ?? schema.oneOf;
  if (some) {
    const [only, ...others] = some.filter((each) => resolved(each, root).type !== "null");
    if (only === undefined || others.length) return { ...schema, kind: "json" };
    return { ...schema, ...kindOf(only, root), nullable: some.length > 1 };
  }
  const kind = ["string", "number", "integer", "boolean"].includes(schema.type) ? schema.type : "json";
  return { ...schema, kind };
}

function resolved(schema, root) {
  if (typeof schema !== "object" || schema === null) return {};
  const { $ref, allOf, ...own } = schema;
  if (allOf?.length === 1) return { ...resolved(allOf[0], root), ...own };
  if (!$ref?.startsWith("#/")) return schema;
  const found = $ref.slice(2).split("/").reduce((at, key) => at?.[key], root);
  return { ...(found?.$ref ? {} : found), ...own };
}

/** A type as a person writes it. */
function typeOf(given, root) {
  const { kind, nullable, options, type, items, title } = kindOf(given ?? {}, root ?? given ?? {});
  const plain = options ? options.map((each) => JSON.stringify(each)).join(" | ")
    : kind !== "json" ? kind
    : type === "array" ? `${items ? typeOf(items, root) : "any"}[]`
    : title ?? (typeof type === "string" ? type : "any");
  return nullable ? `${plain} | null` : plain;
}

/** A field of a form. */
class Field {
  /** example: a plausible value, or undefined. A parameter with a default starts empty, which leaves it out. */
  constructor(name, given, root, required, example) {
    const spec = kindOf(given, root);
    this.name = name;
    this.required = required;
    this.spec = spec;
    const fallback = "default" in spec ? `default: ${JSON.stringify(spec.default)}` : required ? "" : "left out";
    this.input = this.control(fallback);
    this.input.setAttribute("aria-label", name);
    this.input.title = spec.description ?? "";
    this.wrong = make("span", { class: "dynamo-wrong", role: "alert" });
    this.wrong.hidden = true;
    this.element = make("label", { class: `dynamo-field dynamo-of-${spec.kind}` },
      make("span", { class: "dynamo-label" }, name, make("small", {}, typeOf(given, root), required ? "" : "?")),
      this.input, this.wrong);
    if (required && example !== undefined) this.write(example);
  }

  control(fallback) {
    const { kind, options, nullable, minimum, maximum } = this.spec;
    const values = kind === "boolean" ? [true, false] : options;
    if (kind === "boolean" && this.required && !nullable) return make("input", { type: "checkbox" });
    if (values) {
      const empty = this.required && !nullable ? [] : [make("option", { value: "" }, fallback || "null")];
      return make("select", {}, ...empty,
        ...values.map((value) => make("option", { value: JSON.stringify(value) }, String(value))));
    }
    if (kind === "number" || kind === "integer") {
      return make("input", { type: "number", step: kind === "integer" ? 1 : "any", min: minimum, max: maximum, placeholder: fallback });
    }
    return make("textarea", { rows: kind === "json" ? 2 : 1, placeholder: fallback, spellcheck: kind === "string" ? null : "false" });
  }

  write(value) {
    const { kind } = this.spec;
    if (this.input.type === "checkbox") this.input.checked = value === true;
    else if (value === undefined) this.input.value = "";
    else if (this.input.tagName === "SELECT") this.input.value = value === null ? "" : JSON.stringify(value);
    else if (kind === "json") this.input.value = JSON.stringify(value, null, 1).replace(/\s*\n\s*/g, " ");
    else this.input.value = value === null ? "" : String(value);
  }

  /** The value as JSON text; undefined leaves the parameter out. Throws an Error that says what is wrong. */
  read() {
    const { kind, nullable } = this.spec;
    if (this.input.type === "checkbox") return String(this.input.checked);
    const words = this.input.value;
    if (this.input.validity.badInput) throw new Error("not a number");
    if (words.trim() === "" && !(this.required && kind === "string" && !nullable)) {
      if (!this.required) return undefined;
      if (nullable) return "null";
      throw new Error("needed");
    }
    if (this.input.tagName === "SELECT") return words;
    if (kind === "string") return JSON.stringify(words);
    if (kind === "integer" && /^-?(0|[1-9]\d*)$/.test(words)) return words;
    if (kind === "integer") throw new Error("not a whole number");
    if (kind === "number") return JSON.stringify(Number(words));
    try {
      JSON.parse(words);
    } catch (error) {
      throw new Error(`not JSON: ${error.message}`);
    }
    return words;
  }

  tell(words) {
    say(this.wrong, words);
    this.wrong.hidden = words === "";
    this.input.toggleAttribute("aria-invalid", words !== "");
  }
}
