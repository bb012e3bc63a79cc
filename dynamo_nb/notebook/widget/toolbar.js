// The row above the drawing: how the whole does, search, zoom, focus, stop.

const ORDER = ["failed", "starting", "draining", "stopped", "ready"];

class Toolbar {
  /** acts: seek(words), next(), leave(), zoom(factor), fit(), path(), help(), stop(). */
  constructor(acts) {
    this.counts = make("div", { class: "dynamo-counts" });
    this.search = make("input", {
      type: "search", class: "dynamo-search", placeholder: "Search", spellcheck: "false", autocomplete: "off",
      "aria-label": "Search services by name or state", title: "Search by name or state  ( / )",
      oninput: () => acts.seek(this.search.value),
      onkeydown: (event) => {
        if (event.key === "Enter") acts.next(event.shiftKey ? -1 : 1);
        else if (event.key === "Escape" || event.key === "ArrowDown") acts.leave(event.key === "Escape");
        else return;
        event.preventDefault();
        event.stopPropagation();
      },
    });
    this.found = make("span", { class: "dynamo-found" });
    this.path = tool("path", "Focus on the paths through the selected service  ( f )", acts.path, { "aria-pressed": "false" });
    this.scale = make("button", { type: "button", class: "dynamo-tool dynamo-scale", title: "Back to full size", onclick: acts.whole }, "100%");
    this.stop = button("Stop…", () => this.asking(acts.stop), { class: "dynamo-button dynamo-quietly", title: "Stop the deployment" });
    this.about = make("span", { class: "dynamo-deployment" });
    this.stopping = make("span", { class: "dynamo-group dynamo-stopping" }, this.about, this.stop);
    this.element = make("div", { class: "dynamo-toolbar", role: "toolbar", "aria-label": "Graph" },
      make("label", { class: "dynamo-seek" }, picture("search"), this.search, this.found),
      this.counts,
      make("span", { class: "dynamo-group" },
        this.path,
        tool("less", "Zoom out  ( - )", () => acts.zoom(1 / ZOOM.step)), this.scale,
        tool("more", "Zoom in  ( + )", () => acts.zoom(ZOOM.step)),
        tool("fit", "Show all  ( 0 )", acts.fit),
        tool("help", "Keys  ( ? )", acts.help)),
      this.stopping);
    this.acts = acts;
  }

  asking(act) {
    ask(this.stop, "Stop all services?", "Stop", act);
  }

  serve(deployment) {
    this.stopping.hidden = deployment === "";
    say(this.about, deployment);
  }

  count(states) {
    const numbers = {};
    for (const { state } of Object.values(states)) if (state) numbers[state] = (numbers[state] ?? 0) + 1;
    const said = JSON.stringify(numbers);
    if (said === this.said) return;
    this.said = said;
    this.counts.replaceChildren(...ORDER.filter((state) => numbers[state]).map((state) =>
      make("button", { type: "button", class: "dynamo-count", "data-state": state, title: `Find what is ${state}`,
                       onclick: () => this.acts.seek(this.search.value === state ? "" : state) },
        make("i", { class: "dynamo-dot" }), `${numbers[state]} ${state}`)));
  }
}

/** Asks once, in the place of the button, before what cannot be taken back. */
function ask(asking, question, word, act) {
  const end = (sure) => {
    box.replaceWith(asking);
    asking.focus();
    if (sure) act();
  };
  const keep = button("Keep", () => end(false));
  const box = make("span", {
    class: "dynamo-ask", role: "group", "aria-label": question,
    onkeydown: (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      end(false);
    },
  }, make("span", {}, question), button(word, () => end(true), { class: "dynamo-button dynamo-danger" }), keep);
  asking.replaceWith(box);
  keep.focus();
}
