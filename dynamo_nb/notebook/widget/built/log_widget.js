// dynamo_nb/notebook/widget/dom.js
function create(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child != null && child !== false));
  return element;
}
function button(label, onclick, attributes = {}) {
  return create("button", { type: "button", class: "dynamo-button", onclick, ...attributes }, label);
}
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// dynamo_nb/notebook/widget/formats.js
function grouped(number) {
  return String(Math.round(number)).replace(/\B(?=(\d{3})+$)/g, ",");
}

// dynamo_nb/notebook/widget/log_view.js
var MAX_LINES = 2e3;
var NEAR_END = 24;
var LEVELS = ["debug", "info", "warning", "error"];
var LogView = class {
  /**
   * @param {object} options
   * @param {string} options.nothing Message while there is no line.
   * @param {() => void} [options.stop] Called when the user ends the log; without it there is no such button.
   * @param {(isOn: boolean) => void} [options.setAccess] Called when the user turns the access log on or off.
   * @param {boolean} [options.isAccess] True if the access log is on.
   * @param {string} [options.label] Accessible name.
   */
  constructor({ nothing, stop, setAccess, isAccess = false, label = "Log" }) {
    this.nothing = nothing;
    this.ended = "";
    this.hues = /* @__PURE__ */ new Map();
    this.lines = [];
    this.count = 0;
    const refilter = () => this.refilter();
    this.worker = create("select", { "aria-label": "Worker", onchange: refilter }, create("option", { value: "" }, "all workers"));
    this.level = create(
      "select",
      { "aria-label": "Level", onchange: refilter },
      create("option", { value: "" }, "all levels"),
      ...LEVELS.slice(1).map((level) => create("option", { value: level }, level === "error" ? level : `${level} and above`))
    );
    this.text = create("input", { type: "search", placeholder: "filter", "aria-label": "Filter by text", oninput: refilter });
    this.access = create("input", { type: "checkbox", onchange: () => setAccess?.(this.access.checked) });
    this.access.checked = isAccess;
    this.stop = button("Stop", () => stop?.());
    this.stop.hidden = stop === void 0;
    this.status = create("span", { class: "dynamo-muted", role: "status" });
    this.list = create("div", { class: "dynamo-log-lines", tabindex: "0", role: "log", "aria-live": "off", "aria-label": label });
    this.element = create(
      "div",
      { class: "dynamo-log-view" },
      create(
        "div",
        { class: "dynamo-log-controls" },
        this.worker,
        this.level,
        this.text,
        this.accessLabel = create("label", {}, this.access, "access log"),
        this.status,
        this.stop
      ),
      this.list
    );
    this.accessLabel.hidden = setAccess === void 0;
    this.updateStatus();
  }
  /** Shows the switch of the access log, or hides it for a service without HTTP. @param {boolean} hasAccess */
  setHasAccess(hasAccess) {
    this.accessLabel.hidden = !hasAccess;
  }
  scrollToEnd() {
    this.list.scrollTop = this.list.scrollHeight;
  }
  /** Adds lines at the end. @param {Row[]} rows */
  add(rows) {
    if (rows.length === 0) return;
    const isAtEnd = this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < NEAR_END;
    for (const row of rows.slice(-MAX_LINES)) {
      const element = this.createLine(row);
      this.lines.push({ row, element });
      this.list.append(element);
    }
    this.count += rows.length;
    while (this.lines.length > MAX_LINES) this.lines.shift()?.element.remove();
    this.updateStatus();
    if (isAtEnd) this.scrollToEnd();
  }
  /** Shows these lines in place of those before. Lines that stay are not created again. @param {Row[]} rows */
  set(rows) {
    const shown = this.lines.map(({ row }) => row.join("\0"));
    const wanted = rows.map((row) => row.join("\0"));
    let kept = Math.min(shown.length, wanted.length);
    while (kept > 0 && !isEqual(shown.slice(-kept), wanted.slice(0, kept))) kept--;
    for (const { element } of this.lines.splice(0, this.lines.length - kept)) element.remove();
    this.add(rows.slice(kept));
    this.count = rows.length;
    this.updateStatus();
  }
  /** No more lines come. @param {string} reason */
  end(reason) {
    this.ended = reason;
    this.stop.hidden = true;
    this.access.disabled = true;
    this.updateStatus();
  }
  createLine(row) {
    const [time, worker, level, text] = row;
    const element = create(
      "div",
      { class: "dynamo-log-line", "data-level": level || null },
      create("time", {}, time || " ".repeat(12)),
      " ",
      worker ? create("b", { style: `--hue: ${this.hueOf(worker)}` }, worker) : null,
      " ",
      create("span", {}, text)
    );
    element.hidden = !this.isShown(row);
    return element;
  }
  /** Hues of consecutive workers are far apart. */
  hueOf(worker) {
    let hue = this.hues.get(worker);
    if (hue === void 0) {
      hue = (205 + this.hues.size * 137) % 360;
      this.hues.set(worker, hue);
      this.worker.append(create("option", { value: worker }, worker));
    }
    return hue;
  }
  isShown([, worker, level, text]) {
    if (this.worker.value && worker !== this.worker.value) return false;
    if (this.level.value && LEVELS.indexOf(level || "info") < LEVELS.indexOf(this.level.value)) return false;
    const wanted = this.text.value.toLowerCase();
    return wanted === "" || `${worker} ${text}`.toLowerCase().includes(wanted);
  }
  refilter() {
    for (const { row, element } of this.lines) element.hidden = !this.isShown(row);
    this.scrollToEnd();
    this.updateStatus();
  }
  updateStatus() {
    const shown = this.lines.filter(({ element }) => !element.hidden).length;
    const all = `${grouped(this.count)} line${this.count === 1 ? "" : "s"}`;
    const count = shown === this.lines.length ? all : `${grouped(shown)} of ${all}`;
    const lines = this.count === 0 ? this.nothing : count;
    setText(this.status, this.ended ? `${lines} · ended: ${this.ended}` : lines);
    this.list.hidden = this.count === 0;
  }
};
function isEqual(one, other) {
  return one.length === other.length && one.every((each, at) => each === other[at]);
}

// dynamo_nb/notebook/widget/log_widget.js
function widget() {
  return {
    render: ({ model, el }) => {
      const view = new LogView({
        nothing: model.get("nothing"),
        label: model.get("title"),
        stop: () => send(model, { do: "stop" }),
        setAccess: (isOn) => send(model, { do: "access", on: isOn }),
        isAccess: model.get("access")
      });
      let next = 0;
      const receive = ({ first, rows }) => {
        if (rows === void 0 || first + rows.length <= next) return;
        view.add(rows.slice(Math.max(next - first, 0)));
        next = first + rows.length;
      };
      const end = () => model.get("ended") && view.end(model.get("ended"));
      const setAccess = () => view.access.checked = model.get("access");
      model.on("msg:custom", receive);
      model.on("change:ended", end);
      model.on("change:access", setAccess);
      const root = create("div", { class: "dynamo-logs" }, create("div", { class: "dynamo-log-title" }, model.get("title")), view.element);
      const suppress = ({ target }) => target.setAttribute("data-lm-suppress-shortcuts", "true");
      root.addEventListener("focusin", suppress);
      root.addEventListener("keydown", (event) => event.stopPropagation());
      el.appendChild(root);
      end();
      if (!send(model, { do: "all" })) view.end("the kernel is gone");
      return () => {
        model.off("msg:custom", receive);
        model.off("change:ended", end);
        model.off("change:access", setAccess);
        root.remove();
      };
    }
  };
}
function send(model, message) {
  try {
    model.send(message);
    return true;
  } catch {
    return false;
  }
}
export {
  widget as default
};
