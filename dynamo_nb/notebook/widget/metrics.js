// The parts of a load as a grid of numbers, with a sparkline of the rate.

import { create, createSvg, setAttribute, setText } from "./dom.js";
import { MEASURES, NO_VALUE } from "./formats.js";
import { HISTORY } from "./view_state.js";

export class Metrics {
  /** more: keys of further numbers. sparkline: true to draw the rates. */
  constructor(more, sparkline = false) {
    this.cells = ["rate", "p50", "p99", "in_flight", "errors", "failed", ...more].map((key) => {
      const value = create("dd", {});
      const [, label, text] = MEASURES[MEASURES.findIndex(([name]) => name === key)];
      return { key, value, text, element: create("div", {}, create("dt", {}, label), value) };
    });
    this.line = createSvg("polyline", { points: "" });
    const curve = createSvg("svg", { class: "dynamo-sparkline", viewBox: "0 0 90 20", preserveAspectRatio: "none",
                                     "aria-hidden": "true" }, this.line);
    this.element = create("div", { class: "dynamo-metrics" },
      create("dl", {}, ...this.cells.map((cell) => cell.element)), sparkline ? curve : null);
  }

  show(load, rates) {
    for (const { key, value, text } of this.cells) {
      setText(value, load ? text(load) : NO_VALUE);
      value.classList.toggle("dynamo-failing", key === "errors" && load?.errors > 0);
    }
    if (!rates) return;
    const max = Math.max(...rates, 1);
    const points = rates.map((n, i) => `${i + HISTORY - rates.length},${(19 - (18 * n) / max).toFixed(1)}`);
    setAttribute(this.line, "points", points.join(" "));
  }
}
