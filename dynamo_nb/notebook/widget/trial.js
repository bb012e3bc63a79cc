// An endpoint tried by hand: a form made from its schema, and what comes back.

class Trial {
  /** desk keeps what was typed and the call under way, so that both outlive this element. */
  constructor(desk, service, endpoint, served) {
    this.desk = desk;
    this.service = service;
    this.endpoint = endpoint;
    this.key = `${service} ${endpoint.name}`;
    this.example = parsedJson(endpoint.example) ?? {};
    this.draft = desk.drafts.get(this.key) ?? { raw: false, text: "", values: null };
    const { properties = {}, required = [] } = endpoint.input ?? {};
    this.fields = Object.entries(properties).map(
      ([name, schema]) => new Field(name, schema, endpoint.input, required.includes(name), this.example[name]));
    if (this.draft.values) for (const [i, field] of this.fields.entries()) restore(field.input, this.draft.values[i]);

    this.raw = make("textarea", { rows: 5, class: "dynamo-raw", spellcheck: "false", "aria-label": "Arguments as JSON" });
    this.raw.value = this.draft.text;
    this.rawWrong = make("span", { class: "dynamo-wrong", role: "alert" });
    this.rawSwitch = make("input", { type: "checkbox", onchange: () => this.turn() });
    this.rawSwitch.checked = this.draft.raw;
    this.call = make("button", { type: "submit", class: "dynamo-button dynamo-primary", title: "Ctrl+Enter" }, "Call");
    this.call.disabled = !served;
    this.stop = button("Cancel", () => desk.cancel(desk.trials.get(this.key)));
    this.form = make("form", {
      class: "dynamo-form", novalidate: true,
      onsubmit: (event) => {
        event.preventDefault();
        this.send();
      },
      oninput: () => this.keep(),
      onkeydown: (event) => {
        if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
        event.preventDefault();
        this.send();
      },
    }, ...this.fields.map((field) => field.element),
    make("div", { class: "dynamo-rawbox" }, this.raw, this.rawWrong),
    this.fields.length > 0 ? null : make("p", { class: "dynamo-empty" }, "Takes no arguments."),
    make("div", { class: "dynamo-row" }, this.call, this.stop,
      make("label", { class: "dynamo-switch" }, this.rawSwitch, "raw JSON"),
      served ? null : make("span", { class: "dynamo-empty" }, "Serve the graph to call it.")));

    this.status = make("span", { class: "dynamo-status" });
    this.output = make("div", { class: "dynamo-output", tabindex: "0", role: "log", "aria-live": "off", "aria-label": "Answer" });
    this.result = make("div", { class: "dynamo-result" }, this.status, this.output);
    this.element = make("div", { class: "dynamo-trial" }, this.head(), this.form, this.result);
    this.layRaw();
    this.show();
  }

  head() {
    const { name, doc, stream, input, output } = this.endpoint;
    const given = Object.entries(input?.properties ?? {}).map(([key, schema]) =>
      `${key}${input.required?.includes(key) ? "" : "?"}: ${typeOf(schema, input)}`);
    const gives = output ? typeOf(output, output) : "any";
    return make("div", { class: "dynamo-head" },
      make("code", { class: "dynamo-signature" }, make("b", {}, name), `(${given.join(", ")}) → ${stream ? `stream of ${gives}` : gives}`),
      doc ? make("p", {}, doc) : null,
      make("details", {}, make("summary", {}, "Schema"),
        make("pre", {}, `input ${JSON.stringify(input ?? {}, null, 2)}\n\noutput ${JSON.stringify(output ?? {}, null, 2)}`)));
  }

  /** The arguments as the text of a JSON object, or undefined if a field is wrong: then it says so, and has the focus. */
  arguments() {
    if (this.draft.raw) {
      const value = parsedJson(this.raw.value);
      const wrong = value === undefined || typeof value !== "object" || value === null || Array.isArray(value);
      say(this.rawWrong, wrong ? "not a JSON object" : "");
      if (wrong) this.raw.focus();
      return wrong ? undefined : this.raw.value;
    }
    const parts = [];
    let wrong = null;
    for (const field of this.fields) {
      try {
        const text = field.read();
        if (text !== undefined) parts.push(`${JSON.stringify(field.name)}: ${text}`);
        field.tell("");
      } catch (error) {
        field.tell(error.message);
        wrong ??= field;
      }
    }
    wrong?.input.focus();
    return wrong ? undefined : `{${parts.join(", ")}}`;
  }

  send() {
    const trial = this.desk.trials.get(this.key);
    if (this.call.disabled || (trial && !over(trial))) return;
    const text = this.arguments();
    if (text === undefined) return;
    const { service, endpoint } = this;
    const request = { do: "call", service, endpoint: endpoint.name, arguments: text };
    this.shown = null;
    this.desk.trials.set(this.key, this.desk.ask(request, `Call ${service}.${endpoint.name}`));
    this.show();
  }

  /** Form to JSON text and back; what was typed comes along. */
  turn() {
    if (this.rawSwitch.checked) {
      const text = this.arguments();
      if (text === undefined) return void (this.rawSwitch.checked = false);
      this.raw.value = JSON.stringify(JSON.parse(text), null, 2);
    } else {
      const value = parsedJson(this.raw.value);
      if (typeof value !== "object" || value === null) {
        say(this.rawWrong, "not a JSON object");
        return void (this.rawSwitch.checked = true);
      }
      for (const field of this.fields) field.write(value[field.name]);
    }
    this.draft.raw = this.rawSwitch.checked;
    this.keep();
    this.layRaw();
  }

  layRaw() {
    this.raw.parentNode.hidden = !this.draft.raw;
    for (const field of this.fields) field.element.hidden = this.draft.raw;
  }

  keep() {
    this.draft.text = this.raw.value;
    this.draft.values = this.fields.map(({ input }) => (input.type === "checkbox" ? input.checked : input.value));
    this.desk.drafts.set(this.key, this.draft);
  }

  /** Brings the answer up to date: new items are added, none is written again. */
  show() {
    const action = this.desk.trials.get(this.key);
    this.result.hidden = action === undefined;
    const running = action !== undefined && !over(action);
    this.stop.hidden = !running;
    this.call.hidden = running;
    if (action === undefined) return;
    if (this.shown !== action.id) {
      this.shown = action.id;
      this.items = 0;
      this.finished = false;
      this.output.replaceChildren();
    }
    put(this.result, "data-outcome", action.state);
    const low = this.output.scrollHeight - this.output.scrollTop - this.output.clientHeight < 24;
    const fresh = Math.min(action.count - this.items, action.items.length);
    if (fresh > 0) {
      this.output.append(...action.items.slice(-fresh).map((item) => make("div", { class: "dynamo-item" }, item)));
      while (this.output.childElementCount > ITEMS) this.output.firstElementChild.remove();
      this.items = action.count;
    }
    if (over(action) && !this.finished) {
      this.finished = true;
      if (action.value !== null) this.output.append(make("div", { class: "dynamo-item dynamo-value" }, action.value));
      if (action.text) this.output.append(make("div", { class: "dynamo-item dynamo-error" }, action.text));
    }
    if (low && (fresh > 0 || this.finished)) this.output.scrollTop = this.output.scrollHeight;
    this.tick();
  }

  tick() {
    const action = this.desk.trials.get(this.key);
    if (action === undefined) return;
    const items = action.count ? `${grouped(action.count)} item${action.count === 1 ? "" : "s"}` : "";
    const seconds = action.seconds ?? (performance.now() - action.since) / 1e3;
    const words = { asked: "asking the kernel", running: action.count ? "streaming" : "running", failed: "failed", done: "done" };
    const time = over(action) ? duration(seconds) : `${seconds.toFixed(1)} s`;
    say(this.status, [words[action.state], items, time].filter(Boolean).join(" · "));
  }
}

function restore(input, value) {
  if (input.type === "checkbox") input.checked = value === true;
  else input.value = value ?? "";
}

function parsedJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
