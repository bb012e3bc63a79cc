// The card of a service: its load, its errors, its endpoints with a form to call each, its workers, its configuration.

import { CallForm } from "./call_form.js";
import { button, create, definitionList, iconButton, setAttribute, setText } from "./dom.js";
import { ErrorList } from "./error_list.js";
import { LogView } from "./log_view.js";
import { Metrics } from "./metrics.js";
import { RouteList } from "./route_list.js";
import { confirmInPlace } from "./toolbar.js";
import { requestUnlink } from "./unlinking.js";
import { WorkerList } from "./worker_list.js";

/** Milliseconds after which a missing card is explained: the kernel may be busy, or it is gone. */
const CARD_TIMEOUT = 4000;

/** Milliseconds in which further clicks on − and + change the same request. */
const SCALE_DELAY = 400;

/**
 * A tab of the card. `hasContent` and `count` take the trait `card`; a page without content has no tab.
 * @typedef {object} Page
 * @property {HTMLElement} body
 * @property {(content: any) => boolean} hasContent
 * @property {(content: any) => void} show
 * @property {(content: any) => string} [count] The number in its tab.
 * @property {HTMLElement} tab
 * @property {HTMLElement} number
 */

export class ServiceCard {
  // Elements that `build` makes for each service.
  /** @type {HTMLElement} */ state;
  /** @type {HTMLElement} */ note;
  /** @type {HTMLElement} */ desired;
  /** @type {HTMLElement} */ unit;
  /** @type {HTMLElement} */ actions;
  /** @type {HTMLButtonElement} */ removeWorker;
  /** @type {HTMLButtonElement} */ addWorker;
  /** @type {HTMLButtonElement} */ stopButton;
  /** @type {HTMLElement} */ waiting;
  /** @type {HTMLElement} */ tabs;
  /** @type {HTMLElement} */ panel;
  /** @type {HTMLElement} */ overview;
  /** @type {HTMLElement} */ facts;
  /** @type {HTMLElement} */ links;
  /** @type {HTMLElement} */ endpoints;
  /** @type {HTMLElement} */ config;

  /**
   * @param {import("./view_state.js").ViewState} viewState
   * @param {{ close: () => void, select: (name: string) => void }} handlers
   */
  constructor(viewState, handlers) {
    this.viewState = viewState;
    this.handlers = handlers;
    this.element = create("aside", { class: "dynamo-card" });
    this.element.hidden = true;
    this.service = "";
    this.deployment = "";
    /** The latest trait `card` of this service. */
    this.content = {};
    /** Part of the card to the content that it shows, as JSON. */
    this.shownParts = {};
    /** @type {CallForm | null} */
    this.callForm = null;
    /** @type {Record<string, Page>} */
    this.pages = {};
    this.metrics = new Metrics(["cpu", "memory", "restarts"], true);
    this.workers = new WorkerList(viewState, "");
    this.errors = new ErrorList();
    this.lastError = create("button");
    this.routes = new RouteList();
    this.log = new LogView({ nothing: "" });
  }

  /** Shows the card of a service; hides it for "". content: the trait `card`, {} before the kernel has sent it. */
  show(service, content, deployment) {
    const { element } = this;
    element.hidden = service === "";
    if (service === "") return this.clear();
    if (this.service !== service || this.deployment !== deployment) this.build(service, deployment);
    this.waiting.hidden = content.service === service;
    if (content.service !== service) return;
    clearTimeout(this.timeout);
    this.content = content;
    this.updateActions();
    for (const page of Object.values(this.pages)) {
      const hasContent = page.hasContent(content);
      page.tab.hidden = !hasContent;
      if (hasContent) page.show(content);
      if (hasContent && page.count) setText(page.number, page.count(content));
    }
    this.open(this.viewState.tab, false);
  }

  clear() {
    clearTimeout(this.timeout);
    this.service = "";
    this.element.replaceChildren();
  }

  build(service, deployment) {
    this.clear();
    Object.assign(this, { service, deployment, content: {}, callForm: null, shownParts: {}, pages: {} });
    this.state = create("span", { class: "dynamo-state" });
    this.note = create("p", { class: "dynamo-note" });
    this.desired = create("output", { class: "dynamo-desired", "aria-label": "Desired workers" });
    this.unit = create("small", {});
    this.removeWorker = iconButton("minus", "Remove one worker", () => this.scale(-1));
    this.addWorker = iconButton("plus", "Add one worker", () => this.scale(1));
    this.stopButton = button("Stop", () => this.confirmStop());
    this.actions = create("div", { class: "dynamo-row dynamo-actions" },
      create("span", { class: "dynamo-stepper" }, this.removeWorker, create("span", {}, this.desired, this.unit), this.addWorker),
      button("Restart", () => this.viewState.request({ do: "restart", service }, `Restart ${service}`)), this.stopButton);
    this.actions.hidden = true;
    this.waiting = create("p", { class: "dynamo-muted" }, "Waiting for the kernel…");
    this.timeout = setTimeout(
      () => setText(this.waiting, "The kernel does not answer: it is busy, or it is gone."), CARD_TIMEOUT);

    this.overview = create("div");
    this.endpoints = create("div");
    this.workers = new WorkerList(this.viewState, service);
    this.errors = new ErrorList();
    this.lastError = create("button", { type: "button", class: "dynamo-last-error", title: "Show the errors",
                                        onclick: () => this.open("Errors", true) });
    this.lastError.hidden = true;
    this.config = create("div");
    this.routes = new RouteList();
    this.log = new LogView({
      nothing: "no lines: nothing was printed", label: `Log of ${service}`, isAccess: this.viewState.isAccessShown,
      setAccess: (isOn) => {
        this.viewState.isAccessShown = isOn;
        this.viewState.send({ id: 0, do: "access", on: isOn });
      },
    });
    /** @type {Record<string, Omit<Page, "tab" | "number">>} */
    const pages = {
      Overview: { body: this.overview, hasContent: () => true, show: (content) => this.showOverview(content) },
      Errors: { body: this.errors.element, hasContent: ({ errors }) => errors?.length,
                show: ({ errors }) => this.errors.show(errors), count: ({ errors }) => String(errors.length) },
      Endpoints: { body: this.endpoints, hasContent: ({ endpoints }) => endpoints?.length,
                   show: (content) => this.showEndpoints(content), count: ({ endpoints }) => String(endpoints.length) },
      Routes: { body: this.routes.element, hasContent: ({ routes }) => routes?.length,
                show: ({ routes }) => this.routes.show(routes), count: ({ routes }) => String(routes.length) },
      Workers: { body: this.workers.element, hasContent: ({ workers }) => workers !== undefined,
                 show: ({ workers }) => this.workers.show(workers), count: ({ workers }) => String(workers.length) },
      Log: { body: this.log.element, hasContent: ({ log }) => log !== undefined,
             show: ({ log, routes }) => this.showLog(log, routes) },
      Configuration: { body: this.config, hasContent: ({ config }) => config?.length,
                       show: (content) => this.showConfig(content) },
    };
    this.tabs = create("div", { class: "dynamo-tabs", role: "tablist", onkeydown: (event) => this.switchTab(event) });
    this.panel = create("div", { class: "dynamo-panel", role: "tabpanel", tabindex: "0" });
    for (const [name, page] of Object.entries(pages)) {
      const number = create("small", {});
      const tab = create("button", { type: "button", role: "tab", class: "dynamo-tab", onclick: () => this.open(name, true) },
        name, number);
      tab.hidden = page.body.hidden = true;
      this.tabs.append(tab);
      this.panel.append(page.body);
      this.pages[name] = { ...page, tab, number };
    }
    this.metrics = new Metrics(["cpu", "memory", "restarts"], true);
    this.overview.append(this.metrics.element, this.lastError, this.facts = create("div"), this.links = create("div"));
    this.element.setAttribute("aria-label", service);
    this.element.append(
      create("header", { class: "dynamo-header" }, create("i", { class: "dynamo-dot" }), create("h4", { title: service }, service),
        this.state, iconButton("close", "Close  ( Escape )", this.handlers.close)),
      this.note, this.actions, this.tabs, this.waiting, this.panel);
  }

  /** Opens a tab; the first one if the service does not have it. */
  open(name, isChosen) {
    if (isChosen) this.viewState.tab = name;
    const shown = this.pages[name].tab.hidden ? "Overview" : name;
    for (const [each, { tab, body }] of Object.entries(this.pages)) {
      setAttribute(tab, "aria-selected", String(each === shown));
      setAttribute(tab, "tabindex", each === shown ? "0" : "-1");
      body.hidden = each !== shown;
    }
    if (isChosen) this.panel.scrollTop = 0;
    if (isChosen && shown === "Log") this.log.scrollToEnd();
    setAttribute(this.panel, "aria-label", shown);
  }

  switchTab(event) {
    const direction = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!direction) return;
    const names = Object.keys(this.pages).filter((name) => !this.pages[name].tab.hidden);
    const at = names.findIndex((name) => this.pages[name].tab.getAttribute("aria-selected") === "true");
    const next = names[(at + direction + names.length) % names.length];
    this.open(next, true);
    this.pages[next].tab.focus();
    event.preventDefault();
    event.stopPropagation();
  }

  setState({ state = "", note = "" } = {}, load) {
    if (this.service === "") return;
    setAttribute(this.element, "data-state", state);
    setText(this.state, state);
    setText(this.note, note.trim());
    this.note.hidden = note.trim() === "";
    this.metrics.show(load, this.viewState.rates.get(this.service));
    this.metrics.element.hidden = this.deployment === "";
  }

  // --- workers ------------------------------------------------------------------------------------------------------

  /** Shows the number of workers that was requested, or the desired number. */
  updateActions() {
    if (this.service === "" || !this.content.service) return;
    const { requestedWorkers } = this.viewState;
    const { desired } = this.content;
    this.actions.hidden = this.deployment === "" || desired === undefined;
    if (requestedWorkers.get(this.service) === desired) requestedWorkers.delete(this.service);
    const number = requestedWorkers.get(this.service) ?? desired ?? 0;
    setText(this.desired, String(number));
    setText(this.unit, number === 1 ? "worker" : "workers");
    this.desired.classList.toggle("dynamo-pending", number !== desired);
    this.stopButton.disabled = this.removeWorker.disabled = number === 0;
  }

  scale(by) {
    const number = (this.viewState.requestedWorkers.get(this.service) ?? this.content.desired) + by;
    if (number === 0) return this.confirmStop();
    this.viewState.scale(this.service, number, SCALE_DELAY);
    this.updateActions();
  }

  confirmStop() {
    confirmInPlace(this.stopButton, `Stop ${this.service}?`, "Stop", () => {
      this.viewState.scale(this.service, 0, 0);
      this.updateActions();
    });
  }

  // --- pages --------------------------------------------------------------------------------------------------------

  /** True if the content of a part has changed. A part that is being read or typed into is rebuilt only then. */
  hasChanged(part, value) {
    const content = JSON.stringify(value ?? null);
    if (this.shownParts[part] === content) return false;
    this.shownParts[part] = content;
    return true;
  }

  showOverview({ rows = [], links, errors: [last] = [] }) {
    this.lastError.hidden = last === undefined;
    if (last !== undefined) setText(this.lastError, `${last.kind}: ${last.message}`);
    if (this.hasChanged("rows", rows)) this.facts.replaceChildren(definitionList(rows));
    if (!this.hasChanged("links", links)) return;
    const row = (other, isActive, source, target) => create("li", { class: isActive ? "" : "dynamo-inactive" },
      create("button", { type: "button", class: "dynamo-service-name", onclick: () => this.handlers.select(other) }, other),
      isActive ? null : create("small", {}, "not linked"),
      this.linkButton(isActive, source, target));
    const list = (title, links = [], createRow) =>
      links.length ? [create("h5", {}, title), create("ul", { class: "dynamo-links" }, ...links.map(createRow))] : [];
    this.links.replaceChildren(
      ...list("Calls", links?.out, ([target, isActive]) => row(target, isActive, this.service, target)),
      ...list("Called by", links?.in, ([source, isActive]) => row(source, isActive, source, this.service)));
  }

  linkButton(isActive, source, target) {
    const label = isActive ? "Unlink" : "Link";
    const description = `${label} ${source} ${isActive ? "from" : "to"} ${target}`;
    const element = button(label, () => {
      if (isActive) requestUnlink(this.viewState, element, source, target);
      else this.viewState.request({ do: "link", source, target }, description);
    }, { class: "dynamo-button dynamo-subtle", "aria-label": description });
    return element;
  }

  showEndpoints({ endpoints }) {
    if (!this.hasChanged("endpoints", endpoints)) return this.callForm?.update();
    const [choices, form] = [create("div", { class: "dynamo-choices" }), create("div")];
    const choose = (name) => {
      const endpoint = endpoints.find((each) => each.name === name) ?? endpoints[0];
      this.viewState.chosenEndpoint[this.service] = endpoint.name;
      this.callForm = new CallForm(this.viewState, this.service, endpoint, this.deployment !== "");
      choices.replaceChildren(...(endpoints.length < 2 ? [] : endpoints.map((each) =>
        create("button", { type: "button", class: "dynamo-choice", "aria-pressed": String(each === endpoint),
                           onclick: () => choose(each.name) }, each.name))));
      form.replaceChildren(this.callForm.element);
    };
    this.endpoints.replaceChildren(choices, form);
    choose(this.viewState.chosenEndpoint[this.service]);
  }

  showLog(log, routes) {
    this.log.setHasAccess(routes?.length > 0);
    this.log.set(log);
  }

  showConfig({ config }) {
    if (!this.hasChanged("config", config)) return;
    const isDefault = ([, , origin]) => origin === "default";
    const [set, defaults] = [config.filter((row) => !isDefault(row)), config.filter(isDefault)];
    const details = create("details", {
      open: this.viewState.showsDefaults, ontoggle: () => (this.viewState.showsDefaults = details.open),
    }, create("summary", {}, `${defaults.length} with ${defaults.length === 1 ? "its default" : "their defaults"}`),
    configTable(defaults));
    details.hidden = defaults.length === 0;
    this.config.replaceChildren(
      set.length ? configTable(set) : create("p", { class: "dynamo-muted" }, "Nothing is set."), details);
  }

  /** Updates the times that pass while the card is open. */
  updateTimes() {
    if (this.service === "") return;
    this.workers.updateUptimes();
    this.errors.updateTimes();
    this.callForm?.updateTime();
  }

  close() {
    clearTimeout(this.timeout);
  }
}

/** A table of values. A key may be wrapped after its dots and underscores, and not within a word. */
function configTable(rows) {
  const wrappable = (key) => key.split(/(?<=[._])/).flatMap((part) => [part, create("wbr")]);
  return create("table", { class: "dynamo-config" },
    create("thead", {}, create("tr", {}, ...["key", "value", "origin"].map((name) => create("th", { scope: "col" }, name)))),
    create("tbody", {}, ...rows.map(([key, value, origin]) => create("tr", {},
      create("th", { scope: "row" }, ...wrappable(key)), create("td", {}, value), create("td", {}, origin)))));
}
