// The keyboard: what each key does, and the panel with the list of keys.

import { activeElement, create, iconButton } from "./dom.js";
import { neighbour } from "./paths.js";
import { ZOOM } from "./viewport.js";

const KEYS = [
  ["Tab", "enter the graph, leave it"],
  ["→  ←", "go to a callee, to a caller"],
  ["↑  ↓", "go to a neighbour"],
  ["Enter", "open the card"],
  ["e", "go to the edges of a service"],
  ["Escape", "close, cancel"],
  ["/", "search; Enter goes to the next match"],
  ["f", "highlight the paths through a service"],
  ["l", "link a service to another"],
  ["+  −  0", "zoom in, zoom out, show all"],
  ["Ctrl  wheel", "zoom; drag to move"],
  ["Ctrl  Enter", "in a form: call"],
];

export class Keyboard {
  /** @param {import("./graph_view.js").GraphView} view */
  constructor(view) {
    this.view = view;
    this.element = create("div", { class: "dynamo-keys", role: "group", "aria-label": "Keyboard shortcuts" },
      create("header", { class: "dynamo-header" }, create("h4", {}, "Keyboard shortcuts"),
        iconButton("close", "Close  ( Escape )", () => this.togglePanel())),
      create("dl", {}, ...KEYS.map(([keys, action]) =>
        create("div", {}, create("dt", {}, ...keys.split("  ").map((key) => create("kbd", {}, key))), create("dd", {}, action)))));
    this.element.hidden = true;
  }

  togglePanel() {
    const { element, view } = this;
    element.hidden = !element.hidden;
    if (element.hidden) return void this.focusedBefore?.focus({ preventScroll: true });
    this.focusedBefore = activeElement(view.root);
    element.querySelector("button")?.focus();
  }

  handle(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const isTyping = event.target.closest("input, textarea, select");
    if (event.key === "Escape" ? this.escape() : !isTyping && this.run(event.key, event.target)) event.preventDefault();
    else if (!isTyping) return;
    event.stopPropagation(); // most keys are shortcuts of the notebook too
  }

  /** Closes the innermost open part. Returns false if nothing is open. */
  escape() {
    const { view } = this;
    if (view.linking.isActive) view.linking.finish(undefined);
    else if (!this.element.hidden) this.togglePanel();
    else if (view.viewState.selectedEdge || view.model.get("selected")) view.closeCards();
    else if (view.viewState.focusedService) view.highlight.togglePaths();
    else if (view.viewState.searchText) view.highlight.search("");
    else return false;
    return true;
  }

  /** Runs the action of a key. Returns false if it has none here. */
  run(key, target) {
    const { view } = this;
    if (key === "?") this.togglePanel();
    else if (view.drawing.svg === null) return false;
    else if (key === "/") view.toolbar.search.select();
    else if (key === "+" || key === "=") view.viewport.zoom(ZOOM.step);
    else if (key === "-") view.viewport.zoom(1 / ZOOM.step);
    else if (key === "0") view.viewport.fit();
    else if (key === "f") view.highlight.togglePaths();
    else if (key === "l") return this.beginLink();
    else if (!view.drawingElement.contains(target)) return false;
    else if (key === "Enter" || key === " ") this.activate(target);
    else if (key === "e") return this.focusEdge(target, 1);
    else if (key.startsWith("Arrow")) return this.focusNeighbour(target, key);
    else return false;
    return true;
  }

  activate(target) {
    const { view } = this;
    const [node, edge] = [view.drawing.nodeAt(target), view.drawing.edgeAt(target)];
    if (view.linking.isActive) view.linking.finish(node);
    else if (edge) {
      view.toggleEdge(edge);
      if (view.viewState.selectedEdge) view.edgeCard.action.focus({ preventScroll: true });
    } else if (node) view.select(node.name === view.model.get("selected") ? "" : node.name);
  }

  focusNeighbour(target, key) {
    const { view } = this;
    const { nodes, edges, tabStop } = view.drawing;
    const edge = view.drawing.edgeAt(target);
    if (edge && (key === "ArrowUp" || key === "ArrowDown")) return this.focusEdge(target, key === "ArrowDown" ? 1 : -1);
    const node = edge ? nodes.get(key === "ArrowRight" ? edge.target : edge.source)
      : neighbour(view.drawing.nodeAt(target) ?? tabStop, key, nodes, [...edges.values()]);
    if (node === undefined) return true;
    node.g.focus({ preventScroll: true });
    view.viewport.reveal(view.drawing.boundingBox([node]));
    if (view.model.get("selected")) view.select(node.name);
    return true;
  }

  /** Moves the focus to an edge of the focused service, or from an edge to the next one of that service. */
  focusEdge(target, direction) {
    const { drawing } = this.view;
    const current = drawing.edgeAt(target);
    if (current === undefined) this.edgesOf = drawing.nodeAt(target)?.name;
    const edges = [...drawing.edges.values()].filter(({ source, target }) => source === this.edgesOf || target === this.edgesOf);
    const next = edges[((current ? edges.indexOf(current) : -1) + direction + edges.length) % edges.length];
    next?.g.focus({ preventScroll: true });
    return next !== undefined;
  }

  beginLink() {
    const node = this.view.currentNode();
    if (node === undefined) return false;
    node.g.focus({ preventScroll: true });
    this.view.linking.begin(node, false);
    return true;
  }
}
