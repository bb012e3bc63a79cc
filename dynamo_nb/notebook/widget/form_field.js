// A parameter as a form field, made from its JSON schema. Its value is read as JSON text, so no number loses digits.

import { create, setText } from "./dom.js";

/** A schema with its kind ("string", "number", "integer", "boolean", "choice", "json"), and `nullable`. */
function kindOf(given, root) {
  const schema = resolve(given, root);
  const options = schema.enum ?? ("const" in schema ? [schema.const] : null);
  if (options) return { ...schema, kind: "choice", options };
  const variants = schema.anyOf ?? schema.oneOf;
  if (variants) {
    const [only, ...others] = variants.filter((each) => resolve(each, root).type !== "null");
    if (only === undefined || others.length) return { ...schema, kind: "json" };
    return { ...schema, ...kindOf(only, root), nullable: variants.length > 1 };
  }
  const kind = ["string", "number", "integer", "boolean"].includes(schema.type) ? schema.type : "json";
  return { ...schema, kind };
}

/** A schema with its reference replaced. root: the schema that has the definitions. */
function resolve(schema, root) {
  if (typeof schema !== "object" || schema === null) return {};
  const { $ref, allOf, ...own } = schema;
  if (allOf?.length === 1) return { ...resolve(allOf[0], root), ...own };
  if (!$ref?.startsWith("#/")) return schema;
  const found = $ref.slice(2).split("/").reduce((at, key) => at?.[key], root);
  return { ...(found?.$ref ? {} : found), ...own };
}

/** The type of a schema as text, such as `string | null`. */
export function typeName(given, root) {
  const { kind, nullable, options, type, items, title } = kindOf(given ?? {}, root ?? given ?? {});
  const name = options ? options.map((each) => JSON.stringify(each)).join(" | ")
    : kind !== "json" ? kind
    : type === "array" ? `${items ? typeName(items, root) : "any"}[]`
    : title ?? (typeof type === "string" ? type : "any");
  return nullable ? `${name} | null` : name;
}

export class FormField {
  /** example: a plausible value, or undefined. A parameter that is not required starts empty and is then not sent. */
  constructor(name, given, root, required, example) {
    const schema = kindOf(given, root);
    this.name = name;
    this.required = required;
    this.schema = schema;
    const placeholder = "default" in schema ? `default: ${JSON.stringify(schema.default)}` : required ? "" : "not sent";
    /** @type {any} An input, a select or a textarea. */
    this.input = this.createInput(placeholder);
    this.input.setAttribute("aria-label", name);
    this.input.title = schema.description ?? "";
    this.error = create("span", { class: "dynamo-field-error", role: "alert" });
    this.error.hidden = true;
    this.element = create("label", { class: `dynamo-field dynamo-kind-${schema.kind}` },
      create("span", { class: "dynamo-label" }, name, create("small", {}, typeName(given, root), required ? "" : "?")),
      this.input, this.error);
    if (required && example !== undefined) this.setValue(example);
  }

  createInput(placeholder) {
    const { kind, options, nullable, minimum, maximum } = this.schema;
    const values = kind === "boolean" ? [true, false] : options;
    if (kind === "boolean" && this.required && !nullable) return create("input", { type: "checkbox" });
    if (values) {
      const empty = this.required && !nullable ? [] : [create("option", { value: "" }, placeholder || "null")];
      return create("select", {}, ...empty,
        ...values.map((value) => create("option", { value: JSON.stringify(value) }, String(value))));
    }
    if (kind === "number" || kind === "integer") {
      return create("input", { type: "number", step: kind === "integer" ? 1 : "any", min: minimum, max: maximum, placeholder });
    }
    return create("textarea", { rows: kind === "json" ? 2 : 1, placeholder, spellcheck: kind === "string" ? null : "false" });
  }

  setValue(value) {
    const { kind } = this.schema;
    if (this.input.type === "checkbox") this.input.checked = value === true;
    else if (value === undefined) this.input.value = "";
    else if (this.input.tagName === "SELECT") this.input.value = value === null ? "" : JSON.stringify(value);
    else if (kind === "json") this.input.value = JSON.stringify(value, null, 1).replace(/\s*\n\s*/g, " ");
    else this.input.value = value === null ? "" : String(value);
  }

  /** Returns the value as JSON text; undefined to leave the parameter out. Throws an Error with a message for the user. */
  json() {
    const { kind, nullable } = this.schema;
    if (this.input.type === "checkbox") return String(this.input.checked);
    const text = this.input.value;
    if (this.input.validity.badInput) throw new Error("not a number");
    if (text.trim() === "" && !(this.required && kind === "string" && !nullable)) {
      if (!this.required) return undefined;
      if (nullable) return "null";
      throw new Error("required");
    }
    if (this.input.tagName === "SELECT") return text;
    if (kind === "string") return JSON.stringify(text);
    if (kind === "integer" && /^-?(0|[1-9]\d*)$/.test(text)) return text;
    if (kind === "integer") throw new Error("not an integer");
    if (kind === "number") return JSON.stringify(Number(text));
    try {
      JSON.parse(text);
    } catch (error) {
      throw new Error(`not JSON: ${error.message}`, { cause: error });
    }
    return text;
  }

  /** Shows an error at the field; "" removes it. */
  showError(text) {
    setText(this.error, text);
    this.error.hidden = text === "";
    this.input.toggleAttribute("aria-invalid", text !== "");
  }
}
