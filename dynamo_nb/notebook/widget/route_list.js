// The HTTP routes of a service: a row for each, with its load, its statuses and a request to copy.

import { copyButton, create, link, setText } from "./dom.js";
import { duration, grouped, rate } from "./formats.js";

export class RouteList {
  constructor() {
    this.rows = new Map();
    this.docs = create("p", { class: "dynamo-route-docs" });
    this.element = create("div", { class: "dynamo-routes" }, this.docs);
    this.shown = "";
  }

  /** Shows routes. Rows are created again only if other routes are there, so a selected text stays selected. */
  show(routes) {
    const names = JSON.stringify(routes.map(({ method, path, curl, docs }) => [method, path, curl, docs]));
    if (this.shown !== names) {
      this.shown = names;
      const docs = routes[0]?.docs ?? "";
      this.docs.hidden = docs === "";
      this.docs.replaceChildren(docs ? link(docs, "Documentation of the routes") : "");
      this.rows = new Map(routes.map((route) => [`${route.method} ${route.path}`, this.createRow(route)]));
      this.element.replaceChildren(this.docs, ...[...this.rows.values()].map(({ element }) => element));
    }
    for (const route of routes) this.updateRow(this.rows.get(`${route.method} ${route.path}`), route);
  }

  createRow({ method, path, doc, url, curl }) {
    const name = `${method} ${path}`;
    const figures = create("span", { class: "dynamo-route-figures" });
    const statuses = create("span", { class: "dynamo-route-statuses" });
    const element = create("section", { class: "dynamo-route", "aria-label": name },
      create("header", {}, create("b", { class: "dynamo-method" }, method),
        url ? link(url, path, { class: "dynamo-link dynamo-path" }) : create("span", { class: "dynamo-path" }, path)),
      doc ? create("p", { class: "dynamo-muted" }, doc) : null,
      create("div", { class: "dynamo-route-load" }, figures, statuses),
      create("div", { class: "dynamo-curl" }, create("code", { tabindex: "0" }, curl), copyButton(`Copy the request of ${name}`, () => curl)));
    return { element, figures, statuses, shown: "" };
  }

  updateRow(row, { load, statuses }) {
    const latency = load.p50 == null ? [] : [`p50 ${duration(load.p50)}`, `p99 ${duration(load.p99)}`];
    setText(row.figures, [rate(load.rate), ...latency].join(" · "));
    const content = JSON.stringify(statuses);
    if (row.shown === content) return;
    row.shown = content;
    row.statuses.replaceChildren(...Object.entries(statuses).map(([kind, count]) =>
      create("span", { class: "dynamo-status", "data-kind": kind }, `${kind} `, create("b", {}, grouped(count)))));
  }
}
