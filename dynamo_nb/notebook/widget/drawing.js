// The SVG from the kernel. It is taken apart once, into records of nodes and edges; updates change only what differs.

import { SVG, createSvg, setAttribute, setText } from "./dom.js";
import { bytes, duration, grouped, loadLevel, loadSentence, rate } from "./formats.js";

/** All elements and attributes of a drawing. Others are removed, and styles are the widget's own. */
const ELEMENTS = new Set(["svg", "g", "rect", "path", "circle", "text", "tspan", "title"]);
const ATTRIBUTES = new Set(["class", "id", "role", "aria-label", "x", "y", "width", "height", "rx", "cx", "cy", "r", "d",
                            "viewBox", "fill", "fill-opacity", "stroke", "stroke-opacity", "stroke-width",
                            "stroke-dasharray", "font-size", "font-weight", "font-style", "text-anchor",
                            "data-service", "data-state", "data-source", "data-target", "data-active"]);

/** Font sizes of the small lines and of the name in a node, and the maximum of a name that is shown alone. */
const SMALL_FONT = 11;
const NAME_FONT = 13.5;
const MAX_NAME_FONT = 30;

/** Units between two texts of a line. */
const GAP = 6;

const PADDING = 12;

/** Scale below which no text can be read at all. */
const NO_TEXT_SCALE = 0.25;

/** Number of edges from which changes of colour and width are not animated. */
const LARGE = 60;

/**
 * A service in the drawing. Positions and sizes are in units of the drawing.
 * @typedef {object} NodeRecord
 * @property {SVGGElement} g
 * @property {string} name
 * @property {string} title The text of its tooltip.
 * @property {number} left
 * @property {number} top
 * @property {number} width
 * @property {number} height
 * @property {number} x Of its middle.
 * @property {number} y Of its middle.
 * @property {SVGTextElement} nameText
 * @property {SVGTextElement | null} stateText
 * @property {SVGTSpanElement[] | null} loadTexts
 * @property {string} ariaLabel
 * @property {string} [status] State and note.
 * @property {string} [workers] Such as "1/2": ready and desired workers.
 * @property {Load} [load]
 * @property {SVGTextElement} [inFlightText]
 * @property {SVGTextElement} [memoryText]
 * @property {SVGGElement} [badge]
 * @property {{ inFlight: boolean, memory: boolean }} [fits] The texts for which there is space.
 * @property {boolean} [isBusy]
 * @property {boolean} [isStale] True if its texts must be written again.
 */

/**
 * A dependency in the drawing.
 * @typedef {object} EdgeRecord
 * @property {SVGGElement} g
 * @property {SVGPathElement} line
 * @property {string} name Such as "Source->Target".
 * @property {string} source
 * @property {string} target
 * @property {boolean} active False if it is not linked.
 * @property {string} title The text of its tooltip.
 * @property {number} level How busy it is, from 0 to 1.
 * @property {Load} [load]
 * @property {boolean} [isFailing]
 * @property {string} [ariaLabel]
 */

/** @typedef {import("./formats.js").Load} Load */

export class Drawing {
  /** @param {string} source SVG */
  constructor(source) {
    this.svg = parseSvg(source);
    /** @type {Map<string, NodeRecord>} */
    this.nodes = new Map();
    /** @type {Map<string, EdgeRecord>} */
    this.edges = new Map();
    this.handle = createSvg("circle", { class: "link-handle", r: 5 });
    if (this.svg === null) return;
    this.svg.setAttribute("role", "group"); // an image would hide its nodes from screen readers
    for (const g of this.svg.querySelectorAll(".edge")) this.addEdge(g);
    for (const g of this.svg.querySelectorAll("[data-service]")) this.addNode(g);
    this.svg.classList.toggle("large", this.edges.size > LARGE);
    const first = this.svg.querySelector(".entry") ?? this.svg.querySelector("[data-service]");
    if (first) this.setTabStop(this.nodes.get(first.dataset.service));
  }

  addNode(g) {
    const card = [...g.querySelectorAll(".card")].at(-1);
    const [x, y, width, height] = ["x", "y", "width", "height"].map((name) => Number(card.getAttribute(name)));
    const [nameText, stateText, loadText] = [".name", "text.state", ".load"].map((selector) => g.querySelector(selector));
    /** @type {NodeRecord} */
    const node = { g, name: g.dataset.service, title: removeTitle(g), left: x, top: y, width, height,
                   x: x + width / 2, y: y + height / 2, nameText, stateText, loadTexts: null, ariaLabel: "" };
    const cornerText = (text) => text.parentNode.insertBefore(
      createSvg("text", { class: "quiet corner", x: x + width - PADDING, y: text.getAttribute("y"), "text-anchor": "end",
                          "font-size": SMALL_FONT }),
      text.nextSibling);
    if (stateText) {
      node.inFlightText = cornerText(stateText);
      node.memoryText = cornerText(nameText);
      node.badge = g.appendChild(createSvg("g", { class: "error-badge", hidden: "" },
        createSvg("rect", { y: y - 8, height: 16, rx: 8 }),
        createSvg("text", { y: y + 3.5, "text-anchor": "middle", "font-size": 10 })));
    }
    // The kernel estimated the widths of texts: the font of the page may be wider.
    for (const text of g.querySelectorAll("text")) {
      const space = x + width - PADDING / 2 - Number(text.getAttribute("x"));
      if (text.textContent) setText(text, shorten(text.textContent, space, text === nameText ? NAME_FONT : SMALL_FONT));
    }
    if (loadText) {
      const [left, right] = [Number(loadText.getAttribute("x")), x + width - PADDING];
      node.loadTexts = [left, left, right].map((at) =>
        createSvg("tspan", { x: at, "text-anchor": at === right ? "end" : "start" }));
      loadText.replaceChildren(...node.loadTexts);
    }
    if (nameText) {
      const widest = (NAME_FONT * (width - 2 * GAP)) / Math.max(1, textWidth(nameText.textContent ?? "", NAME_FONT));
      const size = Math.min(MAX_NAME_FONT, widest, height * 0.6);
      g.append(createSvg("text", { class: "name alone", x: node.x, y: node.y + size * 0.36, "text-anchor": "middle",
                                   "font-size": size, "font-weight": 600 }, nameText.textContent ?? ""));
    }
    g.setAttribute("tabindex", "-1");
    g.setAttribute("role", "button");
    this.nodes.set(node.name, node);
  }

  addEdge(g) {
    const { source, target, active } = g.dataset;
    const line = g.querySelector(".line");
    g.insertBefore(createSvg("path", { class: "hit-area", d: line.getAttribute("d") }), line);
    g.setAttribute("tabindex", "-1");
    g.setAttribute("role", "button");
    /** @type {EdgeRecord} */
    const edge = { g, line, name: `${source}->${target}`, source, target, active: active === "true",
                   title: removeTitle(g), level: 0 };
    this.edges.set(edge.name, edge);
    this.labelEdge(edge);
  }

  /** The node to which an element of the page belongs, or undefined. */
  nodeAt(element) {
    return this.nodes.get(element?.closest?.("[data-service]")?.dataset.service);
  }

  edgeAt(element) {
    const g = element?.closest?.(".edge");
    return g ? this.edges.get(`${g.dataset.source}->${g.dataset.target}`) : undefined;
  }

  /** Makes a node the one that Tab reaches. Arrow keys lead to the others. */
  setTabStop(node) {
    this.tabStop?.g.setAttribute("tabindex", "-1");
    this.tabStop = node;
    node.g.setAttribute("tabindex", "0");
  }

  /** Shows the handle for a new link at a node; hides it for undefined. */
  showHandle(node) {
    if (node === undefined) return this.handle.remove();
    if (this.handle.parentNode === node.g) return;
    this.handle.setAttribute("cx", node.left + node.width);
    this.handle.setAttribute("cy", node.y);
    node.g.append(this.handle);
  }

  /** Shows the states. Returns the names of services that have failed since the previous call. */
  setStates(states) {
    const failed = [];
    for (const node of this.nodes.values()) {
      const { state = "", note = "", workers = "" } = states[node.name] ?? {};
      const status = [state, note.split(/\s+/).join(" ").trim()].filter(Boolean).join(": ");
      if (node.g.dataset.state !== state && state === "failed") failed.push(node.name);
      setAttribute(node.g, "data-state", state);
      node.status = status;
      node.workers = workers;
      if (node.stateText) {
        const space = node.left + node.width - PADDING - Number(node.stateText.getAttribute("x"));
        const suffix = workers && !note && textWidth(`${status} ${workers}`) <= space ? ` ${workers}` : "";
        const visible = shorten(status, space);
        if (node.stateText.textContent !== visible + suffix) {
          node.stateText.replaceChildren(visible, ...(suffix ? [createSvg("tspan", { class: "quiet" }, suffix)] : []));
        }
        // Measured with the widest numbers, so that a text does not come and go as its number changes.
        node.fits = {
          inFlight: textWidth(`${status}${suffix}   888 in flight`) <= space,
          memory: textWidth(node.nameText.textContent ?? "", NAME_FONT) + textWidth("   888 MiB") <= node.width - 2 * PADDING,
        };
      }
      this.labelNode(node);
      node.isStale = true;
    }
    return failed;
  }

  /** Takes the loads. Edges show them at once, nodes when `renderVisible` is called. */
  setLoads({ services = {}, edges = {} }) {
    for (const node of this.nodes.values()) {
      const load = services[node.name];
      if (node.load === undefined && load === undefined) continue;
      node.load = load;
      node.isStale = true;
    }
    for (const edge of this.edges.values()) {
      const load = edges[edge.name];
      if (edge.load === undefined && load === undefined) continue;
      edge.load = load;
      const level = loadLevel(load);
      if (level !== edge.level) edge.g.style.setProperty("--level", String((edge.level = level)));
      const isFailing = load?.errors > 0;
      if (isFailing !== edge.isFailing) edge.g.classList.toggle("failing", (edge.isFailing = isFailing));
    }
  }

  /** Writes the numbers of the nodes in the viewport: setting texts is the cost of an update, and few of many show. */
  renderVisible({ position, size }) {
    if (!size.width || position.scale < NO_TEXT_SCALE) return;
    const [right, bottom] = [position.x + size.width / position.scale, position.y + size.height / position.scale];
    for (const node of this.nodes.values()) {
      if (!node.isStale || node.left > right || node.top > bottom) continue;
      if (node.left + node.width < position.x || node.top + node.height < position.y) continue;
      node.isStale = false;
      if (node.loadTexts) this.renderLoad(node);
      this.labelNode(node);
    }
  }

  renderLoad(node) {
    const { load } = node;
    const [calls, median, p99] = node.loadTexts;
    setText(calls, load ? rate(load.rate) : "");
    setText(p99, load?.p99 != null ? `p99 ${duration(load.p99)}` : "");
    this.renderMedian(median, load?.p50 != null ? duration(load.p50) : "", calls, p99);
    const isBusy = load?.rate > 0;
    if (node.isBusy !== isBusy) calls.classList.toggle("name", (node.isBusy = isBusy));
    setText(node.inFlightText, load?.in_flight && node.fits?.inFlight ? `${grouped(load.in_flight)} in flight` : "");
    setText(node.memoryText, load?.memory != null && node.fits?.memory ? bytes(load.memory) : "");
    const errors = load?.errors > 0 ? `${rate(load.errors)} errors`.replace("/s errors", " errors/s") : "";
    const [plate, text] = node.badge.children;
    if (text.textContent === errors) return;
    setText(text, errors);
    const width = textWidth(errors) + 14;
    plate.setAttribute("width", width);
    plate.setAttribute("x", node.left + node.width - width - 6);
    text.setAttribute("x", node.left + node.width - width / 2 - 6);
    node.badge.toggleAttribute("hidden", !errors);
  }

  /** Writes the median between the two other numbers. It is left out if there is no space for it. */
  renderMedian(median, text, calls, p99) {
    const [left, right] = [Number(calls.getAttribute("x")), Number(p99.getAttribute("x"))];
    const from = left + Math.max(textWidth(calls.textContent) + GAP, (right - left) * 0.3);
    const fits = from + textWidth(text) <= right - textWidth(p99.textContent) - GAP;
    setText(median, fits ? text : "");
    setAttribute(median, "x", from.toFixed(1));
  }

  labelNode(node) {
    const workers = node.workers && `${node.workers} workers`;
    const label = [node.name, node.status, workers, loadSentence(node.load)].filter(Boolean).join(", ");
    if (label !== node.ariaLabel) node.g.setAttribute("aria-label", (node.ariaLabel = label));
  }

  labelEdge(edge) {
    const label = [`${edge.source} calls ${edge.target}`, edge.active ? "" : "not linked", loadSentence(edge.load)]
      .filter(Boolean).join(", ");
    if (label !== edge.ariaLabel) edge.g.setAttribute("aria-label", (edge.ariaLabel = label));
  }

  /** Marks the selected service and the selected edge, by name; "" for none. */
  select(service, edgeName) {
    for (const node of this.nodes.values()) setAttribute(node.g, "aria-pressed", String(node.name === service));
    for (const edge of this.edges.values()) setAttribute(edge.g, "aria-pressed", String(edge.name === edgeName));
  }

  /** Fades all nodes and edges whose names are not in the sets; null shows all of them. */
  highlight(names) {
    this.svg.classList.toggle("has-highlight", names !== null);
    for (const { g, name } of this.nodes.values()) g.classList.toggle("highlight", names === null || names.nodes.has(name));
    for (const { g, name } of this.edges.values()) g.classList.toggle("highlight", names === null || names.edges.has(name));
  }

  boundingBox(nodes) {
    const [x, y] = ["left", "top"].map((side) => Math.min(...nodes.map((node) => node[side])));
    const right = Math.max(...nodes.map((node) => node.left + node.width));
    const bottom = Math.max(...nodes.map((node) => node.top + node.height));
    return { x, y, width: right - x, height: bottom - y };
  }
}

function parseSvg(source) {
  const svg = source && new DOMParser().parseFromString(source, "image/svg+xml").documentElement;
  if (!svg || svg.localName !== "svg" || svg.namespaceURI !== SVG) return null;
  for (const element of [svg, ...svg.querySelectorAll("*")]) {
    if (!ELEMENTS.has(element.localName) || element.namespaceURI !== SVG) element.remove();
    for (const { name } of [...element.attributes]) if (!ATTRIBUTES.has(name)) element.removeAttribute(name);
  }
  return document.importNode(svg, true);
}

/** Removes the title of an element, because the browser's own tooltip would cover ours. Returns its text. */
function removeTitle(g) {
  const title = g.querySelector("title");
  title?.remove();
  return title?.textContent ?? "";
}

/** Font size to the canvas that measures texts of this size. @type {Map<number, CanvasRenderingContext2D>} */
const measuring = new Map();

/** The width of a text, in units of the drawing. A canvas measures without a layout of the page. Names are bold. */
function textWidth(text, size = SMALL_FONT) {
  let context = measuring.get(size);
  if (context === undefined) {
    context = /** @type {CanvasRenderingContext2D} */ (document.createElement("canvas").getContext("2d"));
    const weight = size === NAME_FONT ? 600 : 400;
    context.font = `${weight} ${size}px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif`;
    measuring.set(size, context);
  }
  return context.measureText(text).width;
}

function shorten(text, space, size = SMALL_FONT) {
  if (textWidth(text, size) <= space) return text;
  let end = text.length - 1;
  while (end > 0 && textWidth(`${text.slice(0, end)}…`, size) > space) end--;
  return `${text.slice(0, end)}…`;
}
