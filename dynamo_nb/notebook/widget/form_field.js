// Fields of a form, made from a JSON schema: one value, an object with fields of its own, or a list of fields. A value is
// read as JSON text, so no number loses digits.

import { button, create, iconButton, setText } from "./dom.js";
import { pythonType, pythonValue, resolve } from "./python_types.js";

/** Objects in objects that get fields; deeper ones, such as a model that contains itself, are written as JSON. */
const MAX_DEPTH = 4;

/** A schema with its kind ("string", "number", "integer", "boolean", "choice", "object", "list", "json"), and `nullable`. */
function kindOf(given, root, depth) {
  const schema = resolve(given, root);
  const options = schema.enum ?? ("const" in schema ? [schema.const] : null);
  if (options) return { ...schema, kind: "choice", options };
  const variants = schema.anyOf ?? schema.oneOf;
  if (variants) {
    const [only, ...others] = variants.filter((each) => resolve(each, root).type !== "null");
    if (only === undefined || others.length) return { ...schema, kind: "json" };
    return { ...schema, ...kindOf(only, root, depth), ...("default" in schema ? { default: schema.default } : {}),
             nullable: variants.length > 1 };
  }
  if (depth < MAX_DEPTH && schema.properties) return { ...schema, kind: "object" };
  if (depth < MAX_DEPTH && schema.type === "array" && schema.items && schema.items !== true && !schema.prefixItems) {
    const { kind } = kindOf(schema.items, root, depth + 1);
    if (kind !== "json") return { ...schema, kind: "list" };
  }
  const kind = ["string", "number", "integer", "boolean"].includes(schema.type) ? schema.type : "json";
  return { ...schema, kind };
}

/**
 * Creates the field of a parameter, of a property or of an item.
 * @param {string} name
 * @param {any} given Its JSON schema.
 * @param {{ root?: any, required?: boolean, example?: any, label?: string, depth?: number, onchange?: () => void }} options
 *   root: the schema that has the definitions. example: a plausible value. label: its accessible name.
 *   onchange: called when fields were added or removed.
 */
export function createField(name, given, options = {}) {
  const root = given?.$defs ? given : options.root ?? given;
  const depth = options.depth ?? 0;
  const settings = { required: true, label: name, onchange: () => {}, ...options, root, depth };
  const schema = kindOf(given, root, depth);
  const kinds = { object: ObjectField, list: ListField };
  return new (kinds[schema.kind] ?? ValueField)(name, given, schema, settings);
}

/** Thrown if fields are invalid. Each shows its own error; `first` is the first of them. */
export class InvalidFields extends Error {
  constructor(first) {
    super("some fields are invalid");
    this.first = first;
  }
}

/** The values of fields as `[field, JSON text]`, without those that are left out. Throws InvalidFields. */
export function valuesOf(fields) {
  const values = [];
  let invalid = null;
  for (const field of fields) {
    try {
      const text = field.json();
      if (text !== undefined) values.push([field, text]);
      field.showError("");
    } catch (error) {
      if (!(error instanceof InvalidFields)) field.showError(error.message);
      invalid ??= error instanceof InvalidFields ? error.first : field;
    }
  }
  if (invalid) throw new InvalidFields(invalid);
  return values;
}

/** An object as JSON text, of the fields of its properties. */
export function objectText(fields) {
  return `{${valuesOf(fields).map(([{ name }, text]) => `${JSON.stringify(name)}: ${text}`).join(", ")}}`;
}

class Field {
  constructor(name, given, schema, { required, root, label, depth, onchange }) {
    this.name = name;
    this.schema = schema;
    this.required = required;
    this.root = root;
    this.label = label;
    this.depth = depth;
    this.onchange = onchange;
    this.type = pythonType(given, root);
    this.hasDefault = !required && "default" in schema;
    this.error = create("span", { class: "dynamo-field-error", role: "alert" });
    this.error.hidden = true;
  }

  /** The name and the type of the field. */
  title() {
    return create("span", { class: "dynamo-label", title: this.schema.description }, this.name,
      create("small", {}, this.type === "Any" ? "" : this.type));
  }

  /** undefined if a text is the default, which is then not sent. */
  unlessDefault(text) {
    return this.hasDefault && text === JSON.stringify(this.schema.default) ? undefined : text;
  }

  /** Shows an error at the field; "" removes it. */
  showError(text) {
    setText(this.error, text);
    this.error.hidden = text === "";
  }
}

/** A field with one input. */
class ValueField extends Field {
  constructor(name, given, schema, settings) {
    super(name, given, schema, settings);
    /** @type {any} An input, a select or a textarea. */
    this.input = this.createInput();
    this.input.setAttribute("aria-label", this.label);
    this.input.title = schema.description ?? "";
    this.element = create("label", { class: `dynamo-field dynamo-kind-${schema.kind}` }, this.title(), this.input, this.error);
    if (this.hasDefault) this.setValue(schema.default);
    else if (this.required && settings.example !== undefined) this.setValue(settings.example);
  }

  /** The value of an empty field. */
  placeholder() {
    if (this.schema.nullable && (this.required || this.hasDefault)) return "None";
    if (this.required) return "";
    return this.hasDefault ? pythonValue(this.schema.default) : this.schema["x-default"] ?? "its default";
  }

  createInput() {
    const { kind, options, nullable, minimum, maximum } = this.schema;
    const values = kind === "boolean" ? [true, false] : options;
    if (kind === "boolean" && !nullable && (this.required || this.hasDefault)) return create("input", { type: "checkbox" });
    if (values) {
      const hasEmpty = nullable || !(this.required || this.hasDefault);
      return create("select", {}, ...(hasEmpty ? [create("option", { value: "" }, this.placeholder() || "None")] : []),
        ...values.map((value) => create("option", { value: JSON.stringify(value) },
          kind === "boolean" ? pythonValue(value) : String(value))));
    }
    const placeholder = this.placeholder();
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
    else if (value === null) this.input.value = "";
    else if (kind === "json") this.input.value = JSON.stringify(value, null, 1).replace(/\s*\n\s*/g, " ");
    else this.input.value = String(value);
  }

  /** Returns the value as JSON text; undefined to leave it out. Throws an Error with a message for the user. */
  json() {
    const { kind, nullable } = this.schema;
    if (this.input.type === "checkbox") return this.unlessDefault(String(this.input.checked));
    const text = this.input.value;
    if (this.input.validity.badInput) throw new Error("not a number");
    const isEmptyText = kind === "string" && !nullable && (this.required || (this.hasDefault && this.schema.default !== null));
    if (text.trim() === "" && !isEmptyText) {
      if (nullable && (this.required || this.hasDefault)) return this.unlessDefault("null");
      if (!this.required) return undefined;
      throw new Error("required");
    }
    return this.unlessDefault(this.written(text));
  }

  written(text) {
    const { kind } = this.schema;
    if (this.input.tagName === "SELECT") return text;
    if (kind === "string") return JSON.stringify(text);
    if (kind === "integer" && /^-?(0|[1-9]\d*)$/.test(text)) return text;
    if (kind === "integer") throw new Error("not an integer");
    if (kind === "number") return JSON.stringify(Number(text));
    try {
      // A default that was not changed is equal in any spelling.
      const isDefault = this.hasDefault && JSON.stringify(JSON.parse(text)) === JSON.stringify(this.schema.default);
      return isDefault ? JSON.stringify(this.schema.default) : text;
    } catch (error) {
      throw new Error(`not JSON: ${error.message}`, { cause: error });
    }
  }

  get state() {
    return this.input.type === "checkbox" ? this.input.checked : this.input.value;
  }

  set state(state) {
    if (this.input.type === "checkbox") this.input.checked = state === true;
    else this.input.value = state ?? "";
  }

  focus() {
    this.input.focus();
  }

  showError(text) {
    super.showError(text);
    this.input.toggleAttribute("aria-invalid", text !== "");
  }
}

/** A field that can be left out as a whole: an object, or a list. */
class GroupField extends Field {
  constructor(name, given, schema, settings) {
    super(name, given, schema, settings);
    this.canBeAbsent = !settings.required || schema.nullable === true;
    this.switch = create("input", { type: "checkbox", "aria-label": `set ${this.label}`, onchange: () => this.showBody() });
    this.absent = create("small", { class: "dynamo-muted" },
      schema.nullable && (settings.required || schema.default === null) ? "None" : "its default");
    this.body = create("div", { class: "dynamo-fields" });
    this.switch.checked = !this.canBeAbsent || (this.hasDefault && schema.default !== null);
    this.element = create("fieldset", { class: `dynamo-group-field dynamo-kind-${schema.kind}`, "aria-label": this.label },
      create("div", { class: "dynamo-group-title" }, this.canBeAbsent ? this.switch : null, this.title(), this.absent),
      this.body, this.error);
  }

  showBody() {
    this.body.hidden = !this.switch.checked;
    this.absent.hidden = this.switch.checked;
  }

  /** The value as JSON text, if it is set. */
  content() {
    return "null";
  }

  /** Writes a value into the fields. undefined: none. */
  setContent(value) {
    void value;
  }

  unlessDefault(text) {
    if (!this.hasDefault) return text;
    return JSON.stringify(JSON.parse(text)) === JSON.stringify(this.schema.default) ? undefined : text;
  }

  json() {
    if (this.switch.checked) return this.unlessDefault(this.content());
    return this.required || (this.hasDefault && this.schema.default !== null) ? "null" : undefined;
  }

  setValue(value) {
    this.switch.checked = !this.canBeAbsent || (value !== undefined && value !== null);
    this.setContent(value ?? undefined);
    this.showBody();
  }

  focus() {
    /** @type {HTMLElement | null} */ (this.element.querySelector("input, textarea, select, button"))?.focus();
  }
}

class ObjectField extends GroupField {
  constructor(name, given, schema, settings) {
    super(name, given, schema, settings);
    const value = (this.hasDefault ? schema.default : settings.example) ?? {};
    // Within a default, each value is sent: its own default may be another one.
    const hasAll = this.hasDefault && schema.default !== null;
    this.fields = Object.entries(schema.properties).map(([key, property]) =>
      createField(key, property, {
        root: settings.root, required: (hasAll && key in value) || (schema.required?.includes(key) ?? false), example: value[key],
        label: `${this.label}.${key}`, depth: settings.depth + 1, onchange: settings.onchange }));
    this.body.append(...this.fields.map((field) => field.element));
    if (this.hasDefault) this.setContent(value);
    this.showBody();
  }

  content() {
    return objectText(this.fields);
  }

  setContent(value) {
    if (value === undefined) return;
    for (const field of this.fields) if (field.name in value) field.setValue(value[field.name]);
  }

  get state() {
    return { isSet: this.switch.checked, fields: this.fields.map((field) => field.state) };
  }

  set state(state) {
    this.switch.checked = state.isSet;
    for (const [at, field] of this.fields.entries()) field.state = state.fields[at];
    this.showBody();
  }
}

class ListField extends GroupField {
  constructor(name, given, schema, settings) {
    super(name, given, schema, settings);
    this.fields = [];
    this.list = create("div", { class: "dynamo-fields" });
    this.body.append(this.list, button("Add", () => {
      this.add().focus();
      this.onchange();
    }, { class: "dynamo-button dynamo-subtle", "aria-label": `Add to ${this.label}` }));
    const value = this.hasDefault ? schema.default : settings.required ? settings.example : undefined;
    this.setContent(value ?? undefined);
    this.showBody();
  }

  add(value) {
    const { items } = this.schema;
    const field = createField(`[${this.fields.length}]`, items,
      { root: this.root, example: value, label: `${this.label}[${this.fields.length}]`, depth: this.depth + 1,
        onchange: this.onchange });
    if (value !== undefined) field.setValue(value);
    const row = create("div", { class: "dynamo-list-row" }, field.element, iconButton("close", `Remove ${field.label}`, () => {
      this.fields.splice(this.fields.indexOf(field), 1);
      row.remove();
      this.onchange();
    }));
    this.fields.push(field);
    this.list.append(row);
    return field;
  }

  content() {
    return `[${valuesOf(this.fields).map(([, text]) => text).join(", ")}]`;
  }

  setContent(value) {
    this.fields = [];
    this.list.replaceChildren();
    for (const each of Array.isArray(value) ? value : []) this.add(each);
  }

  get state() {
    return { isSet: this.switch.checked, fields: this.fields.map((field) => field.state) };
  }

  set state(state) {
    this.switch.checked = state.isSet;
    this.setContent([]);
    for (const each of state.fields) this.add().state = each;
    this.showBody();
  }
}
