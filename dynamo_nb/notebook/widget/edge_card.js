// A small card at an edge, with its load and a button to link or unlink.

import { button, create, iconButton, setText } from "./dom.js";
import { Metrics } from "./metrics.js";

export class EdgeCard {
  /** onClose: called by the close button. toPixels: converts a point of the drawing to pixels of the viewport. */
  constructor(viewState, onClose, toPixels) {
    this.viewState = viewState;
    this.toPixels = toPixels;
    this.edge = null;
    this.metrics = new Metrics("failed");
    this.heading = create("h4", {});
    this.description = create("p", { class: "dynamo-muted" });
    this.action = button("", () => this.toggleLink());
    this.element = create("div", { class: "dynamo-edge-card", role: "group" },
      create("header", { class: "dynamo-header" }, this.heading, iconButton("close", "Close  ( Escape )", onClose)),
      this.description, this.metrics.element, create("div", { class: "dynamo-row" }, this.action));
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
    this.updatePosition();
  }

  updateLoad() {
    if (this.edge === null) return;
    this.metrics.show(this.edge.load);
    this.metrics.element.hidden = !this.edge.active;
  }

  /** Places the card at the middle of its edge, inside the viewport. */
  updatePosition() {
    if (this.edge === null) return;
    const { line } = this.edge;
    const middle = line.getPointAtLength(line.getTotalLength() / 2);
    const [x, y] = this.toPixels([middle.x, middle.y]);
    const viewport = this.element.parentElement;
    const left = Math.min(Math.max(6, x + 12), viewport.clientWidth - this.element.offsetWidth - 6);
    const top = Math.min(Math.max(6, y + 12), Math.max(6, viewport.clientHeight - this.element.offsetHeight - 6));
    this.element.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
  }

  toggleLink() {
    const { source, target, active } = this.edge;
    const description = active ? `Unlink ${source} from ${target}` : `Link ${source} to ${target}`;
    this.viewState.request({ do: active ? "unlink" : "link", source, target }, description);
  }
}
