// The kernel's SVG in the page: taken apart once into records of nodes and edges; updates touch what differs.

const SHAPES = new Set(["svg", "g", "rect", "path", "circle", "text", "tspan", "title"]);
const TRAITS = new Set(["class", "id", "role", "aria-label", "x", "y", "width", "height", "rx", "cx", "cy", "r", "d",
                        "viewBox", "fill", "fill-opacity", "stroke", "stroke-opacity", "stroke-width", "stroke-dasharray",
                        "font-size", "font-weight", "font-style", "text-anchor",
                        "data-service", "data-state", "data-source", "data-target", "data-active"]);
/** All that a drawing consists of. Styles are the widget's own; anything else is dropped. */

const SMALL = 11;
/** Font size of a node's small lines. */
const PAD = 12;
const TINY = 0.25;
/** Scale below which no line can be read at all. */
const MANY = 60;
/** Edges from which on changes of colour and width are not animated. */

class Drawing {
  constructor(source) {
    this.svg = parsed(source);
    this.nodes = new Map();
    this.edges = new Map();
    this.handle = shape("circle", { class: "handle", r: 5 });
    if (this.svg === null) return;
    this.svg.setAttribute("role", "group"); // as an image it would hide its nodes from a screen reader
    for (const g of this.svg.querySelectorAll(".edge")) this.takeEdge(g);
    for (const g of this.svg.querySelectorAll("[data-service]")) this.takeNode(g);
    this.svg.classList.toggle("many", this.edges.size > MANY);
    const first = this.svg.querySelector(".entry") ?? this.svg.querySelector("[data-service]");
    if (first) this.stop(this.nodes.get(first.dataset.service));
  }

  takeNode(g) {
    const card = [...g.querySelectorAll(".card")].at(-1);
    const [x, y, width, height] = ["x", "y", "width", "height"].map((name) => Number(card.getAttribute(name)));
    const [name, state, load] = ["name", "text.state", "load"].map((kind) => g.querySelector(kind.includes(".") ? kind : `.${kind}`));
    const node = { g, name: g.dataset.service, about: untitled(g), left: x, top: y, width, height,
                   x: x + width / 2, y: y + height / 2, label: name, state, load: null, heat: null, said: "" };
    const corner = (text) => text.parentNode.insertBefore(
      shape("text", { class: "quiet corner", x: x + width - PAD, y: text.getAttribute("y"), "text-anchor": "end", "font-size": SMALL }),
      text.nextSibling);
    if (state) {
      node.flight = corner(state);
      node.memory = corner(name);
      node.mark = g.appendChild(shape("g", { class: "mark", hidden: "" },
        shape("rect", { y: y - 8, height: 16, rx: 8 }), shape("text", { y: y + 3.5, "text-anchor": "middle", "font-size": 10 })));
    }
    if (load) {
      const left = Number(load.getAttribute("x"));
      const room = x + width - PAD - left;
      node.load = [0, 0.3, 1].map((share) =>
        shape("tspan", { x: left + room * share, "text-anchor": share === 1 ? "end" : "start" }));
      load.replaceChildren(...node.load);
    }
    g.setAttribute("tabindex", "-1");
    g.setAttribute("role", "button");
    this.nodes.set(node.name, node);
  }

  takeEdge(g) {
    const { source, target, active } = g.dataset;
    const line = g.querySelector(".line");
    g.insertBefore(shape("path", { class: "hit", d: line.getAttribute("d") }), line);
    g.setAttribute("tabindex", "-1");
    g.setAttribute("role", "button");
    const edge = { g, line, name: `${source}->${target}`, source, target, active: active === "true", about: untitled(g), heat: 0 };
    this.edges.set(edge.name, edge);
    this.labelEdge(edge);
  }

  /** What an element of the page belongs to. */
  nodeAt(element) {
    return this.nodes.get(element?.closest?.("[data-service]")?.dataset.service);
  }

  edgeAt(element) {
    const g = element?.closest?.(".edge");
    return g ? this.edges.get(`${g.dataset.source}->${g.dataset.target}`) : undefined;
  }

  /** Makes the one node that Tab leads to; arrow keys lead on. */
  stop(node) {
    this.entry?.g.setAttribute("tabindex", "-1");
    this.entry = node;
    node.g.setAttribute("tabindex", "0");
  }

  /** The handle to link from stands at the node under the pointer or in focus. */
  hold(node) {
    if (node === undefined) return this.handle.remove();
    if (this.handle.parentNode === node.g) return;
    this.handle.setAttribute("cx", node.left + node.width);
    this.handle.setAttribute("cy", node.y);
    node.g.append(this.handle);
  }

  /** Writes the states; gives the names of what has failed since the last time. */
  paint(states) {
    const failed = [];
    for (const node of this.nodes.values()) {
      const { state = "", note = "", workers = "" } = states[node.name] ?? {};
      const words = [state, note.split(/\s+/).join(" ").trim()].filter(Boolean).join(": ");
      if (node.g.dataset.state !== state && state === "failed") failed.push(node.name);
      put(node.g, "data-state", state);
      node.words = words;
      node.workers = workers;
      if (node.state) {
        const left = node.left + node.width - PAD - Number(node.state.getAttribute("x"));
        const more = workers && !note && width(`${words} ${workers}`) <= left ? ` ${workers}` : "";
        const shown = cut(words, left) + more;
        if (node.state.textContent !== shown) {
          node.state.replaceChildren(cut(words, left), ...(more ? [shape("tspan", { class: "quiet" }, more)] : []));
        }
        // Room is judged by the widest numbers, so that nothing comes and goes as they change.
        node.holds = { flight: width(`${words}${more}   888 in flight`) <= left,
                       memory: width(node.label.textContent) * 1.3 + width("   888 MiB") <= node.width - 2 * PAD };
      }
      this.labelNode(node);
      node.stale = true;
    }
    return failed;
  }

  /** Takes the loads: edges show them at once, nodes when `write` comes to them. */
  measure(loads) {
    const { services = {}, edges = {} } = loads;
    for (const node of this.nodes.values()) {
      const load = services[node.name];
      if (node.now === undefined && load === undefined) continue;
      node.now = load;
      node.stale = true;
    }
    for (const edge of this.edges.values()) {
      const load = edges[edge.name];
      if (edge.now === undefined && load === undefined) continue;
      edge.now = load;
      const now = heat(load);
      if (now !== edge.heat) edge.g.style.setProperty("--heat", (edge.heat = now));
      const failing = load?.errors > 0;
      if (failing !== edge.failing) edge.g.classList.toggle("failing", (edge.failing = failing));
    }
  }

  /** Writes the numbers that can be seen: of 200 services few can be, and setting texts is what an update costs. */
  write({ at, room }) {
    if (!room.width || at.scale < TINY) return;
    const [right, bottom] = [at.x + room.width / at.scale, at.y + room.height / at.scale];
    for (const node of this.nodes.values()) {
      if (!node.stale || node.left > right || node.top > bottom) continue;
      if (node.left + node.width < at.x || node.top + node.height < at.y) continue;
      node.stale = false;
      if (node.load) this.writeLoad(node, node.now);
      this.labelNode(node);
    }
  }

  writeLoad(node, load) {
    const [calls, middle, slow] = node.load;
    say(calls, load ? rate(load.rate) : "");
    say(middle, load?.p50 != null ? duration(load.p50) : "");
    say(slow, load?.p99 != null ? `p99 ${duration(load.p99)}` : "");
    const busy = load?.rate > 0;
    if (node.busy !== busy) calls.classList.toggle("name", (node.busy = busy));
    say(node.flight, load?.in_flight && node.holds?.flight ? `${grouped(load.in_flight)} in flight` : "");
    say(node.memory, load?.memory != null && node.holds?.memory ? bytes(load.memory) : "");
    const errors = load?.errors > 0 ? `${rate(load.errors)} errors`.replace("/s errors", " errors/s") : "";
    const [plate, words] = node.mark.children;
    if (words.textContent === errors) return;
    say(words, errors);
    const wide = width(errors) + 14;
    plate.setAttribute("width", wide);
    plate.setAttribute("x", node.left + node.width - wide - 6);
    words.setAttribute("x", node.left + node.width - wide / 2 - 6);
    node.mark.toggleAttribute("hidden", !errors);
  }

  labelNode(node) {
    const workers = node.workers && `${node.workers} workers`;
    const said = [node.name, node.words, workers, spoken(node.now)].filter(Boolean).join(", ");
    if (said !== node.said) node.g.setAttribute("aria-label", (node.said = said));
  }

  labelEdge(edge) {
    const said = [`${edge.source} calls ${edge.target}`, edge.active ? "" : "not linked", spoken(edge.now)]
      .filter(Boolean).join(", ");
    if (said !== edge.said) edge.g.setAttribute("aria-label", (edge.said = said));
  }

  /** Marks what is selected: the service, and the edge whose card is open. */
  select(name, edge) {
    for (const node of this.nodes.values()) put(node.g, "aria-pressed", String(node.name === name));
    for (const each of this.edges.values()) put(each.g, "aria-pressed", String(each.name === edge));
  }

  /** Shows what `lit` holds at full strength and the rest faded; all of it if there is no `lit`. */
  light(lit) {
    this.svg.classList.toggle("fading", lit !== null);
    for (const node of this.nodes.values()) node.g.classList.toggle("lit", lit === null || lit.nodes.has(node.name));
    for (const edge of this.edges.values()) edge.g.classList.toggle("lit", lit === null || lit.edges.has(edge.name));
  }

  boxOf(nodes) {
    const [x, y] = ["left", "top"].map((side) => Math.min(...nodes.map((node) => node[side])));
    const right = Math.max(...nodes.map((node) => node.left + node.width));
    const bottom = Math.max(...nodes.map((node) => node.top + node.height));
    return { x, y, width: right - x, height: bottom - y };
  }
}

function parsed(source) {
  const svg = source && new DOMParser().parseFromString(source, "image/svg+xml").documentElement;
  if (!svg || svg.localName !== "svg" || svg.namespaceURI !== SVG) return null;
  for (const element of [svg, ...svg.querySelectorAll("*")]) {
    if (!SHAPES.has(element.localName) || element.namespaceURI !== SVG) element.remove();
    for (const { name } of [...element.attributes]) if (!TRAITS.has(name)) element.removeAttribute(name);
  }
  return document.importNode(svg, true);
}

/** The words of an element's title, which is taken away: the browser's own tooltip would cover ours. */
function untitled(g) {
  const title = g.querySelector("title");
  title?.remove();
  return title?.textContent ?? "";
}

const pen = { context: null };

/** Width of small words in units of the drawing. A canvas measures without laying out the page. */
function width(words) {
  if (pen.context === null) {
    pen.context = document.createElement("canvas").getContext("2d");
    pen.context.font = `${SMALL}px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif`;
  }
  return pen.context.measureText(words).width;
}

function cut(words, room) {
  if (width(words) <= room) return words;
  let end = words.length - 1;
  while (end > 0 && width(`${words.slice(0, end)}…`) > room) end--;
  return `${words.slice(0, end)}…`;
}
