// The view of a graph: it shows the SVG, the states and the loads from the kernel, and requests actions.
// It lays out nothing and loads nothing from the network.

import { activeElement, create, setText } from "./dom.js";
import { adviceForSilence, Disconnected } from "./disconnected.js";
import { Drawing } from "./drawing.js";
import { EdgeCard } from "./edge_card.js";
import { EventList } from "./event_list.js";
import { Highlight } from "./highlight.js";
import { Keyboard } from "./keyboard.js";
import { Linking } from "./linking.js";
import { Pointer } from "./pointer.js";
import { ServiceCard } from "./service_card.js";
import { StatusBar } from "./status_bar.js";
import { Toolbar } from "./toolbar.js";
import { Tooltip } from "./tooltip.js";
import { READABLE_SCALE, Viewport } from "./viewport.js";

/** Milliseconds between two updates of the times in an open card. */
const TIME_INTERVAL = 500;

/** A card is shown beside the drawing if both are large enough, in pixels. Below it, the drawing keeps its size. */
const MIN_BESIDE_WIDTH = 780;
const MIN_BESIDE_HEIGHT = 300;

/** Maximum height of a card below the drawing in a tab, in pixels; graph_view.css has it too. */
const TAB_CARD_HEIGHT = 280;

/** Share of the width for the drawing while a card is beside it. */
const DRAWING_SHARE = 0.62;

export class GraphView {
  /**
   * @param {import("./view_state.js").Model} model
   * @param {import("./view_state.js").ViewState} viewState
   * @param {HTMLElement} el
   */
  constructor(model, viewState, el) {
    this.model = model;
    this.viewState = viewState;
    this.ending = new AbortController();
    this.drawing = new Drawing("");
    this.statusBar = new StatusBar();
    this.events = new EventList(viewState);
    this.toolbar = new Toolbar({
      search: (text) => this.highlight.search(text), nextMatch: (direction) => this.highlight.nextMatch(direction),
      leaveSearch: (clear) => this.highlight.leaveSearch(clear), zoom: (factor) => this.viewport.zoom(factor),
      fit: () => this.viewport.fit(), fullSize: () => this.viewport.zoom(1 / this.viewport.position.scale),
      paths: () => this.highlight.togglePaths(), keys: () => this.keyboard.togglePanel(),
      stop: () => viewState.request({ do: "stop" }, "Stop the deployment"),
    });
    this.card = new ServiceCard(viewState, { close: () => this.closeCards(), select: (name) => this.goTo(name) });
    this.tooltip = new Tooltip();
    this.keyboard = new Keyboard(this);
    this.highlight = new Highlight(this);
    this.drawingElement = create("div", { class: "dynamo-drawing", tabindex: "-1" });
    this.edgeCard = new EdgeCard(viewState, () => this.closeCards());
    const area = create("div", { class: "dynamo-drawing-area" }, this.drawingElement, this.tooltip.element);
    this.body = create("div", { class: "dynamo-body" }, area, this.card.element);
    this.disconnected = new Disconnected();
    this.parts = [this.toolbar.element, this.body, this.edgeCard.element, this.keyboard.element, this.statusBar.element,
      this.events.element];
    this.root = create("div", { class: "dynamo-view", tabindex: "-1" }, this.disconnected.element, ...this.parts);
    this.viewport = new Viewport(this.drawingElement, viewState.position, () => this.viewportMoved());
    this.linking = new Linking({
      drawing: () => this.drawing, viewport: this.viewport, viewState,
      showHint: (text) => this.statusBar.showHint(text), onCancel: () => this.statusBar.show(viewState.latest),
    });
    this.toolbar.search.value = viewState.searchText;
    el.appendChild(this.root);
    this.handlers = {
      "change:svg": () => this.draw(), "change:text": () => model.get("svg") || this.draw(),
      "change:states": () => this.updateStates(), "change:loads": () => this.updateLoads(),
      "change:card": () => this.updateCard(), "change:selected": () => this.updateSelection(),
      "change:deployment": () => this.updateDeployment(), "change:lost": () => this.updateConnection(),
      "change:detached": () => this.updateConnection(),
      "change:events": () => this.events.show(model.get("events")),
    };
    this.actionListener = () => this.actionChanged();
    this.connectionListener = () => this.updateConnection();
    this.actionFrame = 0;
    this.focusedBefore = null; // the element with the focus when the connection was lost
    this.pointer = new Pointer(this, this.ending.signal);
    this.resizeObserver = new ResizeObserver(() => this.resize());
    this.isInView = false;
    this.intersectionObserver = new IntersectionObserver((entries) => {
      this.isInView = entries.at(-1)?.isIntersecting ?? false;
      this.reportVisibility();
    });
    this.listen();
    this.draw();
    this.resize();
    this.statusBar.show(viewState.latest);
    this.updateConnection();
    this.events.show(model.get("events"));
    this.statusBar.showEdits(viewState.edits);
  }

  listen() {
    const { model, viewState, drawingElement, root, ending: { signal } } = this;
    for (const [event, handler] of Object.entries(this.handlers)) model.on(event, handler);
    viewState.listeners.add(this.actionListener);
    viewState.connection.listeners.add(this.connectionListener);

    drawingElement.addEventListener("focusin", ({ target }) => this.focusMoved(target), { signal });
    root.addEventListener("keydown", (event) => this.keyboard.handle(event), { signal });
    root.addEventListener("click", ({ target }) => this.keepFocus(target), { signal });
    // JupyterLab looks for its shortcuts before the widget receives a key, from the element with the focus upwards.
    root.addEventListener("focusin", ({ target }) =>
      /** @type {Element} */ (target).setAttribute("data-lm-suppress-shortcuts", "true"), { signal });

    for (const element of [root, drawingElement]) this.resizeObserver.observe(element);
    this.intersectionObserver.observe(root);
    document.addEventListener("visibilitychange", () => this.reportVisibility(), { signal });
    this.timer = setInterval(() => this.updateTimes(), TIME_INTERVAL);
  }

  close() {
    for (const [event, handler] of Object.entries(this.handlers)) this.model.off(event, handler);
    this.viewState.listeners.delete(this.actionListener);
    this.viewState.connection.listeners.delete(this.connectionListener);
    this.ending.abort();
    this.resizeObserver.disconnect();
    this.intersectionObserver.disconnect();
    clearInterval(this.timer);
    this.pointer.hideTooltip();
    cancelAnimationFrame(this.actionFrame);
    for (const part of [this.viewport, this.card]) part.close();
    this.isInView = false;
    this.reportVisibility();
    this.root.remove();
  }

  reportVisibility() {
    this.viewState.setVisible(this, this.isInView && !document.hidden);
  }

  // --- changes from the kernel --------------------------------------------------------------------------------------

  draw() {
    const { model, viewState, viewport } = this;
    const focusedName = this.drawing.nodeAt(activeElement(this.drawingElement))?.name;
    this.linking.end();
    this.pointer.hideTooltip();
    this.drawing = new Drawing(model.get("svg"));
    const { svg, nodes, edges } = this.drawing;
    this.drawingElement.replaceChildren(svg ?? create("pre", {}, model.get("text")));
    this.root.classList.toggle("dynamo-text-only", svg === null);
    viewport.setDrawing(svg, this.drawing.tabStop?.y);
    if (svg !== null) {
      this.fitHeight();
      if (!edges.has(viewState.selectedEdge)) viewState.selectedEdge = "";
      if (!nodes.has(viewState.focusedService)) viewState.focusedService = "";
      this.drawing.setStates(model.get("states"));
      this.drawing.setLoads(model.get("loads"));
      this.drawing.renderVisible(viewport);
      if (focusedName) nodes.get(focusedName)?.g.focus();
    }
    this.toolbar.setStates(model.get("states"));
    this.highlight.update();
    this.updateDeployment();
    this.updateSelection();
  }

  updateStates() {
    const states = this.model.get("states");
    this.toolbar.setStates(states);
    this.updateCardState();
    if (this.drawing.svg === null) return;
    const failed = this.drawing.setStates(states);
    this.drawing.renderVisible(this.viewport);
    if (failed.length) {
      this.statusBar.announce(failed.map((name) => `${name} ${this.drawing.nodes.get(name)?.status}`).join("; "));
    }
    if (this.viewState.searchText) this.highlight.update();
    this.tooltip.update();
  }

  updateLoads() {
    if (this.model.get("selected")) this.updateCardState();
    if (this.drawing.svg === null) return;
    this.drawing.setLoads(this.model.get("loads"));
    this.drawing.renderVisible(this.viewport);
    this.edgeCard.updateLoad();
    this.tooltip.update();
  }

  updateDeployment() {
    this.toolbar.setDeployment(this.model.get("deployment"));
    this.updateCard();
  }

  /** Switches all controls off while the kernel or the deployment cannot be reached, and on again. */
  updateConnection() {
    const { model, root, viewState: { connection } } = this;
    const lost = model.get("lost");
    const isOff = !connection.isLive || Boolean(lost);
    if (!connection.isLive) {
      this.disconnected.show(connection.lastSeen, adviceForSilence(model.get("deployment"), model.get("detached")));
    } else if (lost) this.disconnected.show(Date.now(), lost);
    else this.disconnected.hide();
    root.classList.toggle("dynamo-is-disconnected", isOff);
    const focused = activeElement(root);
    for (const part of this.parts) part.inert = isOff;
    // Without the focus, JupyterLab would receive the keys.
    if (isOff && focused !== root && root.contains(focused)) {
      this.focusedBefore = focused;
      root.focus({ preventScroll: true });
    } else if (!isOff && focused === root) this.focusedBefore?.focus({ preventScroll: true });
  }

  updateSelection() {
    const name = this.model.get("selected");
    if (name) this.viewState.selectedEdge = "";
    if (this.viewState.focusedService && name) this.viewState.focusedService = name;
    if (this.drawing.svg !== null) {
      const { nodes, edges } = this.drawing;
      this.drawing.select(name, this.viewState.selectedEdge);
      this.edgeCard.show(edges.get(this.viewState.selectedEdge));
      if (nodes.has(name)) this.drawing.setTabStop(nodes.get(name));
      this.highlight.update();
    }
    this.updateCard();
  }

  updateCard() {
    this.card.show(this.model.get("selected"), this.model.get("card"), this.model.get("deployment"));
    this.updateCardState();
  }

  updateCardState() {
    const name = this.model.get("selected");
    this.card.setState(this.model.get("states")[name], this.model.get("loads").services?.[name]);
  }

  /** An action has changed. A stream may have thousands of items a second, so it is shown once in each frame. */
  actionChanged() {
    this.actionFrame ||= requestAnimationFrame(() => {
      this.actionFrame = 0;
    this.focusedBefore = null; // the element with the focus when the connection was lost
      this.statusBar.show(this.viewState.latest);
      this.statusBar.showEdits(this.viewState.edits);
      this.card.callForm?.update();
      this.card.updateActions();
    });
  }

  updateTimes() {
    this.card.updateTimes();
    this.disconnected.updateTime();
  }

  // --- what the user does -------------------------------------------------------------------------------------------

  /** After a click, JupyterLab gives the focus to the cell, where a key such as x cuts it. */
  keepFocus(target) {
    if (this.root.contains(activeElement(this.root))) return;
    const focusable = target.closest("button, input, select, textarea, a[href], [tabindex]");
    (this.root.contains(focusable) ? focusable : this.root).focus({ preventScroll: true });
  }

  /** Opens the card of a service; closes all cards for "". */
  select(name) {
    this.viewState.selectedEdge = "";
    if (name === this.model.get("selected")) this.updateSelection();
    else this.viewState.select(name);
  }

  /** Opens the card of an edge, or closes it if it is open. */
  toggleEdge(edge) {
    this.viewState.selectedEdge = this.viewState.selectedEdge === edge.name ? "" : edge.name;
    this.viewState.select("");
    this.updateSelection();
  }

  /** Selects a service and shows it in the viewport. */
  goTo(name) {
    const node = this.drawing.nodes.get(name);
    if (node === undefined) return;
    this.select(name);
    node.g.focus({ preventScroll: true });
    this.reveal(node);
  }

  reveal(node) {
    this.viewport.reveal(this.drawing.boundingBox([node]), { minScale: READABLE_SCALE });
  }

  /** Closes the open card, and returns the focus to its node or edge. */
  closeCards() {
    const { nodes, edges } = this.drawing;
    const opener = edges.get(this.viewState.selectedEdge) ?? nodes.get(this.model.get("selected"));
    this.select("");
    opener?.g.focus({ preventScroll: true });
  }

  /** The node with the focus, or the selected one. */
  currentNode() {
    return this.drawing.nodeAt(activeElement(this.drawingElement)) ?? this.drawing.nodes.get(this.model.get("selected"));
  }

  focusMoved(target) {
    const [node, edge] = [this.drawing.nodeAt(target), this.drawing.edgeAt(target)];
    if (edge) this.drawing.labelEdge(edge);
    if (node) {
      this.drawing.setTabStop(node);
      this.drawing.showHandle(node);
      this.drawing.labelNode(node);
      if (this.linking.isActive) this.linking.pointTo(node);
    }
  }

  // --- size -------------------------------------------------------------------------------------------------------

  resize() {
    const { clientWidth: widgetWidth } = this.root;
    if (this.drawing.svg === null || widgetWidth === 0) return;
    this.viewport.widgetWidth = widgetWidth;
    this.fitHeight();
    const { clientWidth, clientHeight } = this.drawingElement;
    if (!this.viewport.resize(widgetWidth, clientWidth, clientHeight)) return;
    const node = this.drawing.nodes.get(this.model.get("selected"));
    if (node && this.viewport.position.mode !== "manual") {
      this.viewport.reveal(this.drawing.boundingBox([node]), { animated: false });
    }
  }

  /** Fits the drawing to the tab if the output has one of its own, else the output to the drawing. */
  fitHeight() {
    const { root, viewport, drawingElement } = this;
    const hasOwnTab = root.closest(".jp-LinkedOutputView") !== null;
    root.classList.toggle("dynamo-fills-tab", hasOwnTab);
    viewport.fillTab(hasOwnTab ? drawingElement.clientHeight : 0);
    drawingElement.style.minHeight = hasOwnTab ? "" : `${viewport.height()}px`;
    const { widgetWidth } = viewport;
    const isBeside = hasOwnTab ? viewport.isLargerBeside(DRAWING_SHARE, this.body.clientHeight, TAB_CARD_HEIGHT)
      : viewport.height(widgetWidth * DRAWING_SHARE) >= MIN_BESIDE_HEIGHT;
    root.classList.toggle("dynamo-card-beside", isBeside && widgetWidth >= MIN_BESIDE_WIDTH);
  }

  viewportMoved() {
    this.viewState.position = this.viewport.position;
    this.drawing.renderVisible(this.viewport);
    setText(this.toolbar.scale, `${Math.round(this.viewport.position.scale * 100)}%`);
  }
}
