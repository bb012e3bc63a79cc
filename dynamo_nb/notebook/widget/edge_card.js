// A strip below the drawing with the load of an edge and a button to link or unlink. It covers no service.

import { button, create, iconButton, setText } from "./dom.js";
import { Metrics } from "./metrics.js";
import { requestUnlink } from "./unlinking.js";

export class EdgeCard {
  /**
   * @param {import("./view_state.js").ViewState} viewState
   * @param {() => void} onClose Called by the close button.
   */
  constructor(viewState, onClose) {
    this.viewState = viewState;
    this.edge = null;
    this.metrics = new Metrics([]);
    this.heading = create("h4", {});
    this.description = create("p", { class: "dynamo-muted" });
    this.action = button("", () => this.toggleLink());
    this.element = create("div", { class: "dynamo-edge-card", role: "group" },
      create("header", { class: "dynamo-header" }, this.heading, iconButton("close", "Close  ( Escape )", onClose)),
      create("div", { class: "dynamo-row" }, this.description, this.action), this.metrics.element);
    this.element.hidden = true;
  }

  /** Shows the card of an edge; hides it for undefined. */
  show(edge) {
    this.edge = edge ?? null;
    this.element.hidden = this.edge === null;
    if (this.edge === null) return;
    setText(this.heading, `${edge.source} → ${edge.target}`);
    setText(this.description, edge.title);
    setText(this.action, edge.active ? "Unlink" : "Link");
    this.element.setAttribute("aria-label", `${edge.source} to ${edge.target}`);
    this.updateLoad();
  }

  updateLoad() {
    if (this.edge === null) return;
    this.metrics.show(this.edge.load);
    this.metrics.element.hidden = !this.edge.active;
  }

  toggleLink() {
    const { source, target, active } = this.edge;
    if (active) return requestUnlink(this.viewState, this.action, source, target);
    this.viewState.request({ do: "link", source, target }, `Link ${source} to ${target}`);
  }
}
