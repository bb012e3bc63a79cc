// Copies code to a new cell of the notebook.

import { create } from "./dom.js";

/** Frames in which JupyterLab runs a command, and shows a new cell. */
const FRAMES = 60;

/**
 * Adds a cell with this code below the cell that contains an element.
 *
 * JupyterLab and Notebook run the command that a clicked element names in `data-commandlinker-command`. Newer versions
 * ask the user first.
 * @param {string} code
 * @param {HTMLElement} parent Part of the page.
 * @returns {Promise<"added" | "cancelled" | "not possible">}
 */
export async function copyToNewCell(code, parent) {
  const notebook = parent.closest(".jp-Notebook");
  const ownCell = parent.closest(".jp-Cell");
  if (!notebook || !ownCell) return "not possible";
  const newEditor = () => {
    const active = notebook.querySelector(".jp-Cell.jp-mod-active");
    const editor = active === ownCell ? null : active?.querySelector(".cm-content");
    return editor instanceof HTMLElement ? editor : null;
  };
  if (newEditor()) return "not possible"; // another cell is active, so the new one would not be below this one
  await nextFrame(); // until the click has ended, which makes its own cell the active one
  runCommand("notebook:insert-cell-below", parent);
  const asks = await inFrames(() => newEditor() || document.querySelector(".jp-Dialog"));
  while (document.querySelector(".jp-Dialog")) await nextFrame();
  if (!await inFrames(newEditor)) return asks ? "cancelled" : "not possible";
  await nextFrame(); // until the editor is in the page
  await nextFrame();
  const editor = newEditor();
  if (!editor || editor.textContent.trim() !== "") return "not possible";
  const clipboardData = new DataTransfer();
  clipboardData.setData("text/plain", code);
  editor.focus();
  editor.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
  return await inFrames(() => editor.textContent.trim() !== "") ? "added" : "not possible";
}

function runCommand(command, parent) {
  const link = create("span", { hidden: true, "data-commandlinker-command": command });
  parent.append(link);
  link.click();
  link.remove();
}

function nextFrame() {
  return new Promise(requestAnimationFrame);
}

/** Returns the value of a function once it is true, or null if it is false for too many frames. */
async function inFrames(find) {
  for (let frame = 0; frame < FRAMES; frame++) {
    const found = find();
    if (found) return found;
    await nextFrame();
  }
  return null;
}
