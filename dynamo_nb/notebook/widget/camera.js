// Zoom and pan, by the SVG's viewBox: nothing of the drawing changes.

const ZOOM = { step: 1.25, most: 4, least: 0.5 }; // `least` is of the scale that fits all
const LEGIBLE = 0.6;
/** Scale below which small lines cannot be read: a drawing that fits only below it is shown from its entry on. */
const TALLEST = 560;
/** Height in pixels that a drawing takes at most. */
const GLIDE = 220;
/** Milliseconds of a move that the person did not make with the hand. */

class Camera {
  /** moved: called after each move. */
  constructor(stage, memory, moved) {
    this.stage = stage;
    this.moved = moved;
    this.svg = null;
    this.home = null; // the drawing's own box
    this.at = { x: 0, y: 0, scale: 1, mode: "home", ...memory }; // left, top, pixels per unit
    this.room = { width: 0, height: 0 };
    this.whole = 0; // width of the widget; the stage is narrower while a card stands beside it
    this.frame = 0;
  }

  /** Takes a new drawing; what is looked at stays. entry: the height at which it begins. */
  look(svg, entry) {
    const before = this.home;
    this.svg = svg;
    this.entry = entry;
    this.home = svg && boxOf(svg);
    if (svg === null) return;
    if (before && this.at.mode === "own" && this.home.width * this.home.height > 4 * before.width * before.height) {
      this.at.mode = "home"; // another graph altogether
    }
    this.arrange();
  }

  /** The widget or the stage has another size. Gives whether anything moved. */
  resize(whole, width, height) {
    if (this.whole === whole && this.room.width === width && this.room.height === height) return false;
    this.whole = whole;
    this.room = { width, height };
    this.arrange();
    return true;
  }

  /** Height that the drawing needs at most, in pixels, for the widget's width. */
  tall() {
    return Math.min(TALLEST, Math.ceil(this.home.height * this.first()));
  }

  /** The scale to begin with: all of it if that can be read, else its width as far as that can be read. */
  first() {
    const all = this.fitting(this.whole, TALLEST);
    return all >= LEGIBLE ? all : Math.max(LEGIBLE, this.fitting(this.whole, Infinity));
  }

  fitting(width, height) {
    return Math.min(1, (width || this.home.width) / this.home.width, height / this.home.height);
  }

  arrange() {
    if (this.svg === null) return;
    if (this.at.mode === "own") this.show();
    else this.fit(this.at.mode, false);
  }

  /**
   * Shows all of it. mode: "fit" for as small as it takes, "home" for only as small as can be read: beside a card a
   * drawing is then cut off rather than shrunk.
   */
  fit(mode = "fit", smooth = true) {
    const { x, y, height } = this.home;
    const beside = this.fitting(this.room.width, TALLEST);
    const scale = mode === "fit" ? this.fitting(this.room.width, this.room.height || TALLEST)
      : this.room.width < this.whole && beside >= LEGIBLE ? beside : this.first();
    const seen = this.tall() / scale;
    const cut = mode === "home" && seen < height - 1;
    this.go({ x, y: cut ? Math.min(Math.max(y, this.entry - seen / 2), y + height - seen) : y, scale, mode }, smooth);
  }

  /** Moves as little as brings a box into view; to the middle and to a readable scale if it cannot be read from here. */
  reveal(box, { readable = 0, smooth = true } = {}) {
    const { width, height } = this.room;
    if (!width || this.svg === null) return;
    const edge = 24;
    if (this.at.scale < readable) {
      const scale = Math.min(1, width / (box.width + 2 * edge), height / (box.height + 2 * edge));
      return this.centre(box, scale, smooth);
    }
    const seen = { width: width / this.at.scale, height: height / this.at.scale };
    const pad = edge / this.at.scale;
    const along = (from, length, low, size) => {
      if (size + 2 * pad >= length) return low + size / 2 - length / 2;
      return Math.min(Math.max(from, low + size + pad - length), low - pad);
    };
    const inside = (from, length, low, size) => low >= from && low + size <= from + length;
    const x = inside(this.at.x, seen.width, box.x, box.width) ? this.at.x : along(this.at.x, seen.width, box.x, box.width);
    const y = inside(this.at.y, seen.height, box.y, box.height) ? this.at.y : along(this.at.y, seen.height, box.y, box.height);
    if (x !== this.at.x || y !== this.at.y) this.go({ ...this.at, x, y }, smooth);
  }

  centre(box, scale, smooth = true) {
    const { width, height } = this.room;
    const x = box.x + box.width / 2 - width / scale / 2;
    const y = box.y + box.height / 2 - height / scale / 2;
    this.go({ x, y, scale, mode: "own" }, smooth);
  }

  /** at: a point of the screen that stays where it is; the middle of the stage if missing. */
  zoom(factor, at) {
    if (this.svg === null) return;
    const least = Math.min(this.at.scale, this.fitting(this.whole, TALLEST) * ZOOM.least);
    const scale = Math.min(ZOOM.most, Math.max(least, this.at.scale * factor));
    const seen = this.stage.getBoundingClientRect();
    const [px, py] = at ? [at.clientX - seen.left, at.clientY - seen.top] : [this.room.width / 2, this.room.height / 2];
    const x = this.at.x + px / this.at.scale - px / scale;
    const y = this.at.y + py / this.at.scale - py / scale;
    this.go({ x, y, scale, mode: "own" }, at === undefined);
  }

  pan(dx, dy) {
    this.go({ ...this.at, x: this.at.x - dx / this.at.scale, y: this.at.y - dy / this.at.scale, mode: "own" }, false);
  }

  /** A point of the screen in units of the drawing. */
  point({ clientX, clientY }) {
    const seen = this.stage.getBoundingClientRect();
    return [this.at.x + (clientX - seen.left) / this.at.scale, this.at.y + (clientY - seen.top) / this.at.scale];
  }

  /** A point of the drawing in pixels of the stage. */
  place([x, y]) {
    return [(x - this.at.x) * this.at.scale, (y - this.at.y) * this.at.scale];
  }

  go(to, smooth) {
    cancelAnimationFrame(this.frame);
    const from = { ...this.at };
    if (!smooth || restful() || document.hidden || !this.room.width) {
      Object.assign(this.at, to);
      return this.show();
    }
    const begin = performance.now();
    const step = (now) => {
      const t = Math.min(1, Math.max(0, (now - begin) / GLIDE));
      const eased = 1 - (1 - t) ** 3;
      for (const key of ["x", "y", "scale"]) this.at[key] = from[key] + (to[key] - from[key]) * eased;
      this.at.mode = to.mode;
      this.show();
      if (t < 1) this.frame = requestAnimationFrame(step);
    };
    this.frame = requestAnimationFrame(step);
  }

  show() {
    const { x, y, scale } = this.at;
    const { width, height } = this.room.width ? this.room : this.home;
    this.svg.setAttribute("viewBox", [x, y, width / scale, height / scale].map((n) => n.toFixed(2)).join(" "));
    this.moved();
  }

  close() {
    cancelAnimationFrame(this.frame);
  }
}

function boxOf(svg) {
  const [x, y, width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
  return { x, y, width, height };
}
