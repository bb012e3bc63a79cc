// Finds the outputs in which a notebook shows a static drawing or log, and shows the live one in their place.
// A saved notebook contains the static one alone, so it is seen wherever no kernel makes it live.

import { create } from "./dom.js";

/**
 * Mounts a view beside each drawing with this id, now and whenever the notebook adds one, and hides the drawing.
 * JupyterLab shows an SVG as an image with a data URL; other front ends insert the SVG into the page. Of HTML, it leaves
 * the class.
 * @param {string} id The id in the attribute `data-dynamo-output` of the drawing, or in the class of the HTML.
 * @param {(el: HTMLElement) => () => void} render Renders a view into an element. Returns the function that closes it.
 * @returns {() => void} Closes all views and shows the drawings again.
 */
export function mountInOutputs(id, render) {
  const selector = `img[src*="${id}"], svg[data-dynamo-output="${id}"], .dynamo-output-${id}`;
  const mounted = new Map(); // drawing -> its live view

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

  // Notebooks detach cells that are scrolled away, and attach them again: the view is then closed, and made anew.
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
