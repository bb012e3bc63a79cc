// The page's side of GraphView. Nothing here lays out or fetches: it shows the kernel's SVG, keeps states and loads
// current, and asks the kernel for what a person wants done. The files of this folder are one module, joined in any order.

const TICK = 500;
/** Milliseconds between two looks at clocks that run in an open card. */
/** anywidget calls this once for each model. */
export default function widget() {
  const desk = new Desk();
  return {
    initialize: ({ model }) => desk.open(model),
    render: ({ model, el }) => {
      const view = new View(model, desk, el);
      return () => view.close();
    },
  };
}

class View {
  constructor(model, desk, el) {
    this.model = model;
    this.desk = desk;
    this.ending = new AbortController();
    this.drawing = new Drawing("");
    this.strip = new Strip();
    this.toolbar = new Toolbar({
      seek: (words) => this.seek(words), next: (way) => this.nextFound(way), leave: (clear) => this.leaveSearch(clear),
      zoom: (factor) => this.camera.zoom(factor), fit: () => this.camera.fit(), whole: () => this.camera.zoom(1 / this.camera.at.scale),
      path: () => this.togglePath(), help: () => this.keys.toggle(),
      stop: () => desk.ask({ do: "stop" }, "Stop the deployment"),
    });
    this.card = new Card(desk, { close: () => this.shut(), select: (name) => this.go(name) });
    this.hint = new Hint();
    this.keys = new Keys(this);
    this.stage = make("div", { class: "dynamo-stage", tabindex: "-1" });
    this.edgeCard = new EdgeCard(desk, { close: () => this.shut() }, (point) => this.camera.place(point));
    this.canvas = make("div", { class: "dynamo-canvas" }, this.stage, this.edgeCard.element, this.hint.element);
    this.body = make("div", { class: "dynamo-body" }, this.canvas, this.card.element);
    // Without the attribute JupyterLab takes keys such as 0 and l for its own, before the widget sees them.
    this.root = make("div", { class: "dynamo-view", "data-lm-suppress-shortcuts": "true" },
      this.toolbar.element, this.body, this.keys.element, this.strip.element);
    this.camera = new Camera(this.stage, desk.camera, () => this.moved());
    this.linking = new Linking({ drawing: () => this.drawing, camera: this.camera, desk,
                                 hint: (words) => this.strip.hint(words), over: () => this.strip.show(desk.latest) });
    this.toolbar.search.value = desk.sought;
    el.appendChild(this.root);
    this.listen();
    this.draw();
    this.resize();
    this.strip.show(desk.latest);
  }

  listen() {
    const { model, desk, stage, root, ending: { signal } } = this;
    this.watched = {
      "change:svg": () => this.draw(), "change:text": () => model.get("svg") || this.draw(),
      "change:states": () => this.paint(), "change:loads": () => this.measure(),
      "change:card": () => this.tell(), "change:selected": () => this.mark(),
      "change:deployment": () => this.serve(),
    };
    for (const [event, act] of Object.entries(this.watched)) model.on(event, act);
    this.answered = () => this.answer();
    desk.listeners.add(this.answered);

    this.hand = new Hand(this, signal);
    stage.addEventListener("focusin", ({ target }) => this.focused(target), { signal });
    root.addEventListener("keydown", (event) => this.keys.press(event), { signal });

    this.sizes = new ResizeObserver(() => this.resize());
    for (const element of [root, stage]) this.sizes.observe(element);
    this.sight = new IntersectionObserver((entries) => {
      this.inSight = entries.at(-1).isIntersecting;
      this.watch();
    });
    this.sight.observe(root);
    document.addEventListener("visibilitychange", () => this.watch(), { signal });
    this.clock = setInterval(() => this.card.tick(), TICK);
  }

  close() {
    for (const [event, act] of Object.entries(this.watched)) this.model.off(event, act);
    this.desk.listeners.delete(this.answered);
    this.ending.abort();
    this.sizes.disconnect();
    this.sight.disconnect();
    clearInterval(this.clock);
    this.hand.lift();
    cancelAnimationFrame(this.answering);
    for (const part of [this.camera, this.card, this.strip]) part.close();
    this.inSight = false;
    this.watch();
    this.root.remove();
  }

  watch() {
    this.desk.watch(this, Boolean(this.inSight) && !document.hidden);
  }

  // --- what the kernel tells ----------------------------------------------------------------------------------------

  draw() {
    const at = this.drawing.nodeAt(focused(this.stage))?.name;
    this.linking.end();
    this.hand.lift();
    this.drawing = new Drawing(this.model.get("svg"));
    const { svg, nodes, edges } = this.drawing;
    this.stage.replaceChildren(svg ?? make("pre", {}, this.model.get("text")));
    this.root.classList.toggle("plain", svg === null);
    this.camera.look(svg, this.drawing.entry?.y);
    if (svg !== null) {
      this.stage.style.minHeight = `${this.camera.tall()}px`;
      if (!edges.has(this.desk.edge)) this.desk.edge = "";
      if (!nodes.has(this.desk.path)) this.desk.path = "";
      this.drawing.paint(this.model.get("states"));
      this.drawing.measure(this.model.get("loads"));
      this.drawing.write(this.camera);
      if (at) nodes.get(at)?.g.focus();
    }
    this.toolbar.count(this.model.get("states"));
    this.light();
    this.serve();
    this.mark();
  }

  paint() {
    const states = this.model.get("states");
    this.toolbar.count(states);
    this.card.paint(states[this.model.get("selected")], this.loadOf(this.model.get("selected")));
    if (this.drawing.svg === null) return;
    const failed = this.drawing.paint(states);
    this.drawing.write(this.camera);
    if (failed.length) this.strip.announce(failed.map((name) => `${name} ${this.drawing.nodes.get(name).words}`).join("; "));
    if (this.desk.sought) this.light();
    this.hint.write();
  }

  measure() {
    const name = this.model.get("selected");
    if (name) this.card.paint(this.model.get("states")[name], this.loadOf(name));
    if (this.drawing.svg === null) return;
    this.drawing.measure(this.model.get("loads"));
    this.drawing.write(this.camera);
    this.edgeCard.measure();
    this.hint.write();
  }

  loadOf(name) {
    return this.model.get("loads").services?.[name];
  }

  serve() {
    this.toolbar.serve(this.model.get("deployment"));
    this.tell();
  }

  mark() {
    const name = this.model.get("selected");
    if (name) this.desk.edge = "";
    if (this.desk.path && name) this.desk.path = name;
    this.root.classList.toggle("open", name !== "");
    if (this.drawing.svg !== null) {
      const { nodes, edges } = this.drawing;
      this.drawing.select(name, this.desk.edge);
      this.edgeCard.show(edges.get(this.desk.edge));
      if (nodes.has(name)) this.drawing.stop(nodes.get(name));
      this.light();
    }
    this.tell();
  }

  tell() {
    const name = this.model.get("selected");
    this.card.show(name, this.model.get("card"), this.model.get("deployment"));
    this.card.paint(this.model.get("states")[name], this.loadOf(name));
  }

  /** An action began, or something came of it. A stream may bring thousands of items a second: once a frame is enough. */
  answer() {
    this.answering ??= requestAnimationFrame(() => {
      this.answering = undefined;
      this.strip.show(this.desk.latest);
      this.card.trial?.show();
      if (this.card.service && this.card.about.service) this.card.actions(this.card.about);
    });
  }

  // --- what a person does -------------------------------------------------------------------------------------------

  /** Opens the card of a service, or closes it. */
  select(name) {
    this.desk.edge = "";
    if (name === this.model.get("selected")) this.mark();
    else this.desk.select(name);
  }

  openEdge(edge) {
    this.desk.edge = this.desk.edge === edge.name ? "" : edge.name;
    this.desk.select("");
    this.mark();
  }

  /** Selects a service and brings it into view. */
  go(name) {
    const node = this.drawing.nodes.get(name);
    if (node === undefined) return;
    this.select(name);
    node.g.focus({ preventScroll: true });
    this.camera.reveal(this.drawing.boxOf([node]), { readable: LEGIBLE });
  }

  /** Closes what is open, and gives the focus back to what it was opened from. */
  shut() {
    const back = this.drawing.edges.get(this.desk.edge) ?? this.drawing.nodes.get(this.model.get("selected"));
    this.select("");
    back?.g.focus({ preventScroll: true });
  }

  held() {
    return this.drawing.nodeAt(focused(this.stage)) ?? this.drawing.nodes.get(this.model.get("selected"));
  }

  focused(target) {
    const [node, edge] = [this.drawing.nodeAt(target), this.drawing.edgeAt(target)];
    if (edge) this.drawing.labelEdge(edge);
    if (node) {
      this.drawing.stop(node);
      this.drawing.hold(node);
      this.drawing.labelNode(node);
      if (this.linking.active) this.linking.aim(node);
    }
  }

  // --- what is looked at --------------------------------------------------------------------------------------------

  seek(words) {
    this.desk.sought = words;
    this.found = undefined;
    if (this.toolbar.search.value !== words) this.toolbar.search.value = words;
    this.light();
  }

  matching() {
    const words = this.desk.sought.trim().toLowerCase();
    if (!words) return [];
    return [...this.drawing.nodes.values()].filter(({ name, words: state }) =>
      name.toLowerCase().includes(words) || state?.toLowerCase().startsWith(words));
  }

  nextFound(way) {
    const found = this.matching();
    if (found.length === 0) return;
    const at = this.found === undefined ? (way > 0 ? -1 : 0) : found.indexOf(this.found);
    this.found = found[(at + way + found.length) % found.length];
    this.light();
    this.camera.reveal(this.drawing.boxOf([this.found]), { readable: LEGIBLE });
  }

  leaveSearch(clear) {
    const to = this.found ?? this.matching()[0] ?? this.drawing.entry;
    if (clear) this.seek("");
    to?.g.focus({ preventScroll: true });
  }

  togglePath() {
    const name = this.model.get("selected") || this.held()?.name || "";
    this.desk.path = this.desk.path ? "" : name;
    if (this.desk.path) this.seek("");
    this.light();
    if (!this.desk.path) return;
    const box = this.drawing.boxOf([...this.way.before, ...this.way.behind].map((each) => this.drawing.nodes.get(each)));
    const { width, height } = this.camera.room;
    const scale = Math.min(1, width / (box.width + 48), height / (box.height + 48));
    if (scale < LEGIBLE) this.camera.reveal(this.drawing.boxOf([this.drawing.nodes.get(name)]), { readable: LEGIBLE });
    else if (scale > this.camera.at.scale * 1.1) this.camera.centre(box, scale);
    else this.camera.reveal(box);
  }

  /** Fades what is neither looked for nor on the path in focus. */
  light() {
    const { svg, nodes, edges } = this.drawing;
    if (svg === null) return;
    const { path, sought } = this.desk;
    let lit = null;
    this.way = path ? pathOf(path, [...edges.values()]) : null;
    if (this.way) {
      lit = { nodes: new Set([...this.way.before, ...this.way.behind]),
              edges: new Set([...edges.values()].filter((edge) => onPath(edge, this.way)).map((edge) => edge.name)) };
    }
    const found = this.matching();
    if (sought.trim()) lit = { nodes: new Set(found.map(({ name }) => name)), edges: new Set() };
    this.drawing.light(lit);
    for (const node of nodes.values()) node.g.classList.toggle("found", node === this.found);
    const at = this.found && found.indexOf(this.found) >= 0 ? `${found.indexOf(this.found) + 1} / ` : "";
    say(this.toolbar.found, sought.trim() ? `${at}${found.length}` : "");
    put(this.toolbar.path, "aria-pressed", String(path !== ""));
  }

  resize() {
    const { clientWidth: whole } = this.root;
    if (this.drawing.svg === null || whole === 0) return;
    this.camera.whole = whole;
    this.stage.style.minHeight = `${this.camera.tall()}px`;
    if (!this.camera.resize(whole, this.stage.clientWidth, this.stage.clientHeight)) return;
    const node = this.drawing.nodes.get(this.model.get("selected"));
    if (node && this.camera.at.mode !== "own") this.camera.reveal(this.drawing.boxOf([node]), { smooth: false });
  }

  moved() {
    this.desk.camera = this.camera.at;
    this.drawing.write(this.camera);
    say(this.toolbar.scale, `${Math.round(this.camera.at.scale * 100)}%`);
    this.edgeCard.move();
  }
}
