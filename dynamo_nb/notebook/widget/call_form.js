// A form to call an endpoint, made from its JSON schema, and the result of the call.

import { button, create, setAttribute, setText } from "./dom.js";
import { InvalidFields, createField, objectText } from "./form_field.js";
import { duration, grouped } from "./formats.js";
import { signature } from "./python_types.js";
import { MAX_ITEMS, isFinished } from "./view_state.js";

export class CallForm {
  /**
   * viewState stores the typed arguments and the running call, so that both survive this element.
   * @param {import("./view_state.js").ViewState} viewState
   * @param {string} service
   * @param {any} endpoint Of the trait `card`.
   * @param {boolean} isServed
   */
  constructor(viewState, service, endpoint, isServed) {
    this.viewState = viewState;
    this.service = service;
    this.endpoint = endpoint;
    this.key = `${service} ${endpoint.name}`;
    this.example = parseJson(endpoint.example) ?? {};
    this.draft = viewState.drafts.get(this.key) ?? { isRaw: false, text: "", values: null };
    const { properties = {}, required = [] } = endpoint.input ?? {};
    this.fields = Object.entries(properties).map(([name, schema]) => createField(name, schema,
      { root: endpoint.input, required: required.includes(name), example: this.example[name], onchange: () => this.saveDraft() }));
    if (this.draft.values) for (const [i, field] of this.fields.entries()) field.state = this.draft.values[i];

    this.raw = create("textarea", { rows: 5, class: "dynamo-raw", spellcheck: "false", "aria-label": "Arguments as JSON" });
    this.raw.value = this.draft.text;
    this.rawError = create("span", { class: "dynamo-field-error", role: "alert" });
    this.rawSwitch = create("input", { type: "checkbox", onchange: () => this.switchRaw() });
    this.rawSwitch.checked = this.draft.isRaw;
    this.callButton = create("button", { type: "submit", class: "dynamo-button dynamo-primary", title: "Ctrl+Enter" }, "Call");
    this.traceButton = button("Trace", () => this.submit("trace"), { title: "Call it, and show where its time goes" });
    this.callButton.disabled = this.traceButton.disabled = !isServed;
    this.cancelButton = button("Cancel", () => viewState.cancel(viewState.calls.get(this.key)));
    this.form = create("form", {
      class: "dynamo-form", novalidate: true,
      onsubmit: (event) => {
        event.preventDefault();
        this.submit("call");
      },
      oninput: () => this.saveDraft(),
      onkeydown: (event) => {
        if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
        event.preventDefault();
        this.submit("call");
      },
    }, ...this.fields.map((field) => field.element),
    create("div", {}, this.raw, this.rawError),
    this.fields.length > 0 ? null : create("p", { class: "dynamo-muted" }, "Takes no arguments."),
    create("div", { class: "dynamo-row" }, this.callButton, this.traceButton, this.cancelButton,
      create("label", { class: "dynamo-raw-switch" }, this.rawSwitch, "raw JSON"),
      isServed ? null : create("span", { class: "dynamo-muted" }, "Serve the graph to call it.")));

    this.status = create("span", { class: "dynamo-call-status" });
    this.output = create("div", { class: "dynamo-output", tabindex: "0", role: "log", "aria-live": "off", "aria-label": "Answer" });
    this.result = create("div", { class: "dynamo-result" }, this.status, this.output);
    this.element = create("div", { class: "dynamo-call-area" }, create("div", { class: "dynamo-call-form" },
      create("div", { class: "dynamo-call-inputs" }, this.description(), this.form), this.result));
    this.showRawOrFields();
    this.update();
  }

  description() {
    const { name, doc, input, output } = this.endpoint;
    const schemas = `input ${JSON.stringify(input ?? {}, null, 2)}\n\noutput ${JSON.stringify(output ?? {}, null, 2)}`;
    return create("div", { class: "dynamo-endpoint" },
      create("code", { class: "dynamo-signature" }, create("b", {}, name), signature(this.endpoint)),
      doc ? create("p", {}, doc) : null,
      create("details", {}, create("summary", {}, "Schema"), create("pre", {}, schemas)));
  }

  /** The arguments as the text of a JSON object; undefined if a field is invalid, which then shows why and has the focus. */
  arguments() {
    if (this.draft.isRaw) {
      const isValid = isObject(parseJson(this.raw.value));
      setText(this.rawError, isValid ? "" : "not a JSON object");
      if (!isValid) this.raw.focus();
      return isValid ? this.raw.value : undefined;
    }
    try {
      return objectText(this.fields);
    } catch (error) {
      if (!(error instanceof InvalidFields)) throw error;
      error.first.focus();
      return undefined;
    }
  }

  /** action: "call" or "trace". */
  submit(action) {
    const latest = this.viewState.calls.get(this.key);
    if (this.callButton.disabled || (latest && !isFinished(latest))) return;
    const text = this.arguments();
    if (text === undefined) return;
    const { service, endpoint } = this;
    const request = { do: action, service, endpoint: endpoint.name, arguments: text };
    this.shownId = null;
    const description = `${action === "trace" ? "Trace" : "Call"} ${service}.${endpoint.name}`;
    this.viewState.calls.set(this.key, this.viewState.request(request, description));
    this.update();
  }

  /** Switches between fields and raw JSON, and converts what was typed. */
  switchRaw() {
    if (this.rawSwitch.checked) {
      const text = this.arguments();
      if (text === undefined) return void (this.rawSwitch.checked = false);
      this.raw.value = JSON.stringify(JSON.parse(text), null, 2);
    } else {
      const value = parseJson(this.raw.value);
      if (typeof value !== "object" || value === null) {
        setText(this.rawError, "not a JSON object");
        return void (this.rawSwitch.checked = true);
      }
      for (const field of this.fields) field.setValue(value[field.name]);
    }
    this.draft.isRaw = this.rawSwitch.checked;
    this.saveDraft();
    this.showRawOrFields();
  }

  showRawOrFields() {
    /** @type {HTMLElement} */ (this.raw.parentElement).hidden = !this.draft.isRaw;
    for (const field of this.fields) field.element.hidden = this.draft.isRaw;
  }

  saveDraft() {
    this.draft.text = this.raw.value;
    this.draft.values = this.fields.map((field) => field.state);
    this.viewState.drafts.set(this.key, this.draft);
  }

  /** Shows the state of the latest call. New items are appended; those that are shown already stay. */
  update() {
    const action = this.viewState.calls.get(this.key);
    this.result.hidden = action === undefined;
    const isRunning = action !== undefined && !isFinished(action);
    this.cancelButton.hidden = !isRunning;
    this.callButton.hidden = this.traceButton.hidden = isRunning;
    if (action === undefined) return;
    if (this.shownId !== action.id) {
      this.shownId = action.id;
      this.itemCount = 0;
      this.isComplete = false;
      this.output.replaceChildren();
    }
    setAttribute(this.result, "data-outcome", action.state);
    const isAtEnd = this.output.scrollHeight - this.output.scrollTop - this.output.clientHeight < 24;
    const newItems = Math.min(action.count - this.itemCount, action.items.length);
    if (newItems > 0) {
      this.output.append(...action.items.slice(-newItems).map((item) => create("div", { class: "dynamo-item" }, item)));
      while (this.output.childElementCount > MAX_ITEMS) this.output.firstElementChild?.remove();
      this.itemCount = action.count;
    }
    if (isFinished(action) && !this.isComplete) {
      this.isComplete = true;
      if (action.picture) {
        // As an image, markup from the kernel cannot act on the page.
        const source = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(action.picture)}`;
        this.output.append(create("img", { class: "dynamo-trace", src: source, alt: `Trace of ${this.endpoint.name}` }));
      }
      if (action.value !== null) this.output.append(create("div", { class: "dynamo-item" }, action.value));
      if (action.error) this.output.append(create("div", { class: "dynamo-item dynamo-error" }, action.error));
    }
    if (isAtEnd && (newItems > 0 || this.isComplete)) this.output.scrollTop = this.output.scrollHeight;
    this.updateTime();
  }

  updateTime() {
    const action = this.viewState.calls.get(this.key);
    if (action === undefined) return;
    const items = action.count ? `${grouped(action.count)} item${action.count === 1 ? "" : "s"}` : "";
    const seconds = action.seconds ?? (performance.now() - action.startedAt) / 1e3;
    const running = action.count ? "streaming" : "running";
    const state = { sent: "waiting for the kernel", running, failed: "failed", done: "done" }[action.state];
    const time = isFinished(action) ? duration(seconds) : `${seconds.toFixed(1)} s`;
    setText(this.status, [state, items, time].filter(Boolean).join(" · "));
  }
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Returns undefined for invalid JSON. */
function parseJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
