// The card of a service: its numbers, its endpoints to try, its workers, its configuration, and what one can do with it.

const PATIENCE = 4000;
/** Milliseconds after which a card that has not come is explained: the kernel may be busy for long, or gone. */

const SETTLE = 400;
/** Milliseconds in which further clicks on − and + join the same request. */

class Card {
  /** acts: close(), select(name). */
  constructor(desk, acts) {
    this.desk = desk;
    this.acts = acts;
    this.element = make("aside", { class: "dynamo-card" });
    this.element.hidden = true;
    this.service = "";
  }

  /** about: the trait `card`; with {} the card is on its way. */
  show(service, about, deployment) {
    const { element } = this;
    element.hidden = service === "";
    if (service === "") return this.clear();
    if (this.service !== service || this.deployment !== deployment) this.build(service, deployment);
    this.waiting.hidden = about.service === service;
    if (about.service !== service) return;
    clearTimeout(this.patience);
    this.about = about;
    this.actions(about);
    for (const [name, page] of Object.entries(this.pages)) {
      const has = page.has(about);
      page.tab.hidden = !has;
      if (has) page.show(about);
      if (has && page.count) say(page.number, page.count(about));
    }
    this.open(this.desk.tab, false);
  }

  clear() {
    clearTimeout(this.patience);
    this.service = "";
    this.element.replaceChildren();
  }

  build(service, deployment) {
    this.clear();
    Object.assign(this, { service, deployment, about: {}, trial: null, said: {} });
    this.state = make("span", { class: "dynamo-state" });
    this.note = make("p", { class: "dynamo-note" });
    this.desired = make("output", { class: "dynamo-desired", "aria-label": "Desired workers" });
    this.less = tool("less", "One worker less", () => this.scale(-1));
    this.more = tool("more", "One worker more", () => this.scale(1));
    this.stopper = button("Stop", () => ask(this.stopper, `Stop ${service}?`, "Stop", () => this.stop()));
    this.buttons = make("div", { class: "dynamo-row dynamo-actions" },
      make("span", { class: "dynamo-stepper" }, this.less, make("span", {}, this.desired, this.unit = make("small", {})), this.more),
      button("Restart", () => this.desk.ask({ do: "restart", service }, `Restart ${service}`)), this.stopper);
    this.buttons.hidden = true;
    this.waiting = make("p", { class: "dynamo-empty" }, "Asking the kernel…");
    this.patience = setTimeout(() => say(this.waiting, "The kernel has not answered: it is busy, or has gone."), PATIENCE);

    this.overview = make("div");
    this.endpoints = make("div");
    this.workers = new Workers(this.desk, service);
    this.config = make("div");
    this.pages = {
      Overview: { body: this.overview, has: () => true, show: (about) => this.showOverview(about) },
      Endpoints: { body: this.endpoints, has: ({ endpoints }) => endpoints?.length, show: (about) => this.showEndpoints(about),
                   count: ({ endpoints }) => String(endpoints.length) },
      Workers: { body: this.workers.element, has: ({ workers }) => workers !== undefined, show: ({ workers }) => this.workers.show(workers),
                 count: ({ workers }) => String(workers.length) },
      Configuration: { body: this.config, has: ({ config }) => config?.length, show: (about) => this.showConfig(about) },
    };
    this.tabs = make("div", { class: "dynamo-tabs", role: "tablist", onkeydown: (event) => this.turn(event) });
    this.panel = make("div", { class: "dynamo-panel", role: "tabpanel", tabindex: "0" });
    for (const [name, page] of Object.entries(this.pages)) {
      page.number = make("small", {});
      page.tab = make("button", { type: "button", role: "tab", class: "dynamo-tab", onclick: () => this.open(name, true) }, name, page.number);
      page.tab.hidden = true;
      page.body.hidden = true;
      this.tabs.append(page.tab);
      this.panel.append(page.body);
    }
    this.metrics = new Metrics("memory", true);
    this.overview.append(this.metrics.element, this.factsBox = make("div"), this.linksBox = make("div"));
    this.element.setAttribute("aria-label", service);
    this.element.append(
      make("header", { class: "dynamo-top" }, make("i", { class: "dynamo-dot" }), make("h4", { title: service }, service), this.state,
        tool("close", "Close  ( Escape )", this.acts.close)),
      this.note, this.buttons, this.tabs, this.waiting, this.panel);
  }

  /** Opens a tab, or the first there is if the service has no such. */
  open(name, chosen) {
    if (chosen) this.desk.tab = name;
    const page = this.pages[name].tab.hidden ? "Overview" : name;
    for (const [each, { tab, body }] of Object.entries(this.pages)) {
      put(tab, "aria-selected", String(each === page));
      put(tab, "tabindex", each === page ? "0" : "-1");
      body.hidden = each !== page;
    }
    if (chosen) this.panel.scrollTop = 0;
    put(this.panel, "aria-label", page);
  }

  turn(event) {
    const way = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!way) return;
    const names = Object.keys(this.pages).filter((name) => !this.pages[name].tab.hidden);
    const at = names.findIndex((name) => this.pages[name].tab.getAttribute("aria-selected") === "true");
    const next = names[(at + way + names.length) % names.length];
    this.open(next, true);
    this.pages[next].tab.focus();
    event.preventDefault();
    event.stopPropagation();
  }

  paint({ state = "", note = "" } = {}, load) {
    if (this.service === "") return;
    put(this.element, "data-state", state);
    say(this.state, state);
    say(this.note, note.trim());
    this.note.hidden = note.trim() === "";
    this.metrics.show(load, this.desk.history.get(this.service));
    this.metrics.element.hidden = this.deployment === "";
  }

  // --- workers ------------------------------------------------------------------------------------------------------

  actions({ desired }) {
    this.buttons.hidden = this.deployment === "" || desired === undefined;
    if (this.desk.asked.get(this.service) === desired) this.desk.asked.delete(this.service);
    const now = this.desk.asked.get(this.service) ?? desired ?? 0;
    say(this.desired, String(now));
    say(this.unit, now === 1 ? "worker" : "workers");
    this.desired.classList.toggle("dynamo-pending", now !== desired);
    this.stopper.disabled = this.less.disabled = now === 0;
  }

  scale(by) {
    const now = (this.desk.asked.get(this.service) ?? this.about.desired) + by;
    if (now === 0) return ask(this.stopper, `Stop ${this.service}?`, "Stop", () => this.stop());
    this.desk.scale(this.service, now, SETTLE);
    this.actions(this.about);
  }

  stop() {
    this.desk.scale(this.service, 0, 0);
    this.actions(this.about);
  }

  // --- pages --------------------------------------------------------------------------------------------------------

  /** Whether a part of the card says something else than before: what a person reads or types in is not rebuilt. */
  other(part, value) {
    const said = JSON.stringify(value ?? null);
    if (this.said[part] === said) return false;
    this.said[part] = said;
    return true;
  }

  showOverview({ rows = [], links }) {
    if (this.other("rows", rows)) this.factsBox.replaceChildren(facts(rows));
    if (!this.other("links", links)) return;
    const { service, desk } = this;
    const row = (other, active, source, target) => make("li", { class: active ? "" : "dynamo-off" },
      make("button", { type: "button", class: "dynamo-name", onclick: () => this.acts.select(other) }, other),
      active ? null : make("small", {}, "not linked"),
      button(active ? "Unlink" : "Link", () => {
        const verb = active ? "unlink" : "link";
        desk.ask({ do: verb, source, target }, `${active ? "Unlink" : "Link"} ${source} ${active ? "from" : "to"} ${target}`);
      }, { class: "dynamo-button dynamo-quietly", "aria-label": `${active ? "Unlink" : "Link"} ${source} to ${target}` }));
    const list = (title, found = [], row) =>
      found.length ? [make("h5", {}, title), make("ul", { class: "dynamo-links" }, ...found.map(row))] : [];
    this.linksBox.replaceChildren(
      ...list("Calls", links?.out, ([target, active]) => row(target, active, service, target)),
      ...list("Called by", links?.in, ([source, active]) => row(source, active, source, service)));
  }

  showEndpoints({ endpoints }) {
    const served = this.deployment !== "";
    if (!this.other("endpoints", endpoints)) return this.trial?.show();
    const pick = (name) => {
      const endpoint = endpoints.find((each) => each.name === name) ?? endpoints[0];
      this.desk.chosen[this.service] = endpoint.name;
      this.trial = new Trial(this.desk, this.service, endpoint, served);
      choices.replaceChildren(...(endpoints.length < 2 ? [] : endpoints.map((each) =>
        make("button", { type: "button", class: "dynamo-choice", "aria-pressed": String(each === endpoint), onclick: () => pick(each.name) }, each.name))));
      place.replaceChildren(this.trial.element);
    };
    const [choices, place] = [make("div", { class: "dynamo-choices" }), make("div")];
    this.endpoints.replaceChildren(choices, place);
    pick(this.desk.chosen[this.service]);
  }

  showConfig({ config }) {
    if (!this.other("config", config)) return;
    this.config.replaceChildren(make("table", { class: "dynamo-config" },
      make("thead", {}, make("tr", {}, ...["key", "value", "from"].map((name) => make("th", { scope: "col" }, name)))),
      make("tbody", {}, ...config.map(([key, value, origin]) =>
        make("tr", {}, make("th", { scope: "row" }, key), make("td", {}, value), make("td", {}, origin))))));
  }

  tick() {
    if (this.service === "") return;
    this.workers.tick();
    this.trial?.tick();
  }

  close() {
    clearTimeout(this.patience);
  }
}

/** Numbers in a grid that keeps its places, and a curve of the calls. */
class Metrics {
  constructor(last, curve = false) {
    this.cells = ["rate", "p50", "p99", "in_flight", "errors", last].map((key) => {
      const value = make("dd", {});
      const [, label, words] = MEASURES.find(([name]) => name === key);
      return { key, value, words, element: make("div", {}, make("dt", {}, label), value) };
    });
    this.line = shape("polyline", { points: "" });
    this.curve = shape("svg", { class: "dynamo-curve", viewBox: "0 0 90 20", preserveAspectRatio: "none", "aria-hidden": "true" }, this.line);
    this.element = make("div", { class: "dynamo-metrics" }, make("dl", {}, ...this.cells.map((cell) => cell.element)), curve ? this.curve : null);
  }

  show(load, past) {
    for (const { key, value, words } of this.cells) {
      say(value, load ? words(load) : NOTHING);
      value.classList.toggle("dynamo-failing", key === "errors" && load?.errors > 0);
    }
    if (!past) return;
    const top = Math.max(...past, 1);
    put(this.line, "points", past.map((n, i) => `${i + HISTORY - past.length},${(19 - (18 * n) / top).toFixed(1)}`).join(" "));
  }
}
