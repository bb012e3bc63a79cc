// The line at the bottom: the code of the latest action, and its result.

import { copyButton, create, setAttribute, setText } from "./dom.js";
import { duration } from "./formats.js";
import { isFinished } from "./view_state.js";

export class StatusBar {
  constructor() {
    this.code = create("code", { class: "dynamo-code" });
    this.outcome = create("span", { class: "dynamo-outcome" });
    this.details = create("pre", { class: "dynamo-error-details", tabindex: "0" });
    this.copyButton = copyButton("Copy the code", () => this.code.textContent);
    this.liveRegion = create("div", { class: "dynamo-visually-hidden", "aria-live": "polite" });
    this.line = create("div", { class: "dynamo-status-line" }, this.code, this.outcome, this.copyButton);
    this.line.hidden = this.details.hidden = true;
    this.element = create("div", { class: "dynamo-status-bar" }, this.line, this.details, this.liveRegion);
  }

  /** action: a record of the view state, or null. */
  show(action) {
    this.line.hidden = action === null;
    if (action === null) return;
    setText(this.code, action.code || action.description);
    this.code.title = action.code;
    this.code.classList.toggle("dynamo-description", !action.code);
    this.copyButton.hidden = !action.code;
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
    this.copyButton.hidden = true;
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
}
