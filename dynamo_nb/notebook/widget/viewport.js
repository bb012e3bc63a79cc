// Zooms and pans by the viewBox of the SVG. The drawing itself does not change.

import { prefersReducedMotion } from "./dom.js";

/** `min` is relative to the scale at which the whole drawing fits. */
export const ZOOM = { step: 1.25, max: 4, min: 0.5 };

/** Scale below which small lines cannot be read. A drawing that fits only below it is shown from its entry on. */
export const READABLE_SCALE = 0.6;

/** Scale below which the names of services cannot be read, even as large as their nodes allow. */
const MIN_NAME_SCALE = 0.25;

/** Maximum height of a drawing in an output, in pixels. */
const MAX_HEIGHT = 560;

/** Maximum scale of a drawing that fills a tab. */
const MAX_TAB_SCALE = 1.5;

/** Milliseconds of an animated move. */
const ANIMATION_TIME = 220;

export class Viewport {
  /**
   * @param {HTMLElement} element Holds the SVG.
   * @param {object | null} saved An earlier position.
   * @param {() => void} onMove Called after each move.
   */
  constructor(element, saved, onMove) {
    this.element = element;
    this.onMove = onMove;
    this.svg = null;
    this.bounds = null; // of the whole drawing
    // Left and top of the visible part, and pixels per unit. mode: "initial", "fit" or "manual".
    this.position = { x: 0, y: 0, scale: 1, mode: "initial", ...saved };
    this.size = { width: 0, height: 0 };
    this.widgetWidth = 0; // the viewport is narrower while a card is open beside it
    this.maxHeight = MAX_HEIGHT;
    this.maxScale = 1; // of a drawing that is shown as a whole
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
    if (grown && this.position.mode === "manual") this.position.mode = "initial"; // another graph
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
    const scale = mode === "fit" ? this.scaleToFit(this.size.width, this.size.height || this.maxHeight)
      : this.size.width < this.widgetWidth && besideCard >= READABLE_SCALE ? besideCard : this.initialScale();
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
    this.moveTo({ x, y, scale, mode: "manual" }, event === undefined);
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
}

function boundsOf(svg) {
  const [x, y, width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
  return { x, y, width, height };
}
