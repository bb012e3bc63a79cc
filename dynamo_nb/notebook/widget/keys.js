// The keyboard: what each key does, and the panel that tells it.

const KEYS = [
  ["Tab", "into the graph, and on"],
  ["→  ←", "to a callee, to a caller"],
  ["↑  ↓", "to a neighbour"],
  ["Enter", "open the card"],
  ["e", "to the edges of a service"],
  ["Escape", "close, leave"],
  ["/", "search; Enter goes to the next match"],
  ["f", "focus on the paths through a service"],
  ["l", "link a service to another"],
  ["+  −  0", "zoom in, zoom out, show all"],
  ["Ctrl  wheel", "zoom; drag moves"],
  ["Ctrl  Enter", "in a form: call"],
];

class Keys {
  constructor(view) {
    this.view = view;
    this.element = make("div", { class: "dynamo-keys", role: "group", "aria-label": "Keys" },
      make("header", { class: "dynamo-top" }, make("h4", {}, "Keys"), tool("close", "Close  ( Escape )", () => this.toggle())),
      make("dl", {}, ...KEYS.map(([keys, does]) =>
        make("div", {}, make("dt", {}, ...keys.split("  ").map((key) => make("kbd", {}, key))), make("dd", {}, does)))));
    this.element.hidden = true;
  }

  toggle() {
    const { element, view } = this;
    element.hidden = !element.hidden;
    if (element.hidden) return void this.back?.focus({ preventScroll: true });
    this.back = focused(view.root);
    element.querySelector("button").focus();
  }

  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.closest("input, textarea, select");
    if (event.key === "Escape" ? this.escape() : !typing && this.does(event.key, event.target)) event.preventDefault();
    else if (!typing) return;
    event.stopPropagation(); // the notebook has a meaning of its own for most keys
  }

  escape() {
    const { view } = this;
    if (view.linking.active) view.linking.tie(undefined);
    else if (!this.element.hidden) this.toggle();
    else if (view.desk.edge || view.model.get("selected")) view.shut();
    else if (view.desk.path) view.togglePath();
    else if (view.desk.sought) view.seek("");
    else return false;
    return true;
  }

  /** Does what a key stands for; false if it stands for nothing here. */
  does(key, target) {
    const { view } = this;
    if (key === "?") this.toggle();
    else if (view.drawing.svg === null) return false;
    else if (key === "/") view.toolbar.search.select();
    else if (key === "+" || key === "=") view.camera.zoom(ZOOM.step);
    else if (key === "-") view.camera.zoom(1 / ZOOM.step);
    else if (key === "0") view.camera.fit();
    else if (key === "f") view.togglePath();
    else if (key === "l") return this.link();
    else if (!view.stage.contains(target)) return false;
    else if (key === "Enter" || key === " ") this.enter(target);
    else if (key === "e") return this.toEdge(target, 1);
    else if (key.startsWith("Arrow")) return this.walk(target, key);
    else return false;
    return true;
  }

  enter(target) {
    const { view } = this;
    const [node, edge] = [view.drawing.nodeAt(target), view.drawing.edgeAt(target)];
    if (view.linking.active) view.linking.tie(node);
    else if (edge) {
      view.openEdge(edge);
      if (view.desk.edge) view.edgeCard.act.focus({ preventScroll: true });
    } else if (node) view.select(node.name === view.model.get("selected") ? "" : node.name);
  }

  walk(target, key) {
    const { view } = this;
    const { nodes, edges, entry } = view.drawing;
    const edge = view.drawing.edgeAt(target);
    if (edge && (key === "ArrowUp" || key === "ArrowDown")) return this.toEdge(target, key === "ArrowDown" ? 1 : -1);
    const node = edge ? nodes.get(key === "ArrowRight" ? edge.target : edge.source)
      : step(view.drawing.nodeAt(target) ?? entry, key, nodes, [...edges.values()]);
    if (node === undefined) return true;
    node.g.focus({ preventScroll: true });
    view.camera.reveal(view.drawing.boxOf([node]));
    if (view.model.get("selected")) view.select(node.name);
    return true;
  }

  /** Moves the focus to an edge of the service in focus, or to the next edge of the same service. */
  toEdge(target, way) {
    const { drawing } = this.view;
    const at = drawing.edgeAt(target);
    if (at === undefined) this.around = drawing.nodeAt(target)?.name;
    const own = [...drawing.edges.values()].filter((edge) => edge.source === this.around || edge.target === this.around);
    const next = own[(own.indexOf(at) + way + own.length) % own.length];
    next?.g.focus({ preventScroll: true });
    return next !== undefined;
  }

  link() {
    const node = this.view.held();
    if (node === undefined) return false;
    node.g.focus({ preventScroll: true });
    this.view.linking.begin(node, false);
    return true;
  }
}
