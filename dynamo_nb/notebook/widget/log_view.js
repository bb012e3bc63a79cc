// Lines of logs with their times, levels and workers, and controls that filter them.

import { button, create, setText } from "./dom.js";
import { grouped } from "./formats.js";

/** Lines that stay in the page: the latest ones. */
const MAX_LINES = 2000;

/** Pixels from the end within which new lines scroll the view. */
const NEAR_END = 24;

const LEVELS = ["debug", "info", "warning", "error"];

/**
 * A line: local time, worker, level ("" for none) and text.
 * @typedef {[string, string, string, string]} Row
 */

export class LogView {
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
    /** @type {Map<string, number>} */
    this.hues = new Map();
    /** @type {{ row: Row, element: HTMLElement }[]} */
    this.lines = [];
    this.count = 0;
    const refilter = () => this.refilter();
    this.worker = create("select", { "aria-label": "Worker", onchange: refilter }, create("option", { value: "" }, "all workers"));
    this.level = create("select", { "aria-label": "Level", onchange: refilter },
      create("option", { value: "" }, "all levels"),
      ...LEVELS.slice(1).map((level) => create("option", { value: level }, level === "error" ? level : `${level} and above`)));
    this.text = create("input", { type: "search", placeholder: "filter", "aria-label": "Filter by text", oninput: refilter });
    this.access = create("input", { type: "checkbox", onchange: () => setAccess?.(this.access.checked) });
    this.access.checked = isAccess;
    this.stop = button("Stop", () => stop?.());
    this.stop.hidden = stop === undefined;
    this.status = create("span", { class: "dynamo-muted", role: "status" });
    this.list = create("div", { class: "dynamo-log-lines", tabindex: "0", role: "log", "aria-live": "off", "aria-label": label });
    this.element = create("div", { class: "dynamo-log-view" },
      create("div", { class: "dynamo-log-controls" }, this.worker, this.level, this.text,
        this.accessLabel = create("label", {}, this.access, "access log"), this.status, this.stop),
      this.list);
    this.accessLabel.hidden = setAccess === undefined;
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
    // The new lines are at the end: they begin where the end of the shown ones is a beginning of the wanted ones.
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

  createLine(/** @type {Row} */ row) {
    const [time, worker, level, text] = row;
    const element = create("div", { class: "dynamo-log-line", "data-level": level || null },
      create("time", {}, time || " ".repeat(12)), " ",
      worker ? create("b", { style: `--hue: ${this.hueOf(worker)}` }, worker) : null, " ",
      create("span", {}, text));
    element.hidden = !this.isShown(row);
    return element;
  }

  /** Hues of consecutive workers are far apart. */
  hueOf(/** @type {string} */ worker) {
    let hue = this.hues.get(worker);
    if (hue === undefined) {
      hue = (205 + this.hues.size * 137) % 360;
      this.hues.set(worker, hue);
      this.worker.append(create("option", { value: worker }, worker));
    }
    return hue;
  }

  isShown(/** @type {Row} */ [, worker, level, text]) {
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
}

function isEqual(one, other) {
  return one.length === other.length && one.every((each, at) => each === other[at]);
}
