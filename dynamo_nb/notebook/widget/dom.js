// Elements by hand. What comes from the kernel enters the page as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";

const ICONS = {
  search: "M11 11l3 3M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10z",
  path: "M2 8h3M11 8h3M8 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6z",
  less: "M3 8h10",
  more: "M3 8h10M8 3v10",
  fit: "M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4",
  help: "M6 6a2 2 0 1 1 3 1.8c-.7.4-1 .8-1 1.7M8 12v.3",
  close: "M4 4l8 8M12 4l-8 8",
  copy: "M6 6h8v8H6zM3 10H2V2h8v1",
  done: "M3 8.5l3.5 3.5L13 5",
};
/** Lines in a square of 16 by 16. */

/** An element. given: attributes, and listeners as `onclick`; false, null and undefined leave an attribute out. */
function make(tag, given = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child != null && child !== false));
  return element;
}

/** An SVG element. */
function shape(tag, given = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(given)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A button of words. */
function button(words, act, given = {}) {
  return make("button", { type: "button", class: "dynamo-button", onclick: act, ...given }, words);
}

/** A button of an icon; `label` is its name and its tooltip. */
function tool(icon, label, act, given = {}) {
  return make("button", { type: "button", class: "dynamo-tool", title: label, "aria-label": label, onclick: act, ...given },
    picture(icon));
}

function picture(icon) {
  return shape("svg", { viewBox: "0 0 16 16", width: 16, height: 16, class: "dynamo-icon", "aria-hidden": "true" },
    shape("path", { d: ICONS[icon] }));
}

/** Writes the words if they are others: an untouched text costs neither layout nor a reader's attention. */
function say(element, words) {
  if (element.textContent !== words) element.textContent = words;
}

function put(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** A list of label and text as a definition list. */
function facts(rows) {
  return make("dl", { class: "dynamo-facts" },
    ...rows.flatMap(([label, words]) => [make("dt", {}, label), make("dd", {}, words)]));
}

/** The element in focus, also where the page keeps the widget in a shadow root. */
function focused(element) {
  return element.getRootNode().activeElement ?? null;
}

function restful() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}
