// The events of the deployment: one line with the latest, which unfolds to a list, the latest first.

import { create, setText } from "./dom.js";
import { clock } from "./formats.js";

export class EventList {
  constructor(viewState) {
    this.shown = 0; // number of the latest event in the list
    this.count = create("small");
    this.latest = create("span", { class: "dynamo-latest-event" });
    this.list = create("ol", { class: "dynamo-event-list", tabindex: "0", "aria-label": "Events" });
    this.element = create("details", {
      class: "dynamo-events", open: viewState.areEventsOpen,
      ontoggle: () => { viewState.areEventsOpen = this.element.open; },
    }, create("summary", {}, create("strong", {}, "Events"), this.count, this.latest), this.list);
    this.element.hidden = true;
  }

  /** events: the trait `events`, the latest last. */
  show(events) {
    this.element.hidden = events.length === 0;
    if (events.length === 0) return;
    const last = events[events.length - 1];
    if (last.number < this.shown) { // another deployment
      this.list.replaceChildren();
      this.shown = 0;
    }
    for (const event of events) if (event.number > this.shown) this.list.prepend(createItem(event));
    while (this.list.children.length > events.length) this.list.lastElementChild?.remove();
    this.shown = last.number;
    setText(this.count, String(last.number));
    setText(this.latest, `${clock(last.at)}  ${last.text}`);
    this.latest.classList.toggle("dynamo-failing", last.bad);
  }
}

function createItem({ at, text, bad, detail }) {
  const content = create("span", { class: bad ? "dynamo-failing" : "" }, text);
  return create("li", {}, create("time", {}, clock(at)),
    detail ? create("details", {}, create("summary", {}, content), create("pre", { tabindex: "0" }, detail)) : content);
}
