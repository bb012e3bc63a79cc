// The page's side of GraphView. Nothing here lays out or fetches: it shows the kernel's SVG, keeps colours and words of
// the states current, and opens the card of a selected service.

const ZOOM = { step: 1.2, least: 0.5, most: 8 };

export default {
  render({ model, el }) {
    const root = make("div", "dynamo-view");
    const stage = root.appendChild(make("div", "dynamo-stage"));
    const card = root.appendChild(make("aside", "dynamo-card"));
    const news = root.appendChild(make("div", "dynamo-news"));
    card.hidden = true;
    news.setAttribute("aria-live", "polite");
    el.appendChild(root);

    const camera = new Camera(stage);
    const node = (name) => stage.querySelector(`[data-service="${CSS.escape(name)}"]`);
    const select = (name) => {
      model.set("selected", name);
      model.save_changes();
    };

    function draw() {
      const svg = parsed(model.get("svg"));
      stage.replaceChildren(svg ?? make("pre", "", model.get("text")));
      camera.look(svg);
      if (svg === null) return;
      svg.setAttribute("role", "group"); // as an image it would hide its nodes from a screen reader
      for (const g of stage.querySelectorAll("[data-service]")) {
        g.setAttribute("tabindex", "0");
        g.setAttribute("role", "button");
      }
      paint();
      mark();
    }

    function paint() {
      const states = model.get("states");
      for (const g of stage.querySelectorAll("[data-service]")) {
        const { state = "", note = "" } = states[g.dataset.service] ?? {};
        const said = [state, note.split(/\s+/).join(" ").trim()].filter(Boolean).join(": ");
        if (g.dataset.state !== state && state === "failed") news.textContent = `${g.dataset.service} ${said}`;
        g.dataset.state = state;
        g.setAttribute("aria-label", [g.dataset.service, said].filter(Boolean).join(", "));
        const words = g.querySelector("text.state");
        if (words !== null) fit(words, said, g);
      }
      tell();
    }

    function mark() {
      const name = model.get("selected");
      for (const g of stage.querySelectorAll("[data-service]")) {
        g.setAttribute("aria-pressed", String(g.dataset.service === name));
      }
      tell();
    }

    function tell() {
      const name = model.get("selected");
      const about = model.get("card");
      card.hidden = about.service === undefined || about.service !== name;
      if (card.hidden) return;
      const close = make("button", "dynamo-close", "×");
      close.setAttribute("aria-label", "Close");
      close.addEventListener("click", () => {
        select("");
        node(name)?.focus();
      });
      const rows = { state: "", note: "", ...Object.fromEntries(about.rows ?? []), ...model.get("states")[name] };
      card.setAttribute("aria-label", name);
      card.replaceChildren(close, make("h4", "", name), table(rows));
    }

    stage.addEventListener("click", ({ target }) => {
      if (camera.dragged) return;
      select(target.closest("[data-service]")?.dataset.service ?? "");
    });
    root.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const name = event.target.closest("[data-service]")?.dataset.service;
      if (event.key === "Escape" && model.get("selected")) {
        const back = node(model.get("selected"));
        select("");
        back?.focus();
      } else if (name !== undefined && (event.key === "Enter" || event.key === " ")) {
        select(name === model.get("selected") ? "" : name);
      } else if (!camera.key(event.key)) {
        return;
      }
      event.preventDefault();
      event.stopPropagation(); // the notebook has a meaning of its own for most keys
    });

    const watched = { "change:svg": draw, "change:text": () => model.get("svg") || draw(), "change:states": paint,
                      "change:card": tell, "change:selected": mark };
    for (const [event, act] of Object.entries(watched)) model.on(event, act);
    draw();
    return () => {
      for (const [event, act] of Object.entries(watched)) model.off(event, act);
    };
  },
};

/** Zoom and pan, by moving the SVG's viewBox. */
class Camera {
  constructor(stage) {
    this.svg = null;
    this.dragged = false;
    let from = null;
    stage.addEventListener("wheel", (event) => {
      // A plain wheel scrolls the notebook, unless the drawing has been clicked into.
      if (this.svg === null || !(event.ctrlKey || event.metaKey || stage.contains(document.activeElement))) return;
      event.preventDefault();
      this.zoom(event.deltaY < 0 ? ZOOM.step : 1 / ZOOM.step, event);
    }, { passive: false });
    stage.addEventListener("pointerdown", (event) => {
      this.dragged = false;
      if (this.svg !== null && event.button === 0) from = { x: event.clientX, y: event.clientY, box: this.box };
    });
    stage.addEventListener("pointermove", (event) => {
      if (from === null) return;
      const [dx, dy] = [event.clientX - from.x, event.clientY - from.y];
      if (!this.dragged && Math.hypot(dx, dy) < 4) return;
      if (!this.dragged) stage.setPointerCapture(event.pointerId);
      this.dragged = true;
      const scale = this.unit();
      this.set({ ...from.box, x: from.box.x - dx * scale, y: from.box.y - dy * scale });
    });
    for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => (from = null));
    stage.addEventListener("dblclick", () => this.home && this.set(this.home));
  }

  /** Takes a new drawing; what was looked at stays in view if the drawing kept its size. */
  look(svg) {
    const home = svg && boxOf(svg);
    const same = home && this.home && home.width === this.home.width && home.height === this.home.height;
    this.svg = svg;
    this.home = home;
    if (svg && same) this.set(this.box);
    else this.box = home;
  }

  unit() {
    const seen = this.svg.getBoundingClientRect();
    return Math.max(this.box.width / (seen.width || 1), this.box.height / (seen.height || 1));
  }

  zoom(factor, at) {
    const { x, y, width, height } = this.box;
    const wanted = Math.min(ZOOM.most, Math.max(ZOOM.least, (this.home.width / width) * factor));
    const ratio = this.home.width / wanted / width;
    const seen = this.svg.getBoundingClientRect();
    const [px, py] = at
      ? [(at.clientX - seen.left) / (seen.width || 1), (at.clientY - seen.top) / (seen.height || 1)]
      : [0.5, 0.5];
    this.set({ x: x + width * px * (1 - ratio), y: y + height * py * (1 - ratio), width: width * ratio, height: height * ratio });
  }

  /** Does what a key stands for; false if it stands for nothing. */
  key(key) {
    if (this.svg === null) return false;
    if (key === "+" || key === "=") this.zoom(ZOOM.step);
    else if (key === "-") this.zoom(1 / ZOOM.step);
    else if (key === "0") this.set(this.home);
    else return false;
    return true;
  }

  set(box) {
    this.box = box;
    this.svg.setAttribute("viewBox", `${box.x} ${box.y} ${box.width} ${box.height}`);
  }
}

function boxOf(svg) {
  const [x, y, width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
  return { x, y, width, height };
}

function parsed(source) {
  const svg = source && new DOMParser().parseFromString(source, "image/svg+xml").documentElement;
  return svg && svg.localName === "svg" ? document.importNode(svg, true) : null;
}

/** Writes words into a card, cut where the card ends. */
function fit(text, words, g) {
  const card = [...g.querySelectorAll(".card")].at(-1);
  const room = Number(card.getAttribute("x")) + Number(card.getAttribute("width")) - Number(text.getAttribute("x")) - 8;
  text.textContent = words;
  for (let end = words.length - 1; end > 0 && text.getComputedTextLength() > room; end--) {
    text.textContent = `${words.slice(0, end)}…`;
  }
}

function table(rows) {
  const body = make("table");
  for (const [label, value] of Object.entries(rows)) {
    if (value === null || value === "") continue;
    const row = body.insertRow();
    const head = row.appendChild(make("th", "", label));
    head.scope = "row";
    const cell = row.insertCell();
    if (Array.isArray(value)) cell.textContent = value.join(", ");
    else if (typeof value === "object") cell.appendChild(table(value));
    else cell.textContent = String(value);
    if (label === "state") cell.className = `dynamo-${value}`;
  }
  return body;
}

function make(tag, name = "", words = "") {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (words) element.textContent = words;
  return element;
}
