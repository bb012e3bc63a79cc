// Making a link: a drag from the handle of a node to another node, or the key `l` and then a choice.

import { createSvg } from "./dom.js";

export class Linking {
  /** context: drawing(), viewport, viewState, showHint(text), onCancel(). */
  constructor(context) {
    this.context = context;
    this.source = null;
    this.target = null;
    this.preview = createSvg("path", { class: "link-preview" });
  }

  get isActive() {
    return this.source !== null;
  }

  begin(node, isDrag) {
    this.source = node;
    node.g.classList.add("link-source");
    this.context.showHint(isDrag ? `Link ${node.name} to …`
      : `Link ${node.name} to: choose a service and press Enter. Escape cancels.`);
  }

  /** Draws the preview to a node, or to the point of a pointer event if there is no node. */
  pointTo(node, event) {
    const target = node === this.source ? undefined : node;
    if (target !== this.target) {
      this.target?.g.classList.remove("link-target");
      target?.g.classList.add("link-target");
      this.target = target ?? null;
    }
    const { left, width, y } = this.source;
    const [x1, y1] = [left + width, y];
    const [x2, y2] = target ? [target.left, target.y] : event ? this.context.viewport.toDrawing(event) : [x1, y1];
    const bend = Math.max(24, Math.abs(x2 - x1) / 2);
    this.preview.setAttribute("d", `M${x1},${y1}C${x1 + bend},${y1} ${x2 - bend},${y2} ${x2},${y2}`);
    const { svg } = this.context.drawing();
    if (this.preview.parentNode !== svg) svg.append(this.preview);
  }

  /** Requests the link to a node; cancels for undefined and for the source itself. */
  finish(node) {
    const { source } = this;
    this.end();
    if (!node || node === source) return this.context.onCancel();
    const request = { do: "link", source: source.name, target: node.name };
    this.context.viewState.request(request, `Link ${source.name} to ${node.name}`);
  }

  end() {
    this.source?.g.classList.remove("link-source");
    this.target?.g.classList.remove("link-target");
    this.source = this.target = null;
    this.preview.remove();
  }
}
