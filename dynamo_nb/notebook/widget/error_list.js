// The last distinct errors of a service: one row for each. A row stays while its count grows, so an open traceback stays.

import { create, setText } from "./dom.js";
import { age, grouped } from "./formats.js";

export class ErrorList {
  constructor() {
    this.rows = new Map();
    this.element = create("div", { class: "dynamo-errors" });
  }

  /** errors: those of the trait `card`, the latest first. New ones are put above the others, which do not move. */
  show(errors) {
    const ids = new Set(errors.map(({ id }) => id));
    for (const [id, row] of this.rows) {
      if (ids.has(id)) continue;
      row.element.remove();
      this.rows.delete(id);
    }
    for (const error of [...errors].reverse()) {
      if (!this.rows.has(error.id)) {
        const row = this.createRow(error);
        this.rows.set(error.id, row);
        this.element.prepend(row.element);
      }
      const row = this.rows.get(error.id);
      row.last = error.last;
      setText(row.message, error.message);
      setText(row.count, error.count === 1 ? "once" : `${grouped(error.count)} times`);
      setText(row.traceback, error.traceback);
      row.details.hidden = error.traceback === "";
    }
    this.updateTimes();
  }

  createRow({ kind, endpoint, origin }) {
    const [message, count, time] = [create("span"), create("b"), create("span")];
    const traceback = create("pre", { class: "dynamo-traceback", tabindex: "0", "aria-label": `Traceback of ${kind}` });
    const details = create("details", {}, create("summary", {}, "Traceback"), traceback);
    const element = create("section", { class: "dynamo-service-error", "aria-label": kind },
      create("p", { class: "dynamo-error" }, create("b", {}, kind), " ", message),
      create("p", { class: "dynamo-muted" }, count, " in ", create("code", {}, endpoint), ", last ", time),
      origin ? create("p", { class: "dynamo-muted" }, origin) : null, details);
    return { element, message, count, time, traceback, details, last: 0 };
  }

  updateTimes() {
    for (const { time, last } of this.rows.values()) setText(time, `${age(Date.now() / 1e3 - last)} ago`);
  }
}
