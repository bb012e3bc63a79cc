// Highlights the matches of a search, or the paths through a service, and fades the rest of the drawing.

import { setAttribute, setText } from "./dom.js";
import { isOnPath, pathsThrough } from "./paths.js";
import { READABLE_SCALE } from "./viewport.js";

export class Highlight {
  /** @param {import("./graph_view.js").GraphView} view */
  constructor(view) {
    this.view = view;
    this.currentMatch = undefined;
  }

  search(text) {
    const { viewState, toolbar } = this.view;
    viewState.searchText = text;
    this.currentMatch = undefined;
    if (toolbar.search.value !== text) toolbar.search.value = text;
    this.update();
  }

  matches() {
    const text = this.view.viewState.searchText.trim().toLowerCase();
    if (!text) return [];
    return [...this.view.drawing.nodes.values()].filter(({ name, status }) =>
      name.toLowerCase().includes(text) || status?.toLowerCase().startsWith(text));
  }

  nextMatch(direction) {
    const matches = this.matches();
    if (matches.length === 0) return;
    const at = this.currentMatch === undefined ? (direction > 0 ? -1 : 0) : matches.indexOf(this.currentMatch);
    this.currentMatch = matches[(at + direction + matches.length) % matches.length];
    this.update();
    this.view.reveal(this.currentMatch);
  }

  /** Moves the focus to the current match. */
  leaveSearch(clear) {
    const node = this.currentMatch ?? this.matches()[0] ?? this.view.drawing.tabStop;
    if (clear) this.search("");
    node?.g.focus({ preventScroll: true });
  }

  /** Highlights the paths through the selected service, or ends that. */
  togglePaths() {
    const { drawing, model, viewState, viewport } = this.view;
    const name = model.get("selected") || this.view.currentNode()?.name || "";
    viewState.focusedService = viewState.focusedService ? "" : name;
    if (viewState.focusedService) this.search("");
    this.update();
    if (!viewState.focusedService) return;
    const { callers, callees } = this.paths();
    const box = drawing.boundingBox([...callers, ...callees].map((each) => drawing.nodes.get(each)));
    const { width, height } = viewport.size;
    const scale = Math.min(1, width / (box.width + 48), height / (box.height + 48));
    if (scale < READABLE_SCALE) this.view.reveal(drawing.nodes.get(name));
    else if (scale > viewport.position.scale * 1.1) viewport.centre(box, scale);
    else viewport.reveal(box);
  }

  paths() {
    return pathsThrough(this.view.viewState.focusedService, [...this.view.drawing.edges.values()]);
  }

  /** Fades what does not match the search, or is not on the paths. */
  update() {
    const { drawing, toolbar, viewState } = this.view;
    if (drawing.svg === null) return;
    const isSearch = viewState.searchText.trim() !== "";
    const matches = this.matches();
    /** @type {{ nodes: Set<string>, edges: Set<string> } | null} */
    let names = null;
    if (isSearch) names = { nodes: new Set(matches.map(({ name }) => name)), edges: new Set() };
    else if (viewState.focusedService) {
      const paths = this.paths();
      const onPath = [...drawing.edges.values()].filter((edge) => isOnPath(edge, paths));
      names = { nodes: new Set([...paths.callers, ...paths.callees]), edges: new Set(onPath.map(({ name }) => name)) };
    }
    drawing.highlight(names);
    for (const node of drawing.nodes.values()) node.g.classList.toggle("current-match", node === this.currentMatch);
    const at = matches.indexOf(this.currentMatch);
    setText(toolbar.matches, isSearch ? `${at >= 0 ? `${at + 1} / ` : ""}${matches.length}` : "");
    setAttribute(toolbar.paths, "aria-pressed", String(viewState.focusedService !== ""));
  }
}
