// Creates and changes elements. Text from the kernel enters the page as text, never as markup.

export const SVG = "http://www.w3.org/2000/svg";

/** Icon name to the path of its lines, in a square of 16 by 16. */
const ICONS = {
  search: "M11 11l3 3M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10z",
  path: "M2 8h3M11 8h3M8 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6z",
  minus: "M3 8h10",
  plus: "M3 8h10M8 3v10",
  fit: "M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4",
  help: "M6 6a2 2 0 1 1 3 1.8c-.7.4-1 .8-1 1.7M8 12v.3",
  close: "M4 4l8 8M12 4l-8 8",
  copy: "M6 6h8v8H6zM3 10H2V2h8v1",
  cell: "M2 3h12v5H2zM8 10.5v4M6 12.5h4",
  done: "M3 8.5l3.5 3.5L13 5",
};

/**
 * Creates an HTML element. Attributes named `on…` are listeners. false, null and undefined leave an attribute out.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, any>} [attributes]
 * @param {...(Node | string | null | undefined | false)} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function create(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child != null && child !== false));
  return element;
}

/**
 * Creates an SVG element.
 * @template {keyof SVGElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, string | number>} [attributes]
 * @param {...(Node | string)} children
 * @returns {SVGElementTagNameMap[T]}
 */
export function createSvg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

export function button(label, onclick, attributes = {}) {
  return create("button", { type: "button", class: "dynamo-button", onclick, ...attributes }, label);
}

/** A button with an icon. The label is its accessible name and its tooltip. */
export function iconButton(name, label, onclick, attributes = {}) {
  return create("button",
    { type: "button", class: "dynamo-icon-button", title: label, "aria-label": label, onclick, ...attributes }, icon(name));
}

export function icon(name) {
  return createSvg("svg", { viewBox: "0 0 16 16", width: 16, height: 16, class: "dynamo-icon", "aria-hidden": "true" },
    createSvg("path", { d: ICONS[name] }));
}

/** Sets a text if it differs: an unchanged text causes no layout, and a screen reader does not repeat it. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** A definition list from pairs of label and text. A URL is a link. */
export function definitionList(rows) {
  return create("dl", { class: "dynamo-definitions" },
    ...rows.flatMap(([label, text]) => [create("dt", {}, label), create("dd", {}, /^https?:\/\/\S+$/.test(text) ? link(text) : text)]));
}

/** A link that opens in another tab. Only web pages are linked, never scripts. */
export function link(url, text = url, attributes = {}) {
  if (!/^https?:\/\//.test(url)) return create("span", attributes, text);
  return create("a", { href: url, target: "_blank", rel: "noopener noreferrer", class: "dynamo-link", ...attributes }, text);
}

/** A button that copies a text. text: returns it when the button is used. */
export function copyButton(label, text) {
  let timer = 0;
  const element = iconButton("copy", label, async () => {
    await copyToClipboard(text(), element.parentNode);
    element.replaceChildren(icon("done"));
    clearTimeout(timer);
    timer = setTimeout(() => element.replaceChildren(icon("copy")), 1200);
  });
  return element;
}

/** Copies a text. Returns whether the browser allowed it. */
export async function copyToClipboard(text, parent) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Without https there is no clipboard API, and hubs often use plain http.
    const area = parent.appendChild(create("textarea", { class: "dynamo-visually-hidden" }));
    const focused = activeElement(parent);
    area.value = text;
    area.select();
    const isCopied = document.execCommand("copy");
    area.remove();
    focused?.focus({ preventScroll: true });
    return isCopied;
  }
}

/** The element with the focus, also if the page keeps the widget in a shadow root. */
export function activeElement(element) {
  return element.getRootNode().activeElement ?? null;
}

export function prefersReducedMotion() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}
