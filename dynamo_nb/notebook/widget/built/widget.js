// dynamo_nb/notebook/widget/dom.js
var SVG = "http://www.w3.org/2000/svg";
var ICONS = {
  search: "M11 11l3 3M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10z",
  path: "M2 8h3M11 8h3M8 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6z",
  minus: "M3 8h10",
  plus: "M3 8h10M8 3v10",
  fit: "M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4",
  help: "M6 6a2 2 0 1 1 3 1.8c-.7.4-1 .8-1 1.7M8 12v.3",
  close: "M4 4l8 8M12 4l-8 8",
  copy: "M6 6h8v8H6zM3 10H2V2h8v1",
  cell: "M2 3h12v5H2zM8 10.5v4M6 12.5h4",
  done: "M3 8.5l3.5 3.5L13 5"
};
function create(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child != null && child !== false));
  return element;
}
function createSvg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}
function button(label, onclick, attributes = {}) {
  return create("button", { type: "button", class: "dynamo-button", onclick, ...attributes }, label);
}
function iconButton(name, label, onclick, attributes = {}) {
  return create(
    "button",
    { type: "button", class: "dynamo-icon-button", title: label, "aria-label": label, onclick, ...attributes },
    icon(name)
  );
}
function icon(name) {
  return createSvg(
    "svg",
    { viewBox: "0 0 16 16", width: 16, height: 16, class: "dynamo-icon", "aria-hidden": "true" },
    createSvg("path", { d: ICONS[name] })
  );
}
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}
function definitionList(rows) {
  return create(
    "dl",
    { class: "dynamo-definitions" },
    ...rows.flatMap(([label, text]) => [create("dt", {}, label), create("dd", {}, /^https?:\/\/\S+$/.test(text) ? link(text) : text)])
  );
}
function link(url, text = url, attributes = {}) {
  if (!/^https?:\/\//.test(url)) return create("span", attributes, text);
  return create("a", { href: url, target: "_blank", rel: "noopener noreferrer", class: "dynamo-link", ...attributes }, text);
}
function copyButton(label, text) {
  let timer = 0;
  const element = iconButton("copy", label, async () => {
    await copyToClipboard(text(), element.parentNode);
    element.replaceChildren(icon("done"));
    clearTimeout(timer);
    timer = setTimeout(() => element.replaceChildren(icon("copy")), 1200);
  });
  return element;
}
async function copyToClipboard(text, parent) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = parent.appendChild(create("textarea", { class: "dynamo-visually-hidden" }));
    area.value = text;
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}
function activeElement(element) {
  return element.getRootNode().activeElement ?? null;
}
function prefersReducedMotion() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

// dynamo_nb/notebook/widget/formats.js
var MAX_RATE = 1e4;
var LEVELS = 24;
var NO_VALUE = "–";
var MEASURES = [
  ["rate", "calls", (load) => rate(load.rate)],
  ["p50", "p50", (load) => duration(load.p50)],
  ["p99", "p99", (load) => duration(load.p99)],
  ["in_flight", "in flight", (load) => grouped(load.in_flight ?? 0)],
  ["errors", "errors", (load) => rate(load.errors)],
  ["failed", "failed", (load) => grouped(load.failed ?? 0)],
  ["cpu", "CPU", (load) => percent(load.cpu)],
  ["memory", "memory", (load) => bytes(load.memory)],
  ["gpu_memory", "GPU memory", (load) => bytes(load.gpu_memory)],
  ["restarts", "restarts", (load) => grouped(load.restarts ?? 0)]
];
function rate(number) {
  if (!number) return "0/s";
  if (number < 0.05) return "<0.1/s";
  if (number < 9.95) return `${number.toFixed(1)}/s`;
  if (number < 99999.5) return `${grouped(number)}/s`;
  if (number < 999500) return `${Math.round(number / 1e3)}k/s`;
  return `${(number / 1e6).toFixed(1)}M/s`;
}
function duration(seconds) {
  if (seconds == null) return NO_VALUE;
  if (seconds < 9995e-7) return `${Math.round(seconds * 1e6)} µs`;
  if (seconds < 995e-5) return `${(seconds * 1e3).toFixed(1)} ms`;
  if (seconds < 0.9995) return `${Math.round(seconds * 1e3)} ms`;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  return age(seconds);
}
function bytes(number) {
  if (number == null) return NO_VALUE;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  for (; number >= 999.5 && at < units.length - 1; at++) number /= 1024;
  return `${at > 0 && number < 9.95 ? number.toFixed(1) : Math.round(number)} ${units[at]}`;
}
function percent(number) {
  return number == null ? NO_VALUE : `${grouped(number)} %`;
}
function clock(seconds) {
  const [then, now] = [new Date(seconds * 1e3), /* @__PURE__ */ new Date()];
  const time = then.toTimeString().slice(0, 8);
  const two = (number) => String(number).padStart(2, "0");
  if (then.toDateString() === now.toDateString()) return time;
  return `${then.getFullYear()}-${two(then.getMonth() + 1)}-${two(then.getDate())} ${time}`;
}
function age(seconds) {
  const all = Math.max(0, Math.floor(seconds));
  const [d, h, m, s] = [Math.floor(all / 86400), Math.floor(all / 3600) % 24, Math.floor(all / 60) % 60, all % 60];
  if (d) return `${d} d ${h} h`;
  if (h) return `${h} h ${m} min`;
  return m ? `${m} min ${s} s` : `${s} s`;
}
function grouped(number) {
  return String(Math.round(number)).replace(/\B(?=(\d{3})+$)/g, ",");
}
function loadLevel(load) {
  if (!load?.rate) return 0;
  return Math.round(Math.min(1, Math.log10(1 + load.rate) / Math.log10(1 + MAX_RATE)) * LEVELS) / LEVELS;
}
function loadRows(load) {
  return MEASURES.filter(([key]) => load?.[key] != null).map(([, label, text]) => [label, text(load)]);
}
function loadSentence(load) {
  if (!load) return "";
  const parts = [`${rate(load.rate).replace("/s", "")} calls per second`];
  if (load.p50 != null) parts.push(`p50 ${duration(load.p50)}`);
  if (load.p99 != null) parts.push(`p99 ${duration(load.p99)}`);
  if (load.in_flight) parts.push(`${load.in_flight} in flight`);
  if (load.errors) parts.push(`${rate(load.errors).replace("/s", "")} errors per second`);
  return parts.join(", ");
}

// dynamo_nb/notebook/widget/disconnected.js
var Disconnected = class {
  constructor() {
    this.time = create("span", {});
    this.advice = create("span", {});
    this.element = create(
      "div",
      { class: "dynamo-disconnected", role: "status" },
      create("strong", {}, "Disconnected"),
      this.time,
      this.advice
    );
    this.element.hidden = true;
    this.lastSeen = 0;
  }
  /** lastSeen: milliseconds. advice: text in which code stands between backquotes. */
  show(lastSeen, advice) {
    this.lastSeen = lastSeen;
    this.element.hidden = false;
    this.advice.replaceChildren(...advice.split("`").map((text, at) => at % 2 ? create("code", {}, text) : text));
    this.updateTime();
  }
  hide() {
    this.element.hidden = true;
  }
  updateTime() {
    if (this.element.hidden) return;
    const at = new Date(this.lastSeen).toLocaleTimeString();
    setText(this.time, `last seen ${at}, ${age((Date.now() - this.lastSeen) / 1e3)} ago`);
  }
};
function adviceForSilence(deployment, isDetached) {
  const busy = "If a cell blocks the kernel, this page comes back by itself.";
  if (deployment === "") return `Run this cell again. ${busy}`;
  if (isDetached) return `The deployment may still run: \`%dynamo attach ${deployment}\` connects to it. ${busy}`;
  return `If the kernel was restarted or has ended, the deployment has stopped: run the cells again. ${busy}`;
}

// dynamo_nb/notebook/widget/drawing.js
var ELEMENTS = /* @__PURE__ */ new Set(["svg", "g", "rect", "path", "circle", "text", "tspan", "title"]);
var ATTRIBUTES = /* @__PURE__ */ new Set([
  "class",
  "id",
  "role",
  "aria-label",
  "x",
  "y",
  "width",
  "height",
  "rx",
  "cx",
  "cy",
  "r",
  "d",
  "viewBox",
  "fill",
  "fill-opacity",
  "stroke",
  "stroke-opacity",
  "stroke-width",
  "stroke-dasharray",
  "font-size",
  "font-weight",
  "font-style",
  "text-anchor",
  "data-service",
  "data-state",
  "data-source",
  "data-target",
  "data-active"
]);
var SMALL_FONT = 11;
var NAME_FONT = 13.5;
var MAX_NAME_FONT = 30;
var GAP = 6;
var PADDING = 12;
var NO_TEXT_SCALE = 0.25;
var LARGE = 60;
var Drawing = class {
  /** @param {string} source SVG */
  constructor(source) {
    this.svg = parseSvg(source);
    this.nodes = /* @__PURE__ */ new Map();
    this.edges = /* @__PURE__ */ new Map();
    this.handle = createSvg("circle", { class: "link-handle", r: 5 });
    if (this.svg === null) return;
    this.svg.setAttribute("role", "group");
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
    const node = {
      g,
      name: g.dataset.service,
      title: removeTitle(g),
      left: x,
      top: y,
      width,
      height,
      x: x + width / 2,
      y: y + height / 2,
      nameText,
      stateText,
      loadTexts: null,
      ariaLabel: ""
    };
    const cornerText = (text) => text.parentNode.insertBefore(
      createSvg("text", {
        class: "quiet corner",
        x: x + width - PADDING,
        y: text.getAttribute("y"),
        "text-anchor": "end",
        "font-size": SMALL_FONT
      }),
      text.nextSibling
    );
    if (stateText) {
      node.inFlightText = cornerText(stateText);
      node.memoryText = cornerText(nameText);
      node.badge = g.appendChild(createSvg(
        "g",
        { class: "error-badge", hidden: "" },
        createSvg("rect", { y: y - 8, height: 16, rx: 8 }),
        createSvg("text", { y: y + 3.5, "text-anchor": "middle", "font-size": 10 })
      ));
    }
    for (const text of g.querySelectorAll("text")) {
      const space = x + width - PADDING / 2 - Number(text.getAttribute("x"));
      if (text.textContent) setText(text, shorten(text.textContent, space, text === nameText ? NAME_FONT : SMALL_FONT));
    }
    if (loadText) {
      const [left, right] = [Number(loadText.getAttribute("x")), x + width - PADDING];
      node.loadTexts = [left, left, right].map((at) => createSvg("tspan", { x: at, "text-anchor": at === right ? "end" : "start" }));
      loadText.replaceChildren(...node.loadTexts);
    }
    if (nameText) {
      const widest = NAME_FONT * (width - 2 * GAP) / Math.max(1, textWidth(nameText.textContent ?? "", NAME_FONT));
      const size = Math.min(MAX_NAME_FONT, widest, height * 0.6);
      g.append(createSvg("text", {
        class: "name alone",
        x: node.x,
        y: node.y + size * 0.36,
        "text-anchor": "middle",
        "font-size": size,
        "font-weight": 600
      }, nameText.textContent ?? ""));
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
    const edge = {
      g,
      line,
      name: `${source}->${target}`,
      source,
      target,
      active: active === "true",
      title: removeTitle(g),
      level: 0
    };
    this.edges.set(edge.name, edge);
    this.labelEdge(edge);
  }
  /** The node to which an element of the page belongs, or undefined. */
  nodeAt(element) {
    return this.nodes.get(element?.closest?.("[data-service]")?.dataset.service);
  }
  edgeAt(element) {
    const g = element?.closest?.(".edge");
    return g ? this.edges.get(`${g.dataset.source}->${g.dataset.target}`) : void 0;
  }
  /** Makes a node the one that Tab reaches. Arrow keys lead to the others. */
  setTabStop(node) {
    this.tabStop?.g.setAttribute("tabindex", "-1");
    this.tabStop = node;
    node.g.setAttribute("tabindex", "0");
  }
  /** Shows the handle for a new link at a node; hides it for undefined. */
  showHandle(node) {
    if (node === void 0) return this.handle.remove();
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
          node.stateText.replaceChildren(visible, ...suffix ? [createSvg("tspan", { class: "quiet" }, suffix)] : []);
        }
        node.fits = {
          inFlight: textWidth(`${status}${suffix}   888 in flight`) <= space,
          memory: textWidth(node.nameText.textContent ?? "", NAME_FONT) + textWidth("   888 MiB") <= node.width - 2 * PADDING
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
      if (node.load === void 0 && load === void 0) continue;
      node.load = load;
      node.isStale = true;
    }
    for (const edge of this.edges.values()) {
      const load = edges[edge.name];
      if (edge.load === void 0 && load === void 0) continue;
      edge.load = load;
      const level = loadLevel(load);
      if (level !== edge.level) edge.g.style.setProperty("--level", String(edge.level = level));
      const isFailing = load?.errors > 0;
      if (isFailing !== edge.isFailing) edge.g.classList.toggle("failing", edge.isFailing = isFailing);
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
    if (node.isBusy !== isBusy) calls.classList.toggle("name", node.isBusy = isBusy);
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
    if (label !== node.ariaLabel) node.g.setAttribute("aria-label", node.ariaLabel = label);
  }
  labelEdge(edge) {
    const label = [`${edge.source} calls ${edge.target}`, edge.active ? "" : "not linked", loadSentence(edge.load)].filter(Boolean).join(", ");
    if (label !== edge.ariaLabel) edge.g.setAttribute("aria-label", edge.ariaLabel = label);
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
};
function parseSvg(source) {
  const svg = source && new DOMParser().parseFromString(source, "image/svg+xml").documentElement;
  if (!svg || svg.localName !== "svg" || svg.namespaceURI !== SVG) return null;
  for (const element of [svg, ...svg.querySelectorAll("*")]) {
    if (!ELEMENTS.has(element.localName) || element.namespaceURI !== SVG) element.remove();
    for (const { name } of [...element.attributes]) if (!ATTRIBUTES.has(name)) element.removeAttribute(name);
  }
  return document.importNode(svg, true);
}
function removeTitle(g) {
  const title = g.querySelector("title");
  title?.remove();
  return title?.textContent ?? "";
}
var measuring = /* @__PURE__ */ new Map();
function textWidth(text, size = SMALL_FONT) {
  let context = measuring.get(size);
  if (context === void 0) {
    context = /** @type {CanvasRenderingContext2D} */
    document.createElement("canvas").getContext("2d");
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

// dynamo_nb/notebook/widget/connection.js
var SILENCE = 2300;
var CHECK_INTERVAL = 250;
var Connection = class {
  /** onWake: called when the page continues after the browser or the computer has paused it. */
  constructor(onWake) {
    this.onWake = onWake;
    this.isLive = true;
    this.lastSeen = Date.now();
    this.quietSince = this.lastSeen;
    this.checkedAt = this.lastSeen;
    this.timer = 0;
    this.listeners = /* @__PURE__ */ new Set();
  }
  open() {
    this.lastSeen = this.quietSince = this.checkedAt = Date.now();
    this.timer = setInterval(() => this.check(), CHECK_INTERVAL);
  }
  close() {
    clearInterval(this.timer);
  }
  /** A message has come. */
  heard() {
    this.lastSeen = this.quietSince = Date.now();
    this.set(true);
  }
  check() {
    const now = Date.now();
    if (now - this.checkedAt > SILENCE) {
      this.quietSince = now;
      this.onWake();
    }
    this.checkedAt = now;
    this.set(now - this.quietSince < SILENCE);
  }
  set(isLive) {
    if (isLive === this.isLive) return;
    this.isLive = isLive;
    for (const listener of this.listeners) listener();
  }
};

// dynamo_nb/notebook/widget/view_state.js
var HISTORY = 90;
var MAX_ITEMS = 1e3;
var REPORT_INTERVAL = 3e4;
var MAX_EDITS = 50;
var EDITS = /* @__PURE__ */ new Set(["scale", "link", "unlink"]);
var KERNEL_GONE = "The kernel that drew this graph is gone. Run the cell again.";
var ViewState = class {
  constructor() {
    this.connection = new Connection(() => this.reportPage());
    this.lastId = Math.floor(Math.random() * 2 ** 42) * 1024;
    this.page = String(this.lastId);
    this.running = /* @__PURE__ */ new Map();
    this.latest = null;
    this.edits = [];
    this.scaleEdits = /* @__PURE__ */ new Map();
    this.position = null;
    this.tab = "Overview";
    this.chosenEndpoint = {};
    this.drafts = /* @__PURE__ */ new Map();
    this.calls = /* @__PURE__ */ new Map();
    this.isAccessShown = false;
    this.areEventsOpen = false;
    this.openLogs = /* @__PURE__ */ new Set();
    this.showsDefaults = false;
    this.requestedWorkers = /* @__PURE__ */ new Map();
    this.scaleTimers = /* @__PURE__ */ new Map();
    this.rates = /* @__PURE__ */ new Map();
    this.searchText = "";
    this.focusedService = "";
    this.selectedEdge = "";
    this.visibleViews = /* @__PURE__ */ new Set();
    this.listeners = /* @__PURE__ */ new Set();
  }
  /** Starts to receive messages of the model. Returns the function that ends this. */
  connect(model) {
    this.model = model;
    const handlers = { "msg:custom": (message) => this.receive(message), "change:loads": () => this.recordRates() };
    for (const [event, handler] of Object.entries(handlers)) model.on(event, handler);
    const reports = setInterval(() => this.reportPage(), REPORT_INTERVAL);
    this.connection.open();
    return () => {
      clearInterval(reports);
      this.connection.close();
      for (const [event, handler] of Object.entries(handlers)) model.off(event, handler);
      for (const timer of this.scaleTimers.values()) clearTimeout(timer);
    };
  }
  /** Requests an action. Returns the record that its answers change. description: for users who cannot see the code. */
  request(request, description) {
    const action = {
      id: ++this.lastId,
      request,
      description,
      code: "",
      state: "sent",
      items: [],
      count: 0,
      error: "",
      value: null,
      seconds: null,
      startedAt: performance.now()
    };
    this.running.set(action.id, action);
    this.latest = action;
    if (!this.send({ id: action.id, ...request })) this.receive({ id: action.id, error: KERNEL_GONE });
    else this.notify();
    return action;
  }
  /** Sends a message. Returns false if the kernel was restarted: the page still shows the old output then. */
  send(message) {
    try {
      this.model.send(message);
      return true;
    } catch {
      return false;
    }
  }
  cancel(action) {
    this.send({ id: ++this.lastId, do: "cancel", call: action.id });
  }
  /** Requests a number of workers after `delay` milliseconds, unless another number is requested before. */
  scale(service, workers, delay) {
    this.requestedWorkers.set(service, workers);
    clearTimeout(this.scaleTimers.get(service));
    this.scaleTimers.set(service, setTimeout(() => {
      this.scaleTimers.delete(service);
      this.request({ do: "scale", service, workers }, `Scale ${service} to ${workers}`);
    }, delay));
  }
  /** Reports to the kernel whether any view is visible: it measures traffic only then. */
  setVisible(view, visible) {
    const before = this.visibleViews.size > 0;
    this.visibleViews[visible ? "add" : "delete"](view);
    if (before !== this.visibleViews.size > 0) this.reportPage();
  }
  /** Reports that this page is open, and whether a view is visible in it. */
  reportPage() {
    this.send({ id: ++this.lastId, do: "watch", visible: this.visibleViews.size > 0, page: this.page });
  }
  receive(message) {
    this.connection.heard();
    const action = this.running.get(message?.id);
    if (action === void 0) return;
    if ("code" in message) {
      action.code = message.code;
      action.state = "running";
    }
    if ("item" in message) {
      action.count++;
      action.items.push(message.item);
      if (action.items.length > MAX_ITEMS) action.items.shift();
    }
    if ("error" in message) Object.assign(action, { state: "failed", error: message.error });
    else if (message.done) Object.assign(action, { state: "done", value: message.value ?? null, seconds: message.seconds });
    if (isFinished(action)) {
      action.seconds ??= (performance.now() - action.startedAt) / 1e3;
      this.running.delete(action.id);
      if (action.state === "done") this.noteEdit(action);
      if (action.request.do === "scale" && action.state === "failed") this.requestedWorkers.delete(action.request.service);
    }
    this.notify();
  }
  /** Notes an edit that no cell has. Scaling a service again replaces the earlier line. */
  noteEdit({ code, request }) {
    if (!EDITS.has(request.do) || !code) return;
    if (request.do === "scale") {
      this.edits = this.edits.filter((line) => line !== this.scaleEdits.get(request.service));
      this.scaleEdits.set(request.service, code);
    }
    this.edits = [...this.edits, code].slice(-MAX_EDITS);
  }
  recordRates() {
    const { services = {} } = this.model.get("loads");
    for (const name of /* @__PURE__ */ new Set([...this.rates.keys(), ...Object.keys(services)])) {
      const rates = this.rates.get(name) ?? [];
      rates.push(services[name]?.rate ?? 0);
      if (rates.length > HISTORY) rates.shift();
      this.rates.set(name, rates);
    }
  }
  /** Opens the card of a service; closes it for "". */
  select(name) {
    if (this.model.get("selected") === name) return;
    this.model.set("selected", name);
    this.model.save_changes();
  }
  notify() {
    for (const listener of this.listeners) listener();
  }
};
function isFinished(action) {
  return action.state === "done" || action.state === "failed";
}

// dynamo_nb/notebook/widget/metrics.js
var Metrics = class {
  /** more: keys of further numbers. sparkline: true to draw the rates. */
  constructor(more, sparkline = false) {
    this.cells = ["rate", "p50", "p99", "in_flight", "errors", "failed", ...more].map((key) => {
      const value = create("dd", {});
      const [, label, text] = MEASURES[MEASURES.findIndex(([name]) => name === key)];
      return { key, value, text, element: create("div", {}, create("dt", {}, label), value) };
    });
    this.line = createSvg("polyline", { points: "" });
    const curve = createSvg("svg", {
      class: "dynamo-sparkline",
      viewBox: "0 0 90 20",
      preserveAspectRatio: "none",
      "aria-hidden": "true"
    }, this.line);
    this.element = create(
      "div",
      { class: "dynamo-metrics" },
      create("dl", {}, ...this.cells.map((cell) => cell.element)),
      sparkline ? curve : null
    );
  }
  show(load, rates) {
    for (const { key, value, text } of this.cells) {
      setText(value, load ? text(load) : NO_VALUE);
      value.classList.toggle("dynamo-failing", key === "errors" && load?.errors > 0);
    }
    if (!rates) return;
    const max = Math.max(...rates, 1);
    const points = rates.map((n, i) => `${i + HISTORY - rates.length},${(19 - 18 * n / max).toFixed(1)}`);
    setAttribute(this.line, "points", points.join(" "));
  }
};

// dynamo_nb/notebook/widget/edge_card.js
var EdgeCard = class {
  /**
   * @param {import("./view_state.js").ViewState} viewState
   * @param {() => void} onClose Called by the close button.
   */
  constructor(viewState, onClose) {
    this.viewState = viewState;
    this.edge = null;
    this.metrics = new Metrics([]);
    this.heading = create("h4", {});
    this.description = create("p", { class: "dynamo-muted" });
    this.action = button("", () => this.toggleLink());
    this.element = create(
      "div",
      { class: "dynamo-edge-card", role: "group" },
      create("header", { class: "dynamo-header" }, this.heading, iconButton("close", "Close  ( Escape )", onClose)),
      create("div", { class: "dynamo-row" }, this.description, this.action),
      this.metrics.element
    );
    this.element.hidden = true;
  }
  /** Shows the card of an edge; hides it for undefined. */
  show(edge) {
    this.edge = edge ?? null;
    this.element.hidden = this.edge === null;
    if (this.edge === null) return;
    setText(this.heading, `${edge.source} → ${edge.target}`);
    setText(this.description, edge.title);
    setText(this.action, edge.active ? "Unlink" : "Link");
    this.element.setAttribute("aria-label", `${edge.source} to ${edge.target}`);
    this.updateLoad();
  }
  updateLoad() {
    if (this.edge === null) return;
    this.metrics.show(this.edge.load);
    this.metrics.element.hidden = !this.edge.active;
  }
  toggleLink() {
    const { source, target, active } = this.edge;
    const description = active ? `Unlink ${source} from ${target}` : `Link ${source} to ${target}`;
    this.viewState.request({ do: active ? "unlink" : "link", source, target }, description);
  }
};

// dynamo_nb/notebook/widget/event_list.js
var EventList = class {
  constructor(viewState) {
    this.shown = 0;
    this.count = create("small");
    this.latest = create("span", { class: "dynamo-latest-event" });
    this.list = create("ol", { class: "dynamo-event-list", tabindex: "0", "aria-label": "Events" });
    this.element = create("details", {
      class: "dynamo-events",
      open: viewState.areEventsOpen,
      ontoggle: () => {
        viewState.areEventsOpen = this.element.open;
      }
    }, create("summary", {}, create("strong", {}, "Events"), this.count, this.latest), this.list);
    this.element.hidden = true;
  }
  /** events: the trait `events`, the latest last. */
  show(events) {
    this.element.hidden = events.length === 0;
    if (events.length === 0) return;
    const last = events[events.length - 1];
    if (last.number < this.shown) {
      this.list.replaceChildren();
      this.shown = 0;
    }
    for (const event of events) if (event.number > this.shown) this.list.prepend(createItem(event));
    while (this.list.children.length > events.length) this.list.lastElementChild?.remove();
    this.shown = last.number;
    setText(this.count, String(last.number));
    setText(this.latest, `${clock(last.at)}  ${last.text}`);
    this.latest.classList.toggle("dynamo-failing", last.bad);
  }
};
function createItem({ at, text, bad, detail }) {
  const content = create("span", { class: bad ? "dynamo-failing" : "" }, text);
  return create(
    "li",
    {},
    create("time", {}, clock(at)),
    detail ? create("details", {}, create("summary", {}, content), create("pre", { tabindex: "0" }, detail)) : content
  );
}

// dynamo_nb/notebook/widget/paths.js
function pathsThrough(name, edges) {
  const reach = (from, to) => {
    const found = /* @__PURE__ */ new Set([name]);
    for (const reached of found) {
      for (const edge of edges) if (edge.active && edge[from] === reached) found.add(edge[to]);
    }
    return found;
  };
  return { callers: reach("target", "source"), callees: reach("source", "target") };
}
function isOnPath(edge, { callers, callees }) {
  return edge.active && (callers.has(edge.source) && callers.has(edge.target) || callees.has(edge.source) && callees.has(edge.target));
}
function neighbour(node, key, nodes, edges) {
  const linked = (own, other, name) => edges.filter((e) => e[own] === name).map((e) => nodes.get(e[other]));
  const nearest = (found, distance) => found.filter(Boolean).sort((a, b) => distance(a) - distance(b))[0];
  const vertical = (other) => Math.abs(other.y - node.y);
  const horizontal = (other) => Math.abs(other.x - node.x);
  const others = [...nodes.values()].filter((other) => other !== node);
  if (key === "ArrowRight" || key === "ArrowLeft") {
    const sign2 = key === "ArrowRight" ? 1 : -1;
    const direct = sign2 === 1 ? linked("source", "target", node.name) : linked("target", "source", node.name);
    return nearest(direct, vertical) ?? nearest(
      others.filter((other) => (other.x - node.x) * sign2 > node.width / 2),
      (other) => horizontal(other) + 2 * vertical(other)
    );
  }
  const sign = key === "ArrowDown" ? 1 : -1;
  const isBeyond = (other) => other !== node && (other.y - node.y) * sign > 0;
  const siblings = [
    ...linked("target", "source", node.name).flatMap((caller) => linked("source", "target", caller.name)),
    ...linked("source", "target", node.name).flatMap((callee) => linked("target", "source", callee.name))
  ];
  return nearest(siblings.filter(isBeyond), vertical) ?? nearest(others.filter(isBeyond), (other) => vertical(other) + 2 * horizontal(other));
}

// dynamo_nb/notebook/widget/viewport.js
var ZOOM = { step: 1.25, max: 4, min: 0.5 };
var READABLE_SCALE = 0.6;
var MIN_NAME_SCALE = 0.25;
var MAX_HEIGHT = 560;
var MAX_TAB_SCALE = 1.5;
var ANIMATION_TIME = 220;
var Viewport = class {
  /**
   * @param {HTMLElement} element Holds the SVG.
   * @param {object | null} saved An earlier position.
   * @param {() => void} onMove Called after each move.
   */
  constructor(element, saved, onMove) {
    this.element = element;
    this.onMove = onMove;
    this.svg = null;
    this.bounds = null;
    this.position = { x: 0, y: 0, scale: 1, mode: "initial", ...saved };
    this.size = { width: 0, height: 0 };
    this.widgetWidth = 0;
    this.maxHeight = MAX_HEIGHT;
    this.maxScale = 1;
    this.frame = 0;
  }
  /** Shows a new drawing, at the same position. entryY: the height of its entry. */
  setDrawing(svg, entryY) {
    const before = this.bounds;
    this.svg = svg;
    this.entryY = entryY;
    this.bounds = svg && boundsOf(svg);
    if (svg === null) return;
    const grown = before && this.bounds.width * this.bounds.height > 4 * before.width * before.height;
    if (grown && this.position.mode === "manual") this.position.mode = "initial";
    this.update();
  }
  /** Takes the height that the drawing has in a tab; 0 in an output, which is as high as the drawing. */
  fillTab(height) {
    this.maxHeight = height || MAX_HEIGHT;
    this.maxScale = height ? MAX_TAB_SCALE : 1;
  }
  /** True if a card beside the drawing leaves it larger than a card below it. share: of the width, for the drawing. */
  isLargerBeside(share, height, cardHeight) {
    return this.scaleToFit(this.widgetWidth * share, height) >= this.scaleToFit(this.widgetWidth, Math.max(1, height - cardHeight));
  }
  /** Takes a new size of the widget or the viewport. Returns true if anything moved. */
  resize(widgetWidth, width, height) {
    if (this.widgetWidth === widgetWidth && this.size.width === width && this.size.height === height) return false;
    this.widgetWidth = widgetWidth;
    this.size = { width, height };
    this.update();
    return true;
  }
  /** The height of the drawing in pixels, at a width. */
  height(width = this.widgetWidth) {
    return Math.min(this.maxHeight, Math.ceil(this.bounds.height * this.initialScale(width)));
  }
  /**
   * Shows the whole drawing if it is readable then, else as much of its width as is readable. A narrow column shows the
   * whole drawing also if only the names can be read.
   */
  initialScale(width = this.widgetWidth) {
    const [whole, byWidth] = [this.scaleToFit(width, this.maxHeight), this.scaleToFit(width, Infinity)];
    return whole >= (byWidth < READABLE_SCALE ? MIN_NAME_SCALE : READABLE_SCALE) ? whole : Math.max(READABLE_SCALE, byWidth);
  }
  scaleToFit(width, height) {
    return Math.min(this.maxScale, (width || this.bounds.width) / this.bounds.width, height / this.bounds.height);
  }
  update() {
    if (this.svg === null) return;
    if (this.position.mode === "manual") this.apply();
    else this.fit(this.position.mode, false);
  }
  /**
   * Shows the whole drawing. mode: "fit" at any scale, "initial" only at a readable scale: beside a card, the drawing is
   * then cut off rather than shrunk.
   */
  fit(mode = "fit", animated = true) {
    const { x, y, height } = this.bounds;
    const besideCard = this.scaleToFit(this.size.width, this.maxHeight);
    const scale = mode === "fit" ? this.scaleToFit(this.size.width, this.size.height || this.maxHeight) : this.size.width < this.widgetWidth && besideCard >= READABLE_SCALE ? besideCard : this.initialScale();
    const visible = this.height() / scale;
    const isCut = mode === "initial" && visible < height - 1;
    const top = isCut ? Math.min(Math.max(y, this.entryY - visible / 2), y + height - visible) : y;
    this.moveTo({ x, y: top, scale, mode }, animated);
  }
  /** Moves as little as possible to show a box. At a smaller scale than `minScale`, centres and enlarges it. */
  reveal(box, { minScale = 0, animated = true } = {}) {
    const { width, height } = this.size;
    if (!width || this.svg === null) return;
    const margin = 24;
    if (this.position.scale < minScale) {
      const scale = Math.min(1, width / (box.width + 2 * margin), height / (box.height + 2 * margin));
      return this.centre(box, scale, animated);
    }
    const padding = margin / this.position.scale;
    const along = (from, length, low, size) => {
      if (low >= from && low + size <= from + length) return from;
      if (size + 2 * padding >= length) return low + size / 2 - length / 2;
      return Math.min(Math.max(from, low + size + padding - length), low - padding);
    };
    const x = along(this.position.x, width / this.position.scale, box.x, box.width);
    const y = along(this.position.y, height / this.position.scale, box.y, box.height);
    if (x !== this.position.x || y !== this.position.y) this.moveTo({ ...this.position, x, y }, animated);
  }
  centre(box, scale, animated = true) {
    const { width, height } = this.size;
    const x = box.x + box.width / 2 - width / scale / 2;
    const y = box.y + box.height / 2 - height / scale / 2;
    this.moveTo({ x, y, scale, mode: "manual" }, animated);
  }
  /** event: its point stays where it is on the screen; without an event, the middle of the viewport does. */
  zoom(factor, event) {
    if (this.svg === null) return;
    const min = Math.min(this.position.scale, this.scaleToFit(this.widgetWidth, this.maxHeight) * ZOOM.min);
    const scale = Math.min(ZOOM.max, Math.max(min, this.position.scale * factor));
    const box = this.element.getBoundingClientRect();
    const [px, py] = event ? [event.clientX - box.left, event.clientY - box.top] : [this.size.width / 2, this.size.height / 2];
    const x = this.position.x + px / this.position.scale - px / scale;
    const y = this.position.y + py / this.position.scale - py / scale;
    this.moveTo({ x, y, scale, mode: "manual" }, event === void 0);
  }
  /** Moves the drawing by pixels. */
  pan(dx, dy) {
    const { x, y, scale } = this.position;
    this.moveTo({ x: x - dx / scale, y: y - dy / scale, scale, mode: "manual" }, false);
  }
  /** The point of a pointer event, in units of the drawing. */
  toDrawing({ clientX, clientY }) {
    const box = this.element.getBoundingClientRect();
    const { x, y, scale } = this.position;
    return [x + (clientX - box.left) / scale, y + (clientY - box.top) / scale];
  }
  /** A point of the drawing, in pixels of the viewport. */
  toPixels([x, y]) {
    return [(x - this.position.x) * this.position.scale, (y - this.position.y) * this.position.scale];
  }
  moveTo(target, animated) {
    cancelAnimationFrame(this.frame);
    const from = { ...this.position };
    if (!animated || prefersReducedMotion() || document.hidden || !this.size.width) {
      Object.assign(this.position, target);
      return this.apply();
    }
    const begin = performance.now();
    const step = (now) => {
      const t = Math.min(1, Math.max(0, (now - begin) / ANIMATION_TIME));
      const eased = 1 - (1 - t) ** 3;
      for (const key of ["x", "y", "scale"]) this.position[key] = from[key] + (target[key] - from[key]) * eased;
      this.position.mode = target.mode;
      this.apply();
      if (t < 1) this.frame = requestAnimationFrame(step);
    };
    this.frame = requestAnimationFrame(step);
  }
  apply() {
    const { x, y, scale } = this.position;
    const { width, height } = this.size.width ? this.size : this.bounds;
    this.svg.setAttribute("viewBox", [x, y, width / scale, height / scale].map((n) => n.toFixed(2)).join(" "));
    this.svg.classList.toggle("names-only", scale < READABLE_SCALE);
    this.onMove();
  }
  close() {
    cancelAnimationFrame(this.frame);
  }
};
function boundsOf(svg) {
  const [x, y, width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
  return { x, y, width, height };
}

// dynamo_nb/notebook/widget/highlight.js
var Highlight = class {
  /** @param {import("./graph_view.js").GraphView} view */
  constructor(view) {
    this.view = view;
    this.currentMatch = void 0;
  }
  search(text) {
    const { viewState, toolbar } = this.view;
    viewState.searchText = text;
    this.currentMatch = void 0;
    if (toolbar.search.value !== text) toolbar.search.value = text;
    this.update();
  }
  matches() {
    const text = this.view.viewState.searchText.trim().toLowerCase();
    if (!text) return [];
    return [...this.view.drawing.nodes.values()].filter(({ name, status }) => name.toLowerCase().includes(text) || status?.toLowerCase().startsWith(text));
  }
  nextMatch(direction) {
    const matches = this.matches();
    if (matches.length === 0) return;
    const at = this.currentMatch === void 0 ? direction > 0 ? -1 : 0 : matches.indexOf(this.currentMatch);
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
    let names = null;
    if (isSearch) names = { nodes: new Set(matches.map(({ name }) => name)), edges: /* @__PURE__ */ new Set() };
    else if (viewState.focusedService) {
      const paths = this.paths();
      const onPath = [...drawing.edges.values()].filter((edge) => isOnPath(edge, paths));
      names = { nodes: /* @__PURE__ */ new Set([...paths.callers, ...paths.callees]), edges: new Set(onPath.map(({ name }) => name)) };
    }
    drawing.highlight(names);
    for (const node of drawing.nodes.values()) node.g.classList.toggle("current-match", node === this.currentMatch);
    const at = matches.indexOf(this.currentMatch);
    setText(toolbar.matches, isSearch ? `${at >= 0 ? `${at + 1} / ` : ""}${matches.length}` : "");
    setAttribute(toolbar.paths, "aria-pressed", String(viewState.focusedService !== ""));
  }
};

// dynamo_nb/notebook/widget/keyboard.js
var KEYS = [
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
  ["Ctrl  Enter", "in a form: call"]
];
var Keyboard = class {
  /** @param {import("./graph_view.js").GraphView} view */
  constructor(view) {
    this.view = view;
    this.element = create(
      "div",
      { class: "dynamo-keys", role: "group", "aria-label": "Keyboard shortcuts" },
      create(
        "header",
        { class: "dynamo-header" },
        create("h4", {}, "Keyboard shortcuts"),
        iconButton("close", "Close  ( Escape )", () => this.togglePanel())
      ),
      create("dl", {}, ...KEYS.map(([keys, action]) => create("div", {}, create("dt", {}, ...keys.split("  ").map((key) => create("kbd", {}, key))), create("dd", {}, action))))
    );
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
    event.stopPropagation();
  }
  /** Closes the innermost open part. Returns false if nothing is open. */
  escape() {
    const { view } = this;
    if (view.linking.isActive) view.linking.finish(void 0);
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
    const node = edge ? nodes.get(key === "ArrowRight" ? edge.target : edge.source) : neighbour(view.drawing.nodeAt(target) ?? tabStop, key, nodes, [...edges.values()]);
    if (node === void 0) return true;
    node.g.focus({ preventScroll: true });
    view.viewport.reveal(view.drawing.boundingBox([node]));
    if (view.model.get("selected")) view.select(node.name);
    return true;
  }
  /** Moves the focus to an edge of the focused service, or from an edge to the next one of that service. */
  focusEdge(target, direction) {
    const { drawing } = this.view;
    const current = drawing.edgeAt(target);
    if (current === void 0) this.edgesOf = drawing.nodeAt(target)?.name;
    const edges = [...drawing.edges.values()].filter(({ source, target: target2 }) => source === this.edgesOf || target2 === this.edgesOf);
    const next = edges[((current ? edges.indexOf(current) : -1) + direction + edges.length) % edges.length];
    next?.g.focus({ preventScroll: true });
    return next !== void 0;
  }
  beginLink() {
    const node = this.view.currentNode();
    if (node === void 0) return false;
    node.g.focus({ preventScroll: true });
    this.view.linking.begin(node, false);
    return true;
  }
};

// dynamo_nb/notebook/widget/linking.js
var Linking = class {
  /** context: drawing(), viewport, viewState, showHint(text), onCancel(). */
  constructor(context) {
    this.context = context;
    this.source = null;
    this.target = null;
    this.preview = createSvg("path", { class: "link-preview" });
  }
  get isActive() {
    return this.source !== null;
  }
  begin(node, isDrag) {
    this.source = node;
    node.g.classList.add("link-source");
    this.context.showHint(isDrag ? `Link ${node.name} to …` : `Link ${node.name} to: choose a service and press Enter. Escape cancels.`);
  }
  /** Draws the preview to a node, or to the point of a pointer event if there is no node. */
  pointTo(node, event) {
    const target = node === this.source ? void 0 : node;
    if (target !== this.target) {
      this.target?.g.classList.remove("link-target");
      target?.g.classList.add("link-target");
      this.target = target ?? null;
    }
    const { left, width, y } = this.source;
    const [x1, y1] = [left + width, y];
    const [x2, y2] = target ? [target.left, target.y] : event ? this.context.viewport.toDrawing(event) : [x1, y1];
    const bend = Math.max(24, Math.abs(x2 - x1) / 2);
    this.preview.setAttribute("d", `M${x1},${y1}C${x1 + bend},${y1} ${x2 - bend},${y2} ${x2},${y2}`);
    const { svg } = this.context.drawing();
    if (this.preview.parentNode !== svg) svg.append(this.preview);
  }
  /** Requests the link to a node; cancels for undefined and for the source itself. */
  finish(node) {
    const { source } = this;
    this.end();
    if (!node || node === source) return this.context.onCancel();
    const request = { do: "link", source: source.name, target: node.name };
    this.context.viewState.request(request, `Link ${source.name} to ${node.name}`);
  }
  end() {
    this.source?.g.classList.remove("link-source");
    this.target?.g.classList.remove("link-target");
    this.source = this.target = null;
    this.preview.remove();
  }
};

// dynamo_nb/notebook/widget/pointer.js
var HOVER_DELAY = 180;
var DRAG_DISTANCE = 4;
var Pointer = class {
  /**
   * @param {import("./graph_view.js").GraphView} view
   * @param {AbortSignal} signal Ends the listeners.
   */
  constructor(view, signal) {
    this.view = view;
    this.pressed = null;
    this.isDragging = false;
    const on = (event, handler, options = {}) => view.drawingElement.addEventListener(event, handler, { signal, ...options });
    on("pointerdown", (event) => this.press(event));
    on("pointermove", (event) => this.move(event));
    on("pointerup", (event) => this.release(event));
    on("pointercancel", (event) => this.release(event));
    on("pointerover", ({ target }) => this.pressed || view.drawing.showHandle(view.drawing.nodeAt(target) ?? view.currentNode()));
    on("pointerleave", () => this.hideTooltip());
    on("click", (event) => this.click(event));
    on("dblclick", ({ target }) => this.recordAt(target) || view.drawing.svg === null || view.viewport.fit());
    on("wheel", (event) => this.wheel(event), { passive: false });
  }
  recordAt(target) {
    return this.view.drawing.nodeAt(target) ?? this.view.drawing.edgeAt(target);
  }
  press(event) {
    const { drawing } = this.view;
    if (drawing.svg === null || event.button !== 0) return;
    this.isDragging = false;
    const linkSource = event.target === drawing.handle ? drawing.nodeAt(event.target) : void 0;
    this.pressed = { x: event.clientX, y: event.clientY, linkSource };
    this.hideTooltip();
  }
  move(event) {
    const { viewport, drawing, linking, drawingElement } = this.view;
    if (!this.pressed) {
      if (linking.isActive) linking.pointTo(drawing.nodeAt(event.target), event);
      else this.hover(event);
      return;
    }
    const [dx, dy] = [event.clientX - this.pressed.x, event.clientY - this.pressed.y];
    if (!this.isDragging) {
      if (Math.hypot(dx, dy) < DRAG_DISTANCE) return;
      drawingElement.setPointerCapture(event.pointerId);
      this.isDragging = true;
      if (this.pressed.linkSource) linking.begin(this.pressed.linkSource, true);
    }
    if (this.pressed.linkSource) return linking.pointTo(this.nodeUnder(event), event);
    viewport.pan(dx, dy);
    Object.assign(this.pressed, { x: event.clientX, y: event.clientY });
  }
  release(event) {
    const isLinking = this.isDragging && this.pressed?.linkSource && this.view.linking.isActive;
    this.pressed = null;
    if (isLinking) this.view.linking.finish(event.type === "pointerup" ? this.nodeUnder(event) : void 0);
  }
  /** The node under a captured pointer, whose events all have the drawing as target. */
  nodeUnder({ clientX, clientY }) {
    const { drawing, drawingElement } = this.view;
    const root = (
      /** @type {Document | ShadowRoot} */
      drawingElement.getRootNode()
    );
    return drawing.nodeAt(root.elementFromPoint(clientX, clientY));
  }
  click({ target }) {
    const { viewport, drawing, linking } = this.view;
    if (this.isDragging || drawing.svg === null) return;
    const [node, edge] = [drawing.nodeAt(target), drawing.edgeAt(target)];
    if (linking.isActive) return linking.finish(node);
    if (edge) return this.view.toggleEdge(edge);
    this.view.select(node?.name ?? "");
    if (node) viewport.reveal(drawing.boundingBox([node]));
  }
  wheel(event) {
    if (this.view.drawing.svg === null || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    this.view.viewport.zoom(Math.exp(-Math.max(-120, Math.min(120, event.deltaY)) * 3e-3), event);
  }
  hover(event) {
    const record = this.recordAt(event.target);
    if (record && record === this.view.tooltip.record) return;
    this.hideTooltip();
    if (record) this.timer = setTimeout(() => this.view.tooltip.show(record, event), HOVER_DELAY);
  }
  hideTooltip() {
    clearTimeout(this.timer);
    this.view.tooltip.show(void 0);
  }
};

// dynamo_nb/notebook/widget/form_field.js
function kindOf(given, root) {
  const schema = resolve(given, root);
  const options = schema.enum ?? ("const" in schema ? [schema.const] : null);
  if (options) return { ...schema, kind: "choice", options };
  const variants = schema.anyOf ?? schema.oneOf;
  if (variants) {
    const [only, ...others] = variants.filter((each) => resolve(each, root).type !== "null");
    if (only === void 0 || others.length) return { ...schema, kind: "json" };
    return { ...schema, ...kindOf(only, root), nullable: variants.length > 1 };
  }
  const kind = ["string", "number", "integer", "boolean"].includes(schema.type) ? schema.type : "json";
  return { ...schema, kind };
}
function resolve(schema, root) {
  if (typeof schema !== "object" || schema === null) return {};
  const { $ref, allOf, ...own } = schema;
  if (allOf?.length === 1) return { ...resolve(allOf[0], root), ...own };
  if (!$ref?.startsWith("#/")) return schema;
  const found = $ref.slice(2).split("/").reduce((at, key) => at?.[key], root);
  return { ...found?.$ref ? {} : found, ...own };
}
function typeName(given, root) {
  const { kind, nullable, options, type, items, title } = kindOf(given ?? {}, root ?? given ?? {});
  const name = options ? options.map((each) => JSON.stringify(each)).join(" | ") : kind !== "json" ? kind : type === "array" ? `${items ? typeName(items, root) : "any"}[]` : title ?? (typeof type === "string" ? type : "any");
  return nullable ? `${name} | null` : name;
}
var FormField = class {
  /** example: a plausible value, or undefined. A parameter that is not required starts empty and is then not sent. */
  constructor(name, given, root, required, example) {
    const schema = kindOf(given, root);
    this.name = name;
    this.required = required;
    this.schema = schema;
    const placeholder = "default" in schema ? `default: ${JSON.stringify(schema.default)}` : required ? "" : "not sent";
    this.input = this.createInput(placeholder);
    this.input.setAttribute("aria-label", name);
    this.input.title = schema.description ?? "";
    this.error = create("span", { class: "dynamo-field-error", role: "alert" });
    this.error.hidden = true;
    this.element = create(
      "label",
      { class: `dynamo-field dynamo-kind-${schema.kind}` },
      create("span", { class: "dynamo-label" }, name, create("small", {}, typeName(given, root), required ? "" : "?")),
      this.input,
      this.error
    );
    if (required && example !== void 0) this.setValue(example);
  }
  createInput(placeholder) {
    const { kind, options, nullable, minimum, maximum } = this.schema;
    const values = kind === "boolean" ? [true, false] : options;
    if (kind === "boolean" && this.required && !nullable) return create("input", { type: "checkbox" });
    if (values) {
      const empty = this.required && !nullable ? [] : [create("option", { value: "" }, placeholder || "null")];
      return create(
        "select",
        {},
        ...empty,
        ...values.map((value) => create("option", { value: JSON.stringify(value) }, String(value)))
      );
    }
    if (kind === "number" || kind === "integer") {
      return create("input", { type: "number", step: kind === "integer" ? 1 : "any", min: minimum, max: maximum, placeholder });
    }
    return create("textarea", { rows: kind === "json" ? 2 : 1, placeholder, spellcheck: kind === "string" ? null : "false" });
  }
  setValue(value) {
    const { kind } = this.schema;
    if (this.input.type === "checkbox") this.input.checked = value === true;
    else if (value === void 0) this.input.value = "";
    else if (this.input.tagName === "SELECT") this.input.value = value === null ? "" : JSON.stringify(value);
    else if (kind === "json") this.input.value = JSON.stringify(value, null, 1).replace(/\s*\n\s*/g, " ");
    else this.input.value = value === null ? "" : String(value);
  }
  /** Returns the value as JSON text; undefined to leave the parameter out. Throws an Error with a message for the user. */
  json() {
    const { kind, nullable } = this.schema;
    if (this.input.type === "checkbox") return String(this.input.checked);
    const text = this.input.value;
    if (this.input.validity.badInput) throw new Error("not a number");
    if (text.trim() === "" && !(this.required && kind === "string" && !nullable)) {
      if (!this.required) return void 0;
      if (nullable) return "null";
      throw new Error("required");
    }
    if (this.input.tagName === "SELECT") return text;
    if (kind === "string") return JSON.stringify(text);
    if (kind === "integer" && /^-?(0|[1-9]\d*)$/.test(text)) return text;
    if (kind === "integer") throw new Error("not an integer");
    if (kind === "number") return JSON.stringify(Number(text));
    try {
      JSON.parse(text);
    } catch (error) {
      throw new Error(`not JSON: ${error.message}`, { cause: error });
    }
    return text;
  }
  /** Shows an error at the field; "" removes it. */
  showError(text) {
    setText(this.error, text);
    this.error.hidden = text === "";
    this.input.toggleAttribute("aria-invalid", text !== "");
  }
};

// dynamo_nb/notebook/widget/call_form.js
var CallForm = class {
  /**
   * viewState stores the typed arguments and the running call, so that both survive this element.
   * @param {import("./view_state.js").ViewState} viewState
   * @param {string} service
   * @param {any} endpoint Of the trait `card`.
   * @param {boolean} isServed
   */
  constructor(viewState, service, endpoint, isServed) {
    this.viewState = viewState;
    this.service = service;
    this.endpoint = endpoint;
    this.key = `${service} ${endpoint.name}`;
    this.example = parseJson(endpoint.example) ?? {};
    this.draft = viewState.drafts.get(this.key) ?? { isRaw: false, text: "", values: null };
    const { properties = {}, required = [] } = endpoint.input ?? {};
    this.fields = Object.entries(properties).map(
      ([name, schema]) => new FormField(name, schema, endpoint.input, required.includes(name), this.example[name])
    );
    if (this.draft.values) for (const [i, field] of this.fields.entries()) restoreInput(field.input, this.draft.values[i]);
    this.raw = create("textarea", { rows: 5, class: "dynamo-raw", spellcheck: "false", "aria-label": "Arguments as JSON" });
    this.raw.value = this.draft.text;
    this.rawError = create("span", { class: "dynamo-field-error", role: "alert" });
    this.rawSwitch = create("input", { type: "checkbox", onchange: () => this.switchRaw() });
    this.rawSwitch.checked = this.draft.isRaw;
    this.callButton = create("button", { type: "submit", class: "dynamo-button dynamo-primary", title: "Ctrl+Enter" }, "Call");
    this.callButton.disabled = !isServed;
    this.cancelButton = button("Cancel", () => viewState.cancel(viewState.calls.get(this.key)));
    this.form = create(
      "form",
      {
        class: "dynamo-form",
        novalidate: true,
        onsubmit: (event) => {
          event.preventDefault();
          this.submit();
        },
        oninput: () => this.saveDraft(),
        onkeydown: (event) => {
          if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
          event.preventDefault();
          this.submit();
        }
      },
      ...this.fields.map((field) => field.element),
      create("div", {}, this.raw, this.rawError),
      this.fields.length > 0 ? null : create("p", { class: "dynamo-muted" }, "Takes no arguments."),
      create(
        "div",
        { class: "dynamo-row" },
        this.callButton,
        this.cancelButton,
        create("label", { class: "dynamo-raw-switch" }, this.rawSwitch, "raw JSON"),
        isServed ? null : create("span", { class: "dynamo-muted" }, "Serve the graph to call it.")
      )
    );
    this.status = create("span", { class: "dynamo-call-status" });
    this.output = create("div", { class: "dynamo-output", tabindex: "0", role: "log", "aria-live": "off", "aria-label": "Answer" });
    this.result = create("div", { class: "dynamo-result" }, this.status, this.output);
    this.element = create("div", { class: "dynamo-call-form" }, this.description(), this.form, this.result);
    this.showRawOrFields();
    this.update();
  }
  description() {
    const { name, doc, stream, input, output } = this.endpoint;
    const parameters = Object.entries(input?.properties ?? {}).map(([key, schema]) => `${key}${input.required?.includes(key) ? "" : "?"}: ${typeName(schema, input)}`);
    const returns = output ? typeName(output, output) : "any";
    const signature = `(${parameters.join(", ")}) → ${stream ? `stream of ${returns}` : returns}`;
    const schemas = `input ${JSON.stringify(input ?? {}, null, 2)}

output ${JSON.stringify(output ?? {}, null, 2)}`;
    return create(
      "div",
      { class: "dynamo-endpoint" },
      create("code", { class: "dynamo-signature" }, create("b", {}, name), signature),
      doc ? create("p", {}, doc) : null,
      create("details", {}, create("summary", {}, "Schema"), create("pre", {}, schemas))
    );
  }
  /** The arguments as the text of a JSON object; undefined if a field is invalid, which then shows why and has the focus. */
  arguments() {
    if (this.draft.isRaw) {
      const isValid = isObject(parseJson(this.raw.value));
      setText(this.rawError, isValid ? "" : "not a JSON object");
      if (!isValid) this.raw.focus();
      return isValid ? this.raw.value : void 0;
    }
    const parts = [];
    let invalid = null;
    for (const field of this.fields) {
      try {
        const text = field.json();
        if (text !== void 0) parts.push(`${JSON.stringify(field.name)}: ${text}`);
        field.showError("");
      } catch (error) {
        field.showError(error.message);
        invalid ??= field;
      }
    }
    invalid?.input.focus();
    return invalid ? void 0 : `{${parts.join(", ")}}`;
  }
  submit() {
    const latest = this.viewState.calls.get(this.key);
    if (this.callButton.disabled || latest && !isFinished(latest)) return;
    const text = this.arguments();
    if (text === void 0) return;
    const { service, endpoint } = this;
    const request = { do: "call", service, endpoint: endpoint.name, arguments: text };
    this.shownId = null;
    this.viewState.calls.set(this.key, this.viewState.request(request, `Call ${service}.${endpoint.name}`));
    this.update();
  }
  /** Switches between fields and raw JSON, and converts what was typed. */
  switchRaw() {
    if (this.rawSwitch.checked) {
      const text = this.arguments();
      if (text === void 0) return void (this.rawSwitch.checked = false);
      this.raw.value = JSON.stringify(JSON.parse(text), null, 2);
    } else {
      const value = parseJson(this.raw.value);
      if (typeof value !== "object" || value === null) {
        setText(this.rawError, "not a JSON object");
        return void (this.rawSwitch.checked = true);
      }
      for (const field of this.fields) field.setValue(value[field.name]);
    }
    this.draft.isRaw = this.rawSwitch.checked;
    this.saveDraft();
    this.showRawOrFields();
  }
  showRawOrFields() {
    this.raw.parentElement.hidden = !this.draft.isRaw;
    for (const field of this.fields) field.element.hidden = this.draft.isRaw;
  }
  saveDraft() {
    this.draft.text = this.raw.value;
    this.draft.values = this.fields.map(({ input }) => input.type === "checkbox" ? input.checked : input.value);
    this.viewState.drafts.set(this.key, this.draft);
  }
  /** Shows the state of the latest call. New items are appended; those that are shown already stay. */
  update() {
    const action = this.viewState.calls.get(this.key);
    this.result.hidden = action === void 0;
    const isRunning = action !== void 0 && !isFinished(action);
    this.cancelButton.hidden = !isRunning;
    this.callButton.hidden = isRunning;
    if (action === void 0) return;
    if (this.shownId !== action.id) {
      this.shownId = action.id;
      this.itemCount = 0;
      this.isComplete = false;
      this.output.replaceChildren();
    }
    setAttribute(this.result, "data-outcome", action.state);
    const isAtEnd = this.output.scrollHeight - this.output.scrollTop - this.output.clientHeight < 24;
    const newItems = Math.min(action.count - this.itemCount, action.items.length);
    if (newItems > 0) {
      this.output.append(...action.items.slice(-newItems).map((item) => create("div", { class: "dynamo-item" }, item)));
      while (this.output.childElementCount > MAX_ITEMS) this.output.firstElementChild?.remove();
      this.itemCount = action.count;
    }
    if (isFinished(action) && !this.isComplete) {
      this.isComplete = true;
      if (action.value !== null) this.output.append(create("div", { class: "dynamo-item" }, action.value));
      if (action.error) this.output.append(create("div", { class: "dynamo-item dynamo-error" }, action.error));
    }
    if (isAtEnd && (newItems > 0 || this.isComplete)) this.output.scrollTop = this.output.scrollHeight;
    this.updateTime();
  }
  updateTime() {
    const action = this.viewState.calls.get(this.key);
    if (action === void 0) return;
    const items = action.count ? `${grouped(action.count)} item${action.count === 1 ? "" : "s"}` : "";
    const seconds = action.seconds ?? (performance.now() - action.startedAt) / 1e3;
    const running = action.count ? "streaming" : "running";
    const state = { sent: "waiting for the kernel", running, failed: "failed", done: "done" }[action.state];
    const time = isFinished(action) ? duration(seconds) : `${seconds.toFixed(1)} s`;
    setText(this.status, [state, items, time].filter(Boolean).join(" · "));
  }
};
function restoreInput(input, value) {
  if (input.type === "checkbox") input.checked = value === true;
  else input.value = value ?? "";
}
function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
function parseJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return void 0;
  }
}

// dynamo_nb/notebook/widget/error_list.js
var ErrorList = class {
  constructor() {
    this.rows = /* @__PURE__ */ new Map();
    this.element = create("div", { class: "dynamo-errors" });
  }
  /** errors: those of the trait `card`, the latest first. New ones are put above the others, which do not move. */
  show(errors) {
    const ids = new Set(errors.map(({ id }) => id));
    for (const [id, row] of this.rows) {
      if (ids.has(id)) continue;
      row.element.remove();
      this.rows.delete(id);
    }
    for (const error of [...errors].reverse()) {
      if (!this.rows.has(error.id)) {
        const row2 = this.createRow(error);
        this.rows.set(error.id, row2);
        this.element.prepend(row2.element);
      }
      const row = this.rows.get(error.id);
      row.last = error.last;
      setText(row.message, error.message);
      setText(row.count, error.count === 1 ? "once" : `${grouped(error.count)} times`);
      setText(row.traceback, error.traceback);
      row.details.hidden = error.traceback === "";
    }
    this.updateTimes();
  }
  createRow({ kind, endpoint, origin }) {
    const [message, count, time] = [create("span"), create("b"), create("span")];
    const traceback = create("pre", { class: "dynamo-traceback", tabindex: "0", "aria-label": `Traceback of ${kind}` });
    const details = create("details", {}, create("summary", {}, "Traceback"), traceback);
    const element = create(
      "section",
      { class: "dynamo-service-error", "aria-label": kind },
      create("p", { class: "dynamo-error" }, create("b", {}, kind), " ", message),
      create("p", { class: "dynamo-muted" }, count, " in ", create("code", {}, endpoint), ", last ", time),
      origin ? create("p", { class: "dynamo-muted" }, origin) : null,
      details
    );
    return { element, message, count, time, traceback, details, last: 0 };
  }
  updateTimes() {
    for (const { time, last } of this.rows.values()) setText(time, `${age(Date.now() / 1e3 - last)} ago`);
  }
};

// dynamo_nb/notebook/widget/log_view.js
var MAX_LINES = 2e3;
var NEAR_END = 24;
var LEVELS2 = ["debug", "info", "warning", "error"];
var LogView = class {
  /**
   * @param {object} options
   * @param {string} options.nothing Message while there is no line.
   * @param {() => void} [options.stop] Called when the user ends the log; without it there is no such button.
   * @param {(isOn: boolean) => void} [options.setAccess] Called when the user turns the access log on or off.
   * @param {boolean} [options.isAccess] True if the access log is on.
   * @param {string} [options.label] Accessible name.
   */
  constructor({ nothing, stop, setAccess, isAccess = false, label = "Log" }) {
    this.nothing = nothing;
    this.ended = "";
    this.hues = /* @__PURE__ */ new Map();
    this.lines = [];
    this.count = 0;
    const refilter = () => this.refilter();
    this.worker = create("select", { "aria-label": "Worker", onchange: refilter }, create("option", { value: "" }, "all workers"));
    this.level = create(
      "select",
      { "aria-label": "Level", onchange: refilter },
      create("option", { value: "" }, "all levels"),
      ...LEVELS2.slice(1).map((level) => create("option", { value: level }, level === "error" ? level : `${level} and above`))
    );
    this.text = create("input", { type: "search", placeholder: "filter", "aria-label": "Filter by text", oninput: refilter });
    this.access = create("input", { type: "checkbox", onchange: () => setAccess?.(this.access.checked) });
    this.access.checked = isAccess;
    this.stop = button("Stop", () => stop?.());
    this.stop.hidden = stop === void 0;
    this.status = create("span", { class: "dynamo-muted", role: "status" });
    this.list = create("div", { class: "dynamo-log-lines", tabindex: "0", role: "log", "aria-live": "off", "aria-label": label });
    this.element = create(
      "div",
      { class: "dynamo-log-view" },
      create(
        "div",
        { class: "dynamo-log-controls" },
        this.worker,
        this.level,
        this.text,
        this.accessLabel = create("label", {}, this.access, "access log"),
        this.status,
        this.stop
      ),
      this.list
    );
    this.accessLabel.hidden = setAccess === void 0;
    this.updateStatus();
  }
  /** Shows the switch of the access log, or hides it for a service without HTTP. @param {boolean} hasAccess */
  setHasAccess(hasAccess) {
    this.accessLabel.hidden = !hasAccess;
  }
  scrollToEnd() {
    this.list.scrollTop = this.list.scrollHeight;
  }
  /** Adds lines at the end. @param {Row[]} rows */
  add(rows) {
    if (rows.length === 0) return;
    const isAtEnd = this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < NEAR_END;
    for (const row of rows.slice(-MAX_LINES)) {
      const element = this.createLine(row);
      this.lines.push({ row, element });
      this.list.append(element);
    }
    this.count += rows.length;
    while (this.lines.length > MAX_LINES) this.lines.shift()?.element.remove();
    this.updateStatus();
    if (isAtEnd) this.scrollToEnd();
  }
  /** Shows these lines in place of those before. Lines that stay are not created again. @param {Row[]} rows */
  set(rows) {
    const shown = this.lines.map(({ row }) => row.join("\0"));
    const wanted = rows.map((row) => row.join("\0"));
    let kept = Math.min(shown.length, wanted.length);
    while (kept > 0 && !isEqual(shown.slice(-kept), wanted.slice(0, kept))) kept--;
    for (const { element } of this.lines.splice(0, this.lines.length - kept)) element.remove();
    this.add(rows.slice(kept));
    this.count = rows.length;
    this.updateStatus();
  }
  /** No more lines come. @param {string} reason */
  end(reason) {
    this.ended = reason;
    this.stop.hidden = true;
    this.access.disabled = true;
    this.updateStatus();
  }
  createLine(row) {
    const [time, worker, level, text] = row;
    const element = create(
      "div",
      { class: "dynamo-log-line", "data-level": level || null },
      create("time", {}, time || " ".repeat(12)),
      " ",
      worker ? create("b", { style: `--hue: ${this.hueOf(worker)}` }, worker) : null,
      " ",
      create("span", {}, text)
    );
    element.hidden = !this.isShown(row);
    return element;
  }
  /** Hues of consecutive workers are far apart. */
  hueOf(worker) {
    let hue = this.hues.get(worker);
    if (hue === void 0) {
      hue = (205 + this.hues.size * 137) % 360;
      this.hues.set(worker, hue);
      this.worker.append(create("option", { value: worker }, worker));
    }
    return hue;
  }
  isShown([, worker, level, text]) {
    if (this.worker.value && worker !== this.worker.value) return false;
    if (this.level.value && LEVELS2.indexOf(level || "info") < LEVELS2.indexOf(this.level.value)) return false;
    const wanted = this.text.value.toLowerCase();
    return wanted === "" || `${worker} ${text}`.toLowerCase().includes(wanted);
  }
  refilter() {
    for (const { row, element } of this.lines) element.hidden = !this.isShown(row);
    this.scrollToEnd();
    this.updateStatus();
  }
  updateStatus() {
    const shown = this.lines.filter(({ element }) => !element.hidden).length;
    const all = `${grouped(this.count)} line${this.count === 1 ? "" : "s"}`;
    const count = shown === this.lines.length ? all : `${grouped(shown)} of ${all}`;
    const lines = this.count === 0 ? this.nothing : count;
    setText(this.status, this.ended ? `${lines} · ended: ${this.ended}` : lines);
    this.list.hidden = this.count === 0;
  }
};
function isEqual(one, other) {
  return one.length === other.length && one.every((each, at) => each === other[at]);
}

// dynamo_nb/notebook/widget/route_list.js
var RouteList = class {
  constructor() {
    this.rows = /* @__PURE__ */ new Map();
    this.docs = create("p", { class: "dynamo-route-docs" });
    this.element = create("div", { class: "dynamo-routes" }, this.docs);
    this.shown = "";
  }
  /** Shows routes. Rows are created again only if other routes are there, so a selected text stays selected. */
  show(routes) {
    const names = JSON.stringify(routes.map(({ method, path, curl, docs }) => [method, path, curl, docs]));
    if (this.shown !== names) {
      this.shown = names;
      const docs = routes[0]?.docs ?? "";
      this.docs.hidden = docs === "";
      this.docs.replaceChildren(docs ? link(docs, "Documentation of the routes") : "");
      this.rows = new Map(routes.map((route) => [`${route.method} ${route.path}`, this.createRow(route)]));
      this.element.replaceChildren(this.docs, ...[...this.rows.values()].map(({ element }) => element));
    }
    for (const route of routes) this.updateRow(this.rows.get(`${route.method} ${route.path}`), route);
  }
  createRow({ method, path, doc, url, curl }) {
    const name = `${method} ${path}`;
    const figures = create("span", { class: "dynamo-route-figures" });
    const statuses = create("span", { class: "dynamo-route-statuses" });
    const element = create(
      "section",
      { class: "dynamo-route", "aria-label": name },
      create(
        "header",
        {},
        create("b", { class: "dynamo-method" }, method),
        url ? link(url, path, { class: "dynamo-link dynamo-path" }) : create("span", { class: "dynamo-path" }, path)
      ),
      doc ? create("p", { class: "dynamo-muted" }, doc) : null,
      create("div", { class: "dynamo-route-load" }, figures, statuses),
      create("div", { class: "dynamo-curl" }, create("code", { tabindex: "0" }, curl), copyButton(`Copy the request of ${name}`, () => curl))
    );
    return { element, figures, statuses, shown: "" };
  }
  updateRow(row, { load, statuses }) {
    const latency = load.p50 == null ? [] : [`p50 ${duration(load.p50)}`, `p99 ${duration(load.p99)}`];
    setText(row.figures, [rate(load.rate), ...latency].join(" · "));
    const content = JSON.stringify(statuses);
    if (row.shown === content) return;
    row.shown = content;
    row.statuses.replaceChildren(...Object.entries(statuses).map(([kind, count]) => create("span", { class: "dynamo-status", "data-kind": kind }, `${kind} `, create("b", {}, grouped(count)))));
  }
};

// dynamo_nb/notebook/widget/toolbar.js
var STATES = ["failed", "starting", "updating", "draining", "stopped", "ready"];
var Toolbar = class {
  /** handlers: search(text), nextMatch(direction), leaveSearch(clear), zoom(factor), fit(), fullSize(), paths(), keys(), stop(). */
  constructor(handlers) {
    this.handlers = handlers;
    this.counts = create("div", { class: "dynamo-state-counts" });
    this.search = create("input", {
      type: "search",
      class: "dynamo-search",
      placeholder: "Search",
      spellcheck: "false",
      autocomplete: "off",
      "aria-label": "Search services by name or state",
      title: "Search by name or state  ( / )",
      oninput: () => handlers.search(this.search.value),
      onkeydown: (event) => {
        if (event.key === "Enter") handlers.nextMatch(event.shiftKey ? -1 : 1);
        else if (event.key === "Escape" || event.key === "ArrowDown") handlers.leaveSearch(event.key === "Escape");
        else return;
        event.preventDefault();
        event.stopPropagation();
      }
    });
    this.matches = create("span", { class: "dynamo-matches" });
    this.paths = iconButton(
      "path",
      "Highlight the paths through the selected service  ( f )",
      handlers.paths,
      { "aria-pressed": "false" }
    );
    this.scale = create("button", {
      type: "button",
      class: "dynamo-icon-button dynamo-scale",
      title: "Zoom to 100%",
      onclick: handlers.fullSize
    }, "100%");
    this.stop = button(
      "Stop…",
      () => confirmInPlace(this.stop, "Stop all services?", "Stop", handlers.stop),
      { class: "dynamo-button dynamo-subtle", title: "Stop the deployment" }
    );
    this.deployment = create("span", { class: "dynamo-deployment" });
    this.deploymentGroup = create("span", { class: "dynamo-group dynamo-deployment-group" }, this.deployment, this.stop);
    this.element = create(
      "div",
      { class: "dynamo-toolbar", role: "toolbar", "aria-label": "Graph" },
      create("label", { class: "dynamo-search-box" }, icon("search"), this.search, this.matches),
      this.counts,
      create(
        "span",
        { class: "dynamo-group" },
        this.paths,
        iconButton("minus", "Zoom out  ( - )", () => handlers.zoom(1 / ZOOM.step)),
        this.scale,
        iconButton("plus", "Zoom in  ( + )", () => handlers.zoom(ZOOM.step)),
        iconButton("fit", "Show all  ( 0 )", handlers.fit),
        iconButton("help", "Keyboard shortcuts  ( ? )", handlers.keys)
      ),
      this.deploymentGroup
    );
  }
  /** deployment: its id; "" if the graph is not served. */
  setDeployment(deployment) {
    this.deploymentGroup.hidden = deployment === "";
    setText(this.deployment, deployment);
  }
  setStates(states) {
    const counts = {};
    for (const { state } of Object.values(states)) if (state) counts[state] = (counts[state] ?? 0) + 1;
    const content = JSON.stringify(counts);
    if (content === this.content) return;
    this.content = content;
    this.counts.replaceChildren(...STATES.filter((state) => counts[state]).map((state) => create(
      "button",
      {
        type: "button",
        class: "dynamo-state-count",
        "data-state": state,
        title: `Search for ${state} services`,
        onclick: () => this.handlers.search(this.search.value === state ? "" : state)
      },
      create("i", { class: "dynamo-dot" }),
      `${counts[state]} ${state}`
    )));
  }
};
function confirmInPlace(trigger, question, label, onConfirm) {
  const end = (isConfirmed) => {
    box.replaceWith(trigger);
    trigger.focus();
    if (isConfirmed) onConfirm();
  };
  const cancel = button("Cancel", () => end(false));
  const box = create("span", {
    class: "dynamo-confirm",
    role: "group",
    "aria-label": question,
    onkeydown: (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      end(false);
    }
  }, create("span", {}, question), button(label, () => end(true), { class: "dynamo-button dynamo-danger" }), cancel);
  trigger.replaceWith(box);
  cancel.focus();
}

// dynamo_nb/notebook/widget/worker_list.js
var WorkerList = class {
  /**
   * @param {import("./view_state.js").ViewState} viewState
   * @param {string} service
   */
  constructor(viewState, service) {
    this.viewState = viewState;
    this.service = service;
    this.rows = /* @__PURE__ */ new Map();
    this.empty = create("p", { class: "dynamo-muted" }, "No worker is running.");
    this.element = create("div", { class: "dynamo-workers" }, this.empty);
  }
  show(workers) {
    this.empty.hidden = workers.length > 0;
    const now = new Map(workers.map((worker) => [worker.id ?? worker.index, worker]));
    for (const [id, row] of this.rows) {
      if (now.has(id)) continue;
      row.element.remove();
      this.rows.delete(id);
    }
    for (const [id, worker] of now) {
      if (!this.rows.has(id)) {
        const row = this.createRow(worker);
        this.rows.set(id, row);
        this.element.append(row.element);
      }
      this.updateRow(this.rows.get(id), worker);
    }
  }
  createRow({ index }) {
    const { viewState, service } = this;
    const key = `${service} ${index}`;
    const cells = Object.fromEntries(["pid", "GPU", "up", "restarts", "CPU", "memory"].map((label) => [label, create("dd", {})]));
    const log = create("pre", { class: "dynamo-log", tabindex: "0", "aria-label": `Log of ${service} ${index}` });
    const state = create("span", { class: "dynamo-state" });
    const details = create("details", {
      open: viewState.openLogs.has(key),
      ontoggle: () => {
        viewState.openLogs[details.open ? "add" : "delete"](key);
        log.scrollTop = log.scrollHeight;
      }
    }, create("summary", {}, "Log"), log);
    const openConsole = () => viewState.request({ do: "console", service, index }, `Console of ${service} ${index}`);
    const console = button("Console", openConsole, { title: `Open a console in ${service}[${index}]` });
    const element = create(
      "section",
      { class: "dynamo-worker", "aria-label": `${service} ${index}` },
      create("header", {}, create("b", {}, `[${index}]`), create("i", { class: "dynamo-dot" }), state, console),
      create("dl", {}, ...Object.entries(cells).map(([label, cell]) => create("div", {}, create("dt", {}, label), cell))),
      details
    );
    return { element, cells, log, state, details };
  }
  updateRow(row, worker) {
    row.started = worker.started;
    setAttribute(row.element, "data-state", worker.state ?? "");
    setText(row.state, worker.state ?? "");
    setText(row.cells.pid, worker.pid == null ? NO_VALUE : String(worker.pid));
    setText(row.cells.GPU, worker.gpus || NO_VALUE);
    setText(row.cells.restarts, grouped(worker.restarts ?? 0));
    setText(row.cells.CPU, percent(worker.cpu));
    setText(row.cells.memory, bytes(worker.memory));
    const lines = (worker.log ?? []).join("\n");
    row.details.hidden = lines === "";
    const isAtEnd = row.log.scrollHeight - row.log.scrollTop - row.log.clientHeight < 24;
    if (row.log.textContent !== lines) {
      row.log.textContent = lines;
      if (isAtEnd) row.log.scrollTop = row.log.scrollHeight;
    }
    this.updateUptime(row);
  }
  updateUptime({ cells, started }) {
    setText(cells.up, started == null ? NO_VALUE : age(Date.now() / 1e3 - started));
  }
  updateUptimes() {
    for (const row of this.rows.values()) this.updateUptime(row);
  }
};

// dynamo_nb/notebook/widget/service_card.js
var CARD_TIMEOUT = 4e3;
var SCALE_DELAY = 400;
var ServiceCard = class {
  // Elements that `build` makes for each service.
  /** @type {HTMLElement} */
  state;
  /** @type {HTMLElement} */
  note;
  /** @type {HTMLElement} */
  desired;
  /** @type {HTMLElement} */
  unit;
  /** @type {HTMLElement} */
  actions;
  /** @type {HTMLButtonElement} */
  removeWorker;
  /** @type {HTMLButtonElement} */
  addWorker;
  /** @type {HTMLButtonElement} */
  stopButton;
  /** @type {HTMLElement} */
  waiting;
  /** @type {HTMLElement} */
  tabs;
  /** @type {HTMLElement} */
  panel;
  /** @type {HTMLElement} */
  overview;
  /** @type {HTMLElement} */
  facts;
  /** @type {HTMLElement} */
  links;
  /** @type {HTMLElement} */
  endpoints;
  /** @type {HTMLElement} */
  config;
  /**
   * @param {import("./view_state.js").ViewState} viewState
   * @param {{ close: () => void, select: (name: string) => void }} handlers
   */
  constructor(viewState, handlers) {
    this.viewState = viewState;
    this.handlers = handlers;
    this.element = create("aside", { class: "dynamo-card" });
    this.element.hidden = true;
    this.service = "";
    this.deployment = "";
    this.content = {};
    this.shownParts = {};
    this.callForm = null;
    this.pages = {};
    this.metrics = new Metrics(["cpu", "memory", "restarts"], true);
    this.workers = new WorkerList(viewState, "");
    this.errors = new ErrorList();
    this.lastError = create("button");
    this.routes = new RouteList();
    this.log = new LogView({ nothing: "" });
  }
  /** Shows the card of a service; hides it for "". content: the trait `card`, {} before the kernel has sent it. */
  show(service, content, deployment) {
    const { element } = this;
    element.hidden = service === "";
    if (service === "") return this.clear();
    if (this.service !== service || this.deployment !== deployment) this.build(service, deployment);
    this.waiting.hidden = content.service === service;
    if (content.service !== service) return;
    clearTimeout(this.timeout);
    this.content = content;
    this.updateActions();
    for (const page of Object.values(this.pages)) {
      const hasContent = page.hasContent(content);
      page.tab.hidden = !hasContent;
      if (hasContent) page.show(content);
      if (hasContent && page.count) setText(page.number, page.count(content));
    }
    this.open(this.viewState.tab, false);
  }
  clear() {
    clearTimeout(this.timeout);
    this.service = "";
    this.element.replaceChildren();
  }
  build(service, deployment) {
    this.clear();
    Object.assign(this, { service, deployment, content: {}, callForm: null, shownParts: {}, pages: {} });
    this.state = create("span", { class: "dynamo-state" });
    this.note = create("p", { class: "dynamo-note" });
    this.desired = create("output", { class: "dynamo-desired", "aria-label": "Desired workers" });
    this.unit = create("small", {});
    this.removeWorker = iconButton("minus", "Remove one worker", () => this.scale(-1));
    this.addWorker = iconButton("plus", "Add one worker", () => this.scale(1));
    this.stopButton = button("Stop", () => this.confirmStop());
    this.actions = create(
      "div",
      { class: "dynamo-row dynamo-actions" },
      create("span", { class: "dynamo-stepper" }, this.removeWorker, create("span", {}, this.desired, this.unit), this.addWorker),
      button("Restart", () => this.viewState.request({ do: "restart", service }, `Restart ${service}`)),
      this.stopButton
    );
    this.actions.hidden = true;
    this.waiting = create("p", { class: "dynamo-muted" }, "Waiting for the kernel…");
    this.timeout = setTimeout(
      () => setText(this.waiting, "The kernel does not answer: it is busy, or it is gone."),
      CARD_TIMEOUT
    );
    this.overview = create("div");
    this.endpoints = create("div");
    this.workers = new WorkerList(this.viewState, service);
    this.errors = new ErrorList();
    this.lastError = create("button", {
      type: "button",
      class: "dynamo-last-error",
      title: "Show the errors",
      onclick: () => this.open("Errors", true)
    });
    this.lastError.hidden = true;
    this.config = create("div");
    this.routes = new RouteList();
    this.log = new LogView({
      nothing: "no lines: nothing was printed",
      label: `Log of ${service}`,
      isAccess: this.viewState.isAccessShown,
      setAccess: (isOn) => {
        this.viewState.isAccessShown = isOn;
        this.viewState.send({ id: 0, do: "access", on: isOn });
      }
    });
    const pages = {
      Overview: { body: this.overview, hasContent: () => true, show: (content) => this.showOverview(content) },
      Errors: {
        body: this.errors.element,
        hasContent: ({ errors }) => errors?.length,
        show: ({ errors }) => this.errors.show(errors),
        count: ({ errors }) => String(errors.length)
      },
      Endpoints: {
        body: this.endpoints,
        hasContent: ({ endpoints }) => endpoints?.length,
        show: (content) => this.showEndpoints(content),
        count: ({ endpoints }) => String(endpoints.length)
      },
      Routes: {
        body: this.routes.element,
        hasContent: ({ routes }) => routes?.length,
        show: ({ routes }) => this.routes.show(routes),
        count: ({ routes }) => String(routes.length)
      },
      Workers: {
        body: this.workers.element,
        hasContent: ({ workers }) => workers !== void 0,
        show: ({ workers }) => this.workers.show(workers),
        count: ({ workers }) => String(workers.length)
      },
      Log: {
        body: this.log.element,
        hasContent: ({ log }) => log !== void 0,
        show: ({ log, routes }) => this.showLog(log, routes)
      },
      Configuration: {
        body: this.config,
        hasContent: ({ config }) => config?.length,
        show: (content) => this.showConfig(content)
      }
    };
    this.tabs = create("div", { class: "dynamo-tabs", role: "tablist", onkeydown: (event) => this.switchTab(event) });
    this.panel = create("div", { class: "dynamo-panel", role: "tabpanel", tabindex: "0" });
    for (const [name, page] of Object.entries(pages)) {
      const number = create("small", {});
      const tab = create(
        "button",
        { type: "button", role: "tab", class: "dynamo-tab", onclick: () => this.open(name, true) },
        name,
        number
      );
      tab.hidden = page.body.hidden = true;
      this.tabs.append(tab);
      this.panel.append(page.body);
      this.pages[name] = { ...page, tab, number };
    }
    this.metrics = new Metrics(["cpu", "memory", "restarts"], true);
    this.overview.append(this.metrics.element, this.lastError, this.facts = create("div"), this.links = create("div"));
    this.element.setAttribute("aria-label", service);
    this.element.append(
      create(
        "header",
        { class: "dynamo-header" },
        create("i", { class: "dynamo-dot" }),
        create("h4", { title: service }, service),
        this.state,
        iconButton("close", "Close  ( Escape )", this.handlers.close)
      ),
      this.note,
      this.actions,
      this.tabs,
      this.waiting,
      this.panel
    );
  }
  /** Opens a tab; the first one if the service does not have it. */
  open(name, isChosen) {
    if (isChosen) this.viewState.tab = name;
    const shown = this.pages[name].tab.hidden ? "Overview" : name;
    for (const [each, { tab, body }] of Object.entries(this.pages)) {
      setAttribute(tab, "aria-selected", String(each === shown));
      setAttribute(tab, "tabindex", each === shown ? "0" : "-1");
      body.hidden = each !== shown;
    }
    if (isChosen) this.panel.scrollTop = 0;
    if (isChosen && shown === "Log") this.log.scrollToEnd();
    setAttribute(this.panel, "aria-label", shown);
  }
  switchTab(event) {
    const direction = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!direction) return;
    const names = Object.keys(this.pages).filter((name) => !this.pages[name].tab.hidden);
    const at = names.findIndex((name) => this.pages[name].tab.getAttribute("aria-selected") === "true");
    const next = names[(at + direction + names.length) % names.length];
    this.open(next, true);
    this.pages[next].tab.focus();
    event.preventDefault();
    event.stopPropagation();
  }
  setState({ state = "", note = "" } = {}, load) {
    if (this.service === "") return;
    setAttribute(this.element, "data-state", state);
    setText(this.state, state);
    setText(this.note, note.trim());
    this.note.hidden = note.trim() === "";
    this.metrics.show(load, this.viewState.rates.get(this.service));
    this.metrics.element.hidden = this.deployment === "";
  }
  // --- workers ------------------------------------------------------------------------------------------------------
  /** Shows the number of workers that was requested, or the desired number. */
  updateActions() {
    if (this.service === "" || !this.content.service) return;
    const { requestedWorkers } = this.viewState;
    const { desired } = this.content;
    this.actions.hidden = this.deployment === "" || desired === void 0;
    if (requestedWorkers.get(this.service) === desired) requestedWorkers.delete(this.service);
    const number = requestedWorkers.get(this.service) ?? desired ?? 0;
    setText(this.desired, String(number));
    setText(this.unit, number === 1 ? "worker" : "workers");
    this.desired.classList.toggle("dynamo-pending", number !== desired);
    this.stopButton.disabled = this.removeWorker.disabled = number === 0;
  }
  scale(by) {
    const number = (this.viewState.requestedWorkers.get(this.service) ?? this.content.desired) + by;
    if (number === 0) return this.confirmStop();
    this.viewState.scale(this.service, number, SCALE_DELAY);
    this.updateActions();
  }
  confirmStop() {
    confirmInPlace(this.stopButton, `Stop ${this.service}?`, "Stop", () => {
      this.viewState.scale(this.service, 0, 0);
      this.updateActions();
    });
  }
  // --- pages --------------------------------------------------------------------------------------------------------
  /** True if the content of a part has changed. A part that is being read or typed into is rebuilt only then. */
  hasChanged(part, value) {
    const content = JSON.stringify(value ?? null);
    if (this.shownParts[part] === content) return false;
    this.shownParts[part] = content;
    return true;
  }
  showOverview({ rows = [], links, errors: [last] = [] }) {
    this.lastError.hidden = last === void 0;
    if (last !== void 0) setText(this.lastError, `${last.kind}: ${last.message}`);
    if (this.hasChanged("rows", rows)) this.facts.replaceChildren(definitionList(rows));
    if (!this.hasChanged("links", links)) return;
    const row = (other, isActive, source, target) => create(
      "li",
      { class: isActive ? "" : "dynamo-inactive" },
      create("button", { type: "button", class: "dynamo-service-name", onclick: () => this.handlers.select(other) }, other),
      isActive ? null : create("small", {}, "not linked"),
      this.linkButton(isActive, source, target)
    );
    const list = (title, links2 = [], createRow) => links2.length ? [create("h5", {}, title), create("ul", { class: "dynamo-links" }, ...links2.map(createRow))] : [];
    this.links.replaceChildren(
      ...list("Calls", links?.out, ([target, isActive]) => row(target, isActive, this.service, target)),
      ...list("Called by", links?.in, ([source, isActive]) => row(source, isActive, source, this.service))
    );
  }
  linkButton(isActive, source, target) {
    const [action, label] = isActive ? ["unlink", "Unlink"] : ["link", "Link"];
    const description = `${label} ${source} ${isActive ? "from" : "to"} ${target}`;
    return button(
      label,
      () => this.viewState.request({ do: action, source, target }, description),
      { class: "dynamo-button dynamo-subtle", "aria-label": description }
    );
  }
  showEndpoints({ endpoints }) {
    if (!this.hasChanged("endpoints", endpoints)) return this.callForm?.update();
    const [choices, form] = [create("div", { class: "dynamo-choices" }), create("div")];
    const choose = (name) => {
      const endpoint = endpoints.find((each) => each.name === name) ?? endpoints[0];
      this.viewState.chosenEndpoint[this.service] = endpoint.name;
      this.callForm = new CallForm(this.viewState, this.service, endpoint, this.deployment !== "");
      choices.replaceChildren(...endpoints.length < 2 ? [] : endpoints.map((each) => create("button", {
        type: "button",
        class: "dynamo-choice",
        "aria-pressed": String(each === endpoint),
        onclick: () => choose(each.name)
      }, each.name)));
      form.replaceChildren(this.callForm.element);
    };
    this.endpoints.replaceChildren(choices, form);
    choose(this.viewState.chosenEndpoint[this.service]);
  }
  showLog(log, routes) {
    this.log.setHasAccess(routes?.length > 0);
    this.log.set(log);
  }
  showConfig({ config }) {
    if (!this.hasChanged("config", config)) return;
    const isDefault = ([, , origin]) => origin === "default";
    const [set, defaults] = [config.filter((row) => !isDefault(row)), config.filter(isDefault)];
    const details = create(
      "details",
      {
        open: this.viewState.showsDefaults,
        ontoggle: () => this.viewState.showsDefaults = details.open
      },
      create("summary", {}, `${defaults.length} with ${defaults.length === 1 ? "its default" : "their defaults"}`),
      configTable(defaults)
    );
    details.hidden = defaults.length === 0;
    this.config.replaceChildren(
      set.length ? configTable(set) : create("p", { class: "dynamo-muted" }, "Nothing is set."),
      details
    );
  }
  /** Updates the times that pass while the card is open. */
  updateTimes() {
    if (this.service === "") return;
    this.workers.updateUptimes();
    this.errors.updateTimes();
    this.callForm?.updateTime();
  }
  close() {
    clearTimeout(this.timeout);
  }
};
function configTable(rows) {
  const wrappable = (key) => key.split(/(?<=[._])/).flatMap((part) => [part, create("wbr")]);
  return create(
    "table",
    { class: "dynamo-config" },
    create("thead", {}, create("tr", {}, ...["key", "value", "origin"].map((name) => create("th", { scope: "col" }, name)))),
    create("tbody", {}, ...rows.map(([key, value, origin]) => create(
      "tr",
      {},
      create("th", { scope: "row" }, ...wrappable(key)),
      create("td", {}, value),
      create("td", {}, origin)
    )))
  );
}

// dynamo_nb/notebook/widget/new_cell.js
var FRAMES = 60;
async function copyToNewCell(code, parent) {
  const notebook = parent.closest(".jp-Notebook");
  const ownCell = parent.closest(".jp-Cell");
  if (!notebook || !ownCell) return "not possible";
  const newEditor = () => {
    const active = notebook.querySelector(".jp-Cell.jp-mod-active");
    return active !== ownCell && active?.querySelector(".cm-content");
  };
  if (newEditor()) return "not possible";
  runCommand("notebook:insert-cell-below", parent);
  const asks = await inFrames(() => newEditor() || document.querySelector(".jp-Dialog"));
  while (document.querySelector(".jp-Dialog")) await nextFrame();
  const editor = await inFrames(newEditor);
  if (!editor) return asks ? "cancelled" : "not possible";
  if (editor.textContent.trim() !== "") return "not possible";
  const clipboardData = new DataTransfer();
  clipboardData.setData("text/plain", code);
  editor.focus();
  editor.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
  return "added";
}
function runCommand(command, parent) {
  const link2 = create("span", { hidden: true, "data-commandlinker-command": command });
  parent.append(link2);
  link2.click();
  link2.remove();
}
function nextFrame() {
  return new Promise(requestAnimationFrame);
}
async function inFrames(find) {
  for (let frame = 0; frame < FRAMES; frame++) {
    const found = find();
    if (found) return found;
    await nextFrame();
  }
  return null;
}

// dynamo_nb/notebook/widget/status_bar.js
var NEW_CELL = "Copy to a new cell";
var StatusBar = class {
  constructor() {
    this.code = create("code", { class: "dynamo-code" });
    this.outcome = create("span", { class: "dynamo-outcome" });
    this.details = create("pre", { class: "dynamo-error-details", tabindex: "0" });
    this.copyButton = copyButton("Copy the code", () => this.code.textContent);
    this.cellButton = iconButton("cell", NEW_CELL, () => this.copyToCell(this.cellButton, this.code.textContent));
    this.editsTitle = create("summary", {});
    this.editList = create("ul", {});
    this.edits = create("details", { class: "dynamo-edits" }, this.editsTitle, this.editList);
    this.shownEdits = "[]";
    this.liveRegion = create("div", { class: "dynamo-visually-hidden", "aria-live": "polite" });
    this.line = create(
      "div",
      { class: "dynamo-status-line" },
      this.code,
      this.outcome,
      this.cellButton,
      this.copyButton
    );
    this.line.hidden = this.details.hidden = this.edits.hidden = true;
    this.element = create(
      "div",
      { class: "dynamo-status-bar" },
      this.line,
      this.details,
      this.edits,
      this.liveRegion
    );
  }
  /** Shows the edits with the mouse, each with a button that copies it to a new cell. edits: lines of code, in order. */
  showEdits(edits) {
    const content = JSON.stringify(edits);
    if (content === this.shownEdits) return;
    this.shownEdits = content;
    this.edits.hidden = edits.length < 2;
    setText(this.editsTitle, `${edits.length} edits with the mouse, in no cell yet`);
    this.editList.replaceChildren(...edits.map((code) => {
      const copy = iconButton("cell", NEW_CELL, () => this.copyToCell(copy, code));
      return create("li", {}, create("code", { class: "dynamo-code" }, code), copy);
    }));
  }
  /** action: a record of the view state, or null. */
  show(action) {
    this.line.hidden = action === null;
    if (action === null) return;
    setText(this.code, action.code || action.description);
    this.code.title = action.code;
    this.code.classList.toggle("dynamo-description", !action.code);
    this.copyButton.hidden = this.cellButton.hidden = !action.code;
    const [failure, ...rest] = action.state === "failed" ? action.error.trim().split("\n") : [""];
    const done = `done in ${duration(action.seconds)}`;
    setText(this.outcome, { sent: "waiting for the kernel…", running: "running…", failed: failure, done }[action.state]);
    setAttribute(this.line, "data-outcome", action.state);
    this.details.hidden = rest.length === 0 && this.outcome.scrollWidth <= this.outcome.clientWidth;
    setText(this.details, this.details.hidden ? "" : action.error.trim());
    if (!this.details.hidden) setText(this.outcome, "failed");
    if (isFinished(action) && this.announcedId !== action.id) {
      this.announcedId = action.id;
      this.announce(`${action.description}: ${action.state === "failed" ? failure : "done"}`);
    }
  }
  /** Shows what the user can do next, in place of the code. */
  showHint(text) {
    this.line.hidden = false;
    this.details.hidden = true;
    this.copyButton.hidden = this.cellButton.hidden = true;
    setText(this.code, text);
    this.code.classList.add("dynamo-description");
    setText(this.outcome, "");
    setAttribute(this.line, "data-outcome", "sent");
    this.announce(text);
  }
  /** Has a screen reader read a text: results of actions, failures of services, and hints. */
  announce(text) {
    setText(this.liveRegion, text);
  }
  async copyToCell(button2, code) {
    const outcome = await copyToNewCell(code, this.element);
    if (outcome === "cancelled") return;
    if (outcome === "not possible") await copyToClipboard(code, this.element);
    this.showDone(button2, "cell", outcome === "added" ? "added a cell" : "copied to the clipboard: this page adds no cells");
  }
  /** Shows for a moment that a button has worked, and has a screen reader say it. */
  showDone(button2, name, text) {
    this.announce(text);
    button2.replaceChildren(icon("done"));
    button2.title = text;
    setTimeout(() => {
      button2.replaceChildren(icon(name));
      button2.title = button2.getAttribute("aria-label");
    }, 1200);
  }
};

// dynamo_nb/notebook/widget/tooltip.js
var Tooltip = class {
  constructor() {
    this.element = create("div", { class: "dynamo-tooltip", "aria-hidden": "true" });
    this.element.hidden = true;
    this.record = null;
  }
  /** record: a node or edge of the drawing; undefined hides the tooltip. */
  show(record, event) {
    this.record = record ?? null;
    this.element.hidden = this.record === null;
    if (this.record === null) return;
    this.update();
    const viewport = (
      /** @type {HTMLElement} */
      this.element.parentElement
    );
    const box = viewport.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const { offsetWidth, offsetHeight } = this.element;
    const left = Math.max(4, Math.min(x + 14, viewport.clientWidth - offsetWidth - 4));
    const bottom = (
      /** @type {Element} */
      viewport.closest(".dynamo-view").getBoundingClientRect().bottom - box.top
    );
    const top = Math.min(y + 18, bottom - offsetHeight - 4);
    this.element.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
  }
  update() {
    if (this.record === null) return;
    const { title, load, status } = this.record;
    const [heading, ...lines] = title.split("\n");
    const rows = loadRows(load);
    const content = [heading, ...lines, ...rows.flat()].join("\n");
    if (content === this.content) return;
    this.content = content;
    const details = lines.filter((line) => line !== status);
    this.element.replaceChildren(
      create("b", {}, heading),
      ...details.map((line) => create("div", {}, line)),
      definitionList(rows)
    );
  }
};

// dynamo_nb/notebook/widget/graph_view.js
var TIME_INTERVAL = 500;
var MIN_BESIDE_WIDTH = 780;
var MIN_BESIDE_HEIGHT = 300;
var TAB_CARD_HEIGHT = 280;
var DRAWING_SHARE = 0.62;
var GraphView = class {
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
      search: (text) => this.highlight.search(text),
      nextMatch: (direction) => this.highlight.nextMatch(direction),
      leaveSearch: (clear) => this.highlight.leaveSearch(clear),
      zoom: (factor) => this.viewport.zoom(factor),
      fit: () => this.viewport.fit(),
      fullSize: () => this.viewport.zoom(1 / this.viewport.position.scale),
      paths: () => this.highlight.togglePaths(),
      keys: () => this.keyboard.togglePanel(),
      stop: () => viewState.request({ do: "stop" }, "Stop the deployment")
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
    this.parts = [
      this.toolbar.element,
      this.body,
      this.edgeCard.element,
      this.keyboard.element,
      this.statusBar.element,
      this.events.element
    ];
    this.root = create("div", { class: "dynamo-view", tabindex: "-1" }, this.disconnected.element, ...this.parts);
    this.viewport = new Viewport(this.drawingElement, viewState.position, () => this.viewportMoved());
    this.linking = new Linking({
      drawing: () => this.drawing,
      viewport: this.viewport,
      viewState,
      showHint: (text) => this.statusBar.showHint(text),
      onCancel: () => this.statusBar.show(viewState.latest)
    });
    this.toolbar.search.value = viewState.searchText;
    el.appendChild(this.root);
    this.handlers = {
      "change:svg": () => this.draw(),
      "change:text": () => model.get("svg") || this.draw(),
      "change:states": () => this.updateStates(),
      "change:loads": () => this.updateLoads(),
      "change:card": () => this.updateCard(),
      "change:selected": () => this.updateSelection(),
      "change:deployment": () => this.updateDeployment(),
      "change:lost": () => this.updateConnection(),
      "change:detached": () => this.updateConnection(),
      "change:events": () => this.events.show(model.get("events"))
    };
    this.actionListener = () => this.actionChanged();
    this.connectionListener = () => this.updateConnection();
    this.actionFrame = 0;
    this.focusedBefore = null;
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
    root.addEventListener("focusin", ({ target }) => (
      /** @type {Element} */
      target.setAttribute("data-lm-suppress-shortcuts", "true")
    ), { signal });
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
      this.focusedBefore = null;
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
    if (node === void 0) return;
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
    const isBeside = hasOwnTab ? viewport.isLargerBeside(DRAWING_SHARE, this.body.clientHeight, TAB_CARD_HEIGHT) : viewport.height(widgetWidth * DRAWING_SHARE) >= MIN_BESIDE_HEIGHT;
    root.classList.toggle("dynamo-card-beside", isBeside && widgetWidth >= MIN_BESIDE_WIDTH);
  }
  viewportMoved() {
    this.viewState.position = this.viewport.position;
    this.drawing.renderVisible(this.viewport);
    setText(this.toolbar.scale, `${Math.round(this.viewport.position.scale * 100)}%`);
  }
};

// dynamo_nb/notebook/widget/outputs.js
function mountInOutputs(id, render) {
  const selector = `img[src*="${id}"], svg[data-dynamo-output="${id}"]`;
  const mounted = /* @__PURE__ */ new Map();
  const mount = (drawing) => {
    if (mounted.has(drawing)) return;
    const container = create("div", { class: "dynamo-live" });
    drawing.style.display = "none";
    drawing.after(container);
    mounted.set(drawing, { container, close: render(container) });
  };
  const unmount = (drawing) => {
    const { container, close } = mounted.get(drawing);
    mounted.delete(drawing);
    close();
    container.remove();
    drawing.style.display = "";
  };
  const find = (root) => {
    if (root.nodeType !== Node.ELEMENT_NODE) return;
    if (root.matches(selector)) mount(root);
    for (const drawing of root.querySelectorAll(selector)) mount(drawing);
  };
  const observer = new MutationObserver((changes) => {
    for (const drawing of mounted.keys()) if (!drawing.isConnected) unmount(drawing);
    for (const { addedNodes } of changes) for (const node of addedNodes) find(node);
  });
  observer.observe(document, { childList: true, subtree: true });
  find(document.documentElement);
  return () => {
    observer.disconnect();
    for (const drawing of mounted.keys()) unmount(drawing);
  };
}

// dynamo_nb/notebook/widget/widget.js
function widget() {
  const viewState = new ViewState();
  const render = ({ model, el }) => {
    const view = new GraphView(model, viewState, el);
    return () => view.close();
  };
  return {
    initialize: ({ model }) => {
      const disconnect = viewState.connect(model);
      const unmount = mountInOutputs(model.get("output_id"), (el) => render({ model, el }));
      return () => {
        unmount();
        disconnect();
      };
    },
    render
  };
}
export {
  widget as default
};
