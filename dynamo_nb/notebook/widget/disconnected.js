// The notice of a page without its kernel or its deployment: since when, and what to do.

import { create, setText } from "./dom.js";
import { age } from "./formats.js";

export class Disconnected {
  constructor() {
    this.time = create("span", {});
    this.advice = create("span", {});
    this.element = create("div", { class: "dynamo-disconnected", role: "status" },
      create("strong", {}, "Disconnected"), this.time, this.advice);
    this.element.hidden = true;
    this.lastSeen = 0;
  }

  /** lastSeen: milliseconds. advice: text in which code stands between backquotes. */
  show(lastSeen, advice) {
    this.lastSeen = lastSeen;
    this.element.hidden = false;
    this.advice.replaceChildren(...advice.split("`").map((text, at) => (at % 2 ? create("code", {}, text) : text)));
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
}

/** What to do when the kernel is silent. deployment: its id, or "". */
export function adviceForSilence(deployment, isDetached) {
  const busy = "If a cell blocks the kernel, this page comes back by itself.";
  if (deployment === "") return `Run this cell again. ${busy}`;
  if (isDetached) return `The deployment may still run: \`%dynamo attach ${deployment}\` connects to it. ${busy}`;
  return `If the kernel was restarted or has ended, the deployment has stopped: run the cells again. ${busy}`;
}
