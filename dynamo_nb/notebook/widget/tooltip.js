// The tooltip of nodes and edges.

import { create, definitionList } from "./dom.js";
import { loadRows } from "./formats.js";

export class Tooltip {
  constructor() {
    this.element = create("div", { class: "dynamo-tooltip", "aria-hidden": "true" });
    this.element.hidden = true;
    this.record = null;
  }

  /** record: a node or edge of the drawing; undefined hides the tooltip. */
  show(record, event) {
    this.record = record ?? null;
    this.element.hidden = this.record === null;
    if (this.record === null) return;
    this.update();
    const viewport = /** @type {HTMLElement} */ (this.element.parentElement);
    const box = viewport.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const { offsetWidth, offsetHeight } = this.element;
    const left = Math.max(4, Math.min(x + 14, viewport.clientWidth - offsetWidth - 4));
    // Inside the widget: otherwise the notebook would show a scroll bar.
    const bottom = /** @type {Element} */ (viewport.closest(".dynamo-view")).getBoundingClientRect().bottom - box.top;
    const top = Math.min(y + 18, bottom - offsetHeight - 4);
    this.element.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
  }

  update() {
    if (this.record === null) return;
    const { title, load, status } = this.record;
    const [heading, ...lines] = title.split("\n");
    const rows = loadRows(load);
    const content = [heading, ...lines, ...rows.flat()].join("\n");
    if (content === this.content) return;
    this.content = content;
    const details = lines.filter((line) => line !== status); // the node itself shows its status
    this.element.replaceChildren(create("b", {}, heading), ...details.map((line) => create("div", {}, line)),
                                 definitionList(rows));
  }
}
