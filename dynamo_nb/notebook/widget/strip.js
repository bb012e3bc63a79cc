// The line at the bottom: the code that does what was just done by hand, and what came of it.

class Strip {
  constructor() {
    this.code = make("code", { class: "dynamo-code" });
    this.outcome = make("span", { class: "dynamo-outcome" });
    this.more = make("pre", { class: "dynamo-more", tabindex: "0" });
    this.copy = tool("copy", "Copy the line", () => this.take());
    this.news = make("div", { class: "dynamo-news", "aria-live": "polite" });
    this.row = make("div", { class: "dynamo-line" }, this.code, this.outcome, this.copy);
    this.row.hidden = this.more.hidden = true;
    this.element = make("div", { class: "dynamo-strip" }, this.row, this.more, this.news);
  }

  show(action) {
    this.row.hidden = action === null;
    if (action === null) return;
    say(this.code, action.code || action.about);
    this.code.title = action.code;
    this.code.classList.toggle("dynamo-about", !action.code);
    this.copy.hidden = !action.code;
    const [first, ...rest] = action.state === "failed" ? action.text.trim().split("\n") : [""];
    const done = `done in ${duration(action.seconds)}`;
    say(this.outcome, { asked: "asking the kernel…", running: "running…", failed: first, done }[action.state]);
    put(this.row, "data-outcome", action.state);
    this.more.hidden = rest.length === 0 && this.outcome.scrollWidth <= this.outcome.clientWidth;
    say(this.more, this.more.hidden ? "" : action.text.trim());
    if (!this.more.hidden) say(this.outcome, "failed");
    if (over(action) && this.last !== action.id) {
      this.last = action.id;
      this.announce(`${action.about}: ${action.state === "failed" ? first : "done"}`);
    }
  }

  /** A hint on what to do next, in the place of the line. */
  hint(words) {
    this.row.hidden = false;
    this.more.hidden = true;
    this.copy.hidden = true;
    say(this.code, words);
    this.code.classList.add("dynamo-about");
    say(this.outcome, "");
    put(this.row, "data-outcome", "asked");
    this.announce(words);
  }

  /** For screen readers: only failures, results of actions, and what to do next. */
  announce(words) {
    say(this.news, words);
  }

  async take() {
    await copied(this.code.textContent, this.element);
    this.copy.replaceChildren(picture("done"));
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.copy.replaceChildren(picture("copy")), 1200);
  }

  close() {
    clearTimeout(this.timer);
  }
}

async function copied(words, near) {
  try {
    await navigator.clipboard.writeText(words);
  } catch {
    // No clipboard without https, and a hub is often plain http.
    const area = near.appendChild(make("textarea", { class: "dynamo-news" }));
    area.value = words;
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}
