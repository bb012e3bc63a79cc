// The row above the drawing: search, number of services in each state, zoom, paths, and stop.

import { button, create, icon, iconButton, setText } from "./dom.js";
import { ZOOM } from "./viewport.js";

/** The states in the order of display. */
const STATES = ["failed", "starting", "updating", "draining", "stopped", "ready"];

export class Toolbar {
  /** handlers: search(text), nextMatch(direction), leaveSearch(clear), zoom(factor), fit(), fullSize(), paths(), keys(), stop(). */
  constructor(handlers) {
    this.handlers = handlers;
    this.counts = create("div", { class: "dynamo-state-counts" });
    this.search = create("input", {
      type: "search", class: "dynamo-search", placeholder: "Search", spellcheck: "false", autocomplete: "off",
      "aria-label": "Search services by name or state", title: "Search by name or state  ( / )",
      oninput: () => handlers.search(this.search.value),
      onkeydown: (event) => {
        if (event.key === "Enter") handlers.nextMatch(event.shiftKey ? -1 : 1);
        else if (event.key === "Escape" || event.key === "ArrowDown") handlers.leaveSearch(event.key === "Escape");
        else return;
        event.preventDefault();
        event.stopPropagation();
      },
    });
    this.matches = create("span", { class: "dynamo-matches" });
    this.paths = iconButton("path", "Highlight the paths through the selected service  ( f )", handlers.paths,
      { "aria-pressed": "false" });
    this.scale = create("button", { type: "button", class: "dynamo-icon-button dynamo-scale", title: "Zoom to 100%",
                                    onclick: handlers.fullSize }, "100%");
    this.stop = button("Stop…", () => confirmInPlace(this.stop, "Stop all services?", "Stop", handlers.stop),
      { class: "dynamo-button dynamo-subtle", title: "Stop the deployment" });
    this.deployment = create("span", { class: "dynamo-deployment" });
    this.deploymentGroup = create("span", { class: "dynamo-group dynamo-deployment-group" }, this.deployment, this.stop);
    this.element = create("div", { class: "dynamo-toolbar", role: "toolbar", "aria-label": "Graph" },
      create("label", { class: "dynamo-search-box" }, icon("search"), this.search, this.matches),
      this.counts,
      create("span", { class: "dynamo-group" },
        this.paths,
        iconButton("minus", "Zoom out  ( - )", () => handlers.zoom(1 / ZOOM.step)), this.scale,
        iconButton("plus", "Zoom in  ( + )", () => handlers.zoom(ZOOM.step)),
        iconButton("fit", "Show all  ( 0 )", handlers.fit),
        iconButton("help", "Keyboard shortcuts  ( ? )", handlers.keys)),
      this.deploymentGroup);
  }

  /** deployment: its id; "" if the graph is not served. */
  setDeployment(deployment) {
    this.deploymentGroup.hidden = deployment === "";
    setText(this.deployment, deployment);
  }

  setStates(states) {
    const counts = {};
    for (const { state } of Object.values(states)) if (state) counts[state] = (counts[state] ?? 0) + 1;
    const content = JSON.stringify(counts);
    if (content === this.content) return;
    this.content = content;
    this.counts.replaceChildren(...STATES.filter((state) => counts[state]).map((state) =>
      create("button", { type: "button", class: "dynamo-state-count", "data-state": state, title: `Search for ${state} services`,
                         onclick: () => this.handlers.search(this.search.value === state ? "" : state) },
        create("i", { class: "dynamo-dot" }), `${counts[state]} ${state}`)));
  }
}

/** Asks for a confirmation in the place of a button, before an action that cannot be undone. */
export function confirmInPlace(trigger, question, label, onConfirm) {
  const end = (isConfirmed) => {
    box.replaceWith(trigger);
    trigger.focus();
    if (isConfirmed) onConfirm();
  };
  const cancel = button("Cancel", () => end(false));
  const box = create("span", {
    class: "dynamo-confirm", role: "group", "aria-label": question,
    onkeydown: (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      end(false);
    },
  }, create("span", {}, question), button(label, () => end(true), { class: "dynamo-button dynamo-danger" }), cancel);
  trigger.replaceWith(box);
  cancel.focus();
}
