// The pointer on the drawing: a click opens a card, a drag pans, a drag from a handle links, a rest shows a tooltip.

/** Milliseconds that the pointer rests before the tooltip is shown. */
const HOVER_DELAY = 180;

/** Pixels that the pointer may move before a click becomes a drag. */
const DRAG_DISTANCE = 4;

export class Pointer {
  /**
   * @param {import("./graph_view.js").GraphView} view
   * @param {AbortSignal} signal Ends the listeners.
   */
  constructor(view, signal) {
    this.view = view;
    this.pressed = null;
    this.isDragging = false;
    const on = (event, handler, options = {}) => view.drawingElement.addEventListener(event, handler, { signal, ...options });
    on("pointerdown", (event) => this.press(event));
    on("pointermove", (event) => this.move(event));
    on("pointerup", (event) => this.release(event));
    on("pointercancel", (event) => this.release(event));
    on("pointerover", ({ target }) =>
      this.pressed || view.drawing.showHandle(view.drawing.nodeAt(target) ?? view.currentNode()));
    on("pointerleave", () => this.hideTooltip());
    on("click", (event) => this.click(event));
    on("dblclick", ({ target }) => this.recordAt(target) || view.drawing.svg === null || view.viewport.fit());
    on("wheel", (event) => this.wheel(event), { passive: false });
  }

  recordAt(target) {
    return this.view.drawing.nodeAt(target) ?? this.view.drawing.edgeAt(target);
  }

  press(event) {
    const { drawing } = this.view;
    if (drawing.svg === null || event.button !== 0) return;
    this.isDragging = false;
    const linkSource = event.target === drawing.handle ? drawing.nodeAt(event.target) : undefined;
    this.pressed = { x: event.clientX, y: event.clientY, linkSource };
    this.hideTooltip();
  }

  move(event) {
    const { viewport, drawing, linking, drawingElement } = this.view;
    if (!this.pressed) {
      if (linking.isActive) linking.pointTo(drawing.nodeAt(event.target), event);
      else this.hover(event);
      return;
    }
    const [dx, dy] = [event.clientX - this.pressed.x, event.clientY - this.pressed.y];
    if (!this.isDragging) {
      if (Math.hypot(dx, dy) < DRAG_DISTANCE) return;
      drawingElement.setPointerCapture(event.pointerId);
      this.isDragging = true;
      if (this.pressed.linkSource) linking.begin(this.pressed.linkSource, true);
    }
    if (this.pressed.linkSource) return linking.pointTo(this.nodeUnder(event), event);
    viewport.pan(dx, dy);
    Object.assign(this.pressed, { x: event.clientX, y: event.clientY });
  }

  release(event) {
    const isLinking = this.isDragging && this.pressed?.linkSource && this.view.linking.isActive;
    this.pressed = null;
    if (isLinking) this.view.linking.finish(event.type === "pointerup" ? this.nodeUnder(event) : undefined);
  }

  /** The node under a captured pointer, whose events all have the drawing as target. */
  nodeUnder({ clientX, clientY }) {
    const { drawing, drawingElement } = this.view;
    const root = /** @type {Document | ShadowRoot} */ (drawingElement.getRootNode());
    return drawing.nodeAt(root.elementFromPoint(clientX, clientY));
  }

  click({ target }) {
    const { viewport, drawing, linking } = this.view;
    if (this.isDragging || drawing.svg === null) return;
    const [node, edge] = [drawing.nodeAt(target), drawing.edgeAt(target)];
    if (linking.isActive) return linking.finish(node);
    if (edge) return this.view.toggleEdge(edge);
    this.view.select(node?.name ?? "");
    if (node) viewport.reveal(drawing.boundingBox([node]));
  }

  wheel(event) {
    // Without Ctrl, the wheel scrolls the notebook.
    if (this.view.drawing.svg === null || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    this.view.viewport.zoom(Math.exp(-Math.max(-120, Math.min(120, event.deltaY)) * 0.003), event);
  }

  hover(event) {
    const record = this.recordAt(event.target);
    if (record && record === this.view.tooltip.record) return;
    this.hideTooltip();
    if (record) this.timer = setTimeout(() => this.view.tooltip.show(record, event), HOVER_DELAY);
  }

  hideTooltip() {
    clearTimeout(this.timer);
    this.view.tooltip.show(undefined);
  }
}
