// Linking by hand: a line drawn from a node's handle to another node, or `l` and then a choice.

class Linking {
  /** acts: drawing(), camera, desk, hint(words), over(). */
  constructor(acts) {
    this.acts = acts;
    this.source = null;
    this.target = null;
    this.rope = shape("path", { class: "rope" });
  }

  get active() {
    return this.source !== null;
  }

  begin(node, dragged) {
    this.source = node;
    this.dragged = dragged;
    node.g.classList.add("source");
    this.acts.hint(dragged ? `Link ${node.name} to …` : `Link ${node.name} to: choose a service, then Enter. Escape leaves.`);
  }

  /** The end of the rope: a node that it may be tied to, or a point of the screen. */
  aim(node, event) {
    const target = node === this.source ? undefined : node;
    if (target !== this.target) {
      this.target?.g.classList.remove("target");
      target?.g.classList.add("target");
      this.target = target ?? null;
    }
    const { svg } = this.acts.drawing();
    const { left, width, y } = this.source;
    const [x1, y1] = [left + width, y];
    const [x2, y2] = target ? [target.left, target.y] : event ? this.acts.camera.point(event) : [x1, y1];
    const bend = Math.max(24, Math.abs(x2 - x1) / 2);
    this.rope.setAttribute("d", `M${x1},${y1}C${x1 + bend},${y1} ${x2 - bend},${y2} ${x2},${y2}`);
    if (this.rope.parentNode !== svg) svg.append(this.rope);
  }

  /** Ties the rope to the node, if it is one that it may be tied to. */
  tie(node) {
    const { source } = this;
    this.end();
    if (node && node !== source) {
      const request = { do: "link", source: source.name, target: node.name };
      this.acts.desk.ask(request, `Link ${source.name} to ${node.name}`);
    } else this.acts.over();
  }

  end() {
    this.source?.g.classList.remove("source");
    this.target?.g.classList.remove("target");
    this.source = this.target = null;
    this.rope.remove();
  }
}
