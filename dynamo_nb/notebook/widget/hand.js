// The pointer on the stage: a click opens, a drag moves, a drag from a handle links, a rest tells.

const HOVER = 180;
/** Milliseconds that a pointer rests before the tooltip comes. */

const SLIP = 4;
/** Pixels that a click may slip before it is a drag. */

class Hand {
  constructor(view, signal) {
    this.view = view;
    this.pressed = null;
    this.dragged = false;
    const on = (event, act, more = {}) => view.stage.addEventListener(event, act, { signal, ...more });
    on("pointerdown", (event) => this.press(event));
    on("pointermove", (event) => this.move(event));
    on("pointerup", (event) => this.release(event));
    on("pointercancel", (event) => this.release(event));
    on("pointerover", ({ target }) => this.pressed || view.drawing.hold(view.drawing.nodeAt(target) ?? view.held()));
    on("pointerleave", () => this.lift());
    on("click", (event) => this.click(event));
    on("dblclick", ({ target }) => this.thing(target) || view.drawing.svg === null || view.camera.fit());
    on("wheel", (event) => this.wheel(event), { passive: false });
  }

  thing(target) {
    return this.view.drawing.nodeAt(target) ?? this.view.drawing.edgeAt(target);
  }

  press(event) {
    const { drawing } = this.view;
    if (drawing.svg === null || event.button !== 0) return;
    this.dragged = false;
    const from = event.target === drawing.handle ? drawing.nodeAt(event.target) : undefined;
    this.pressed = { x: event.clientX, y: event.clientY, from };
    this.lift();
  }

  move(event) {
    const { camera, drawing, linking, stage } = this.view;
    if (!this.pressed) {
      if (linking.active) linking.aim(drawing.nodeAt(event.target), event);
      else this.rest(event);
      return;
    }
    const [dx, dy] = [event.clientX - this.pressed.x, event.clientY - this.pressed.y];
    if (!this.dragged) {
      if (Math.hypot(dx, dy) < SLIP) return;
      stage.setPointerCapture(event.pointerId);
      this.dragged = true;
      if (this.pressed.from) linking.begin(this.pressed.from, true);
    }
    if (this.pressed.from) return linking.aim(this.under(event), event);
    camera.pan(dx, dy);
    Object.assign(this.pressed, { x: event.clientX, y: event.clientY });
  }

  release(event) {
    const tying = this.dragged && this.pressed?.from && this.view.linking.active;
    this.pressed = null;
    if (tying) this.view.linking.tie(event.type === "pointerup" ? this.under(event) : undefined);
  }

  /** The node under a captured pointer. */
  under({ clientX, clientY }) {
    const { drawing, stage } = this.view;
    return drawing.nodeAt(stage.getRootNode().elementFromPoint(clientX, clientY));
  }

  click({ target }) {
    const { camera, drawing, linking } = this.view;
    if (this.dragged || drawing.svg === null) return;
    const [node, edge] = [drawing.nodeAt(target), drawing.edgeAt(target)];
    if (linking.active) return linking.tie(node);
    if (edge) return this.view.openEdge(edge);
    this.view.select(node?.name ?? "");
    if (node) camera.reveal(drawing.boxOf([node]));
  }

  wheel(event) {
    // A plain wheel scrolls the notebook.
    if (this.view.drawing.svg === null || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    this.view.camera.zoom(Math.exp(-Math.max(-120, Math.min(120, event.deltaY)) * 0.003), event);
  }

  rest(event) {
    const thing = this.thing(event.target);
    if (thing && thing === this.view.hint.on) return;
    this.lift();
    if (thing) this.resting = setTimeout(() => this.view.hint.show(thing, event), HOVER);
  }

  lift() {
    clearTimeout(this.resting);
    this.view.hint.show(undefined);
  }
}
