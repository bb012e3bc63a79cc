// What an edge says: under the pointer its numbers, and on a click a small card with Link and Unlink.

class EdgeCard {
  /** acts: close(). place: gives the pixels of a point of the drawing. */
  constructor(desk, acts, place) {
    this.desk = desk;
    this.acts = acts;
    this.place = place;
    this.edge = null;
    this.metrics = new Metrics("failed");
    this.title = make("h4", {});
    this.about = make("p", { class: "dynamo-empty" });
    this.act = button("", () => this.toggle());
    this.element = make("div", { class: "dynamo-edgecard", role: "group" },
      make("header", { class: "dynamo-top" }, this.title, tool("close", "Close  ( Escape )", acts.close)),
      this.about, this.metrics.element, make("div", { class: "dynamo-row" }, this.act));
    this.element.hidden = true;
  }

  show(edge) {
    this.edge = edge ?? null;
    this.element.hidden = this.edge === null;
    if (this.edge === null) return;
    say(this.title, `${edge.source} → ${edge.target}`);
    say(this.about, edge.about);
    say(this.act, edge.active ? "Unlink" : "Link");
    this.element.setAttribute("aria-label", `${edge.source} to ${edge.target}`);
    this.measure();
    this.move();
  }

  measure() {
    if (this.edge === null) return;
    this.metrics.show(this.edge.now);
    this.metrics.element.hidden = !this.edge.active;
  }

  /** Stays at the middle of its edge, inside the stage. */
  move() {
    if (this.edge === null) return;
    const { line } = this.edge;
    const middle = line.getPointAtLength(line.getTotalLength() / 2);
    const [x, y] = this.place([middle.x, middle.y]);
    const stage = this.element.parentElement;
    const left = Math.min(Math.max(6, x + 12), stage.clientWidth - this.element.offsetWidth - 6);
    const top = Math.min(Math.max(6, y + 12), Math.max(6, stage.clientHeight - this.element.offsetHeight - 6));
    this.element.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
  }

  toggle() {
    const { source, target, active } = this.edge;
    const words = active ? `Unlink ${source} from ${target}` : `Link ${source} to ${target}`;
    this.desk.ask({ do: active ? "unlink" : "link", source, target }, words);
  }
}

/** The tooltip of nodes and edges. */
class Hint {
  constructor() {
    this.element = make("div", { class: "dynamo-hint", "aria-hidden": "true" });
    this.element.hidden = true;
    this.on = null;
  }

  /** thing: a record of the drawing, or undefined. */
  show(thing, event) {
    this.on = thing ?? null;
    this.element.hidden = this.on === null;
    if (this.on === null) return;
    this.write();
    const stage = this.element.parentElement;
    const seen = stage.getBoundingClientRect();
    const [x, y] = [event.clientX - seen.left, event.clientY - seen.top];
    const { offsetWidth, offsetHeight } = this.element;
    const left = Math.max(4, Math.min(x + 14, stage.clientWidth - offsetWidth - 4));
    // Not beyond the widget's end: the notebook would answer with a scroll bar.
    const end = stage.closest(".dynamo-view").getBoundingClientRect().bottom - seen.top;
    const top = Math.min(y + 18, end - offsetHeight - 4);
    this.element.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
  }

  write() {
    if (this.on === null) return;
    const [title, ...lines] = this.on.about.split("\n");
    const said = [title, ...lines, ...measured(this.on.now).flat()].join("\n");
    if (said === this.said) return;
    this.said = said;
    const stale = this.on.words === undefined ? lines : lines.filter((line) => line !== this.on.words);
    this.element.replaceChildren(make("b", {}, title), ...stale.map((line) => make("div", {}, line)), facts(measured(this.on.now)));
  }
}
