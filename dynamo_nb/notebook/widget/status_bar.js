// The line at the bottom: the code of the latest action, and its result. Below it: the edits, to be copied to cells.

import { copyButton, copyToClipboard, create, icon, iconButton, setAttribute, setText } from "./dom.js";
import { duration } from "./formats.js";
import { copyToNewCell } from "./new_cell.js";
import { isFinished } from "./view_state.js";

const NEW_CELL = "Copy to a new cell";

export class StatusBar {
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
    this.line = create("div", { class: "dynamo-status-line" }, this.code, this.outcome, this.cellButton,
      this.copyButton);
    this.line.hidden = this.details.hidden = this.edits.hidden = true;
    this.element = create("div", { class: "dynamo-status-bar" }, this.line, this.details, this.edits,
      this.liveRegion);
  }

  /** Shows the edits with the mouse, each with a button that copies it to a new cell. edits: lines of code, in order. */
  showEdits(edits) {
    const content = JSON.stringify(edits);
    if (content === this.shownEdits) return;
    this.shownEdits = content;
    this.edits.hidden = edits.length < 2; // the line above has a single one
    setText(this.editsTitle, `${edits.length} edits with the mouse`);
    this.editList.replaceChildren(...edits.map((code) => {
      const copy = iconButton("cell", NEW_CELL, () => this.copyToCell(copy, code));
      return create("li", {}, create("code", { class: "dynamo-code" }, code), copy);
    }));
  }

  /** action: a record of the view state, or null. */
  show(action) {
    this.line.hidden = action === null;
    if (action === null) return;
    // A browser cannot open a terminal. It can copy the line that a terminal needs.
    const line = action.request.do === "console" && action.value ? action.value : "";
    const code = line || action.code;
    setText(this.code, code || action.description);
    this.code.title = code;
    this.code.classList.toggle("dynamo-description", !code);
    this.copyButton.hidden = !code;
    this.cellButton.hidden = !action.code || Boolean(line);
    const [failure, ...rest] = action.state === "failed" ? action.error.trim().split("\n") : [""];
    const copied = action.isCopied ? "copied: " : "";
    const done = line ? `${copied}run it in a terminal` : `done in ${duration(action.seconds)}`;
    setText(this.outcome, { sent: "waiting for the kernel…", running: "running…", failed: failure, done }[action.state]);
    setAttribute(this.line, "data-outcome", action.state);
    const isShort = rest.length === 0 && this.outcome.scrollWidth <= this.outcome.clientWidth;
    this.details.hidden = action.state !== "failed" || isShort;
    setText(this.details, this.details.hidden ? "" : action.error.trim());
    if (!this.details.hidden) setText(this.outcome, "failed");
    if (isFinished(action) && this.announcedId !== action.id) {
      this.announcedId = action.id;
      this.announce(`${action.description}: ${action.state === "failed" ? failure : done}`);
      if (line) this.copy(action, line);
    }
  }

  async copy(action, line) {
    action.isCopied = await copyToClipboard(line, this.element);
    if (this.announcedId === action.id) this.show(action);
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

  async copyToCell(button, code) {
    const outcome = await copyToNewCell(code, this.element);
    if (outcome === "cancelled") return;
    if (outcome === "not possible") await copyToClipboard(code, this.element);
    this.showDone(button, "cell", outcome === "added" ? "added a cell" : "copied to the clipboard: this page adds no cells");
  }

  /** Shows for a moment that a button has worked, and has a screen reader say it. */
  showDone(button, name, text) {
    this.announce(text);
    button.replaceChildren(icon("done"));
    button.title = text;
    setTimeout(() => {
      button.replaceChildren(icon(name));
      button.title = button.getAttribute("aria-label");
    }, 1200);
  }
}
