// What must survive when a notebook removes a view and renders it again: the position, what was typed, and the running
// actions. Each model has one ViewState, which all its views share.

import { Connection } from "./connection.js";

/** Rates stored of each service: 45 s at two a second. */
export const HISTORY = 90;

/** Items of a stream that are stored and shown: the latest ones. Earlier ones are only counted. */
export const MAX_ITEMS = 1000;

/** Milliseconds between two reports that this page is open. The kernel sends signs of life to open pages. */
const REPORT_INTERVAL = 30_000;

/** Edits that are listed: the latest ones. */
const MAX_EDITS = 50;

/** Actions that change what is served, as a cell would. */
const EDITS = new Set(["scale", "link", "unlink"]);

const KERNEL_GONE = "The kernel that drew this graph is gone. Run the cell again.";

/**
 * A model of anywidget, as far as the page uses it. Its traits are those of GraphWidget.
 * @typedef {object} Model
 * @property {(trait: string) => any} get
 * @property {(trait: string, value: unknown) => void} set
 * @property {() => void} save_changes
 * @property {(message: object) => void} send
 * @property {(event: string, listener: (...values: any[]) => void) => void} on
 * @property {(event: string, listener: (...values: any[]) => void) => void} off
 */

/**
 * An action that the page requested from the kernel.
 * @typedef {object} Action
 * @property {number} id
 * @property {any} request
 * @property {string} description For users who cannot see the code.
 * @property {string} code The Python that does the same; "" before the kernel has sent it.
 * @property {"sent" | "running" | "failed" | "done"} state
 * @property {string[]} items Of a stream: the latest ones.
 * @property {number} count Of all items.
 * @property {string} error
 * @property {any} value
 * @property {string} picture SVG; "" if there is none.
 * @property {number | null} seconds
 * @property {number} startedAt In milliseconds, of `performance.now()`.
 */

export class ViewState {
  constructor() {
    this.connection = new Connection(() => this.reportPage());
    // Other browser pages may show the same model and receive the same answers, so ids must differ from theirs.
    this.lastId = Math.floor(Math.random() * 2 ** 42) * 1024;
    this.page = String(this.lastId);
    this.running = new Map(); // id -> action that has not finished
    this.latest = null; // the action in the status bar
    this.edits = []; // lines of code that do the same as the user's edits
    this.scaleEdits = new Map(); // service -> the line that scales it
    this.position = null; // of the viewport
    this.tab = "Overview"; // of cards
    this.chosenEndpoint = {}; // service -> endpoint whose form is open
    this.drafts = new Map(); // "service endpoint" -> what was typed into its form
    this.calls = new Map(); // "service endpoint" -> its latest call
    this.isAccessShown = false; // requests over HTTP in the logs of cards
    this.areEventsOpen = false;
    this.openLogs = new Set(); // "service index" of workers
    this.showsDefaults = false; // of the configuration
    this.requestedWorkers = new Map(); // service -> number of workers that the kernel has not reported yet
    this.scaleTimers = new Map(); // service -> timer of its request
    this.rates = new Map(); // service -> its latest rates
    this.searchText = "";
    this.focusedService = ""; // whose paths are highlighted
    this.selectedEdge = "";
    this.visibleViews = new Set();
    this.listeners = new Set(); // called when an action has changed
  }

  /** Starts to receive messages of the model. Returns the function that ends this. */
  connect(model) {
    this.model = model;
    const handlers = { "msg:custom": (message) => this.receive(message), "change:loads": () => this.recordRates() };
    for (const [event, handler] of Object.entries(handlers)) model.on(event, handler);
    const reports = setInterval(() => this.reportPage(), REPORT_INTERVAL);
    this.connection.open();
    return () => {
      clearInterval(reports);
      this.connection.close();
      for (const [event, handler] of Object.entries(handlers)) model.off(event, handler);
      for (const timer of this.scaleTimers.values()) clearTimeout(timer);
    };
  }

  /** Requests an action. Returns the record that its answers change. description: for users who cannot see the code. */
  request(request, description) {
    const action = { id: ++this.lastId, request, description, code: "", state: "sent", items: [], count: 0, error: "",
                     value: null, picture: "", seconds: null, startedAt: performance.now() };
    this.running.set(action.id, action);
    this.latest = action;
    if (!this.send({ id: action.id, ...request })) this.receive({ id: action.id, error: KERNEL_GONE });
    else this.notify();
    return action;
  }

  /** Sends a message. Returns false if the kernel was restarted: the page still shows the old output then. */
  send(message) {
    try {
      this.model.send(message);
      return true;
    } catch {
      return false;
    }
  }

  cancel(action) {
    this.send({ id: ++this.lastId, do: "cancel", call: action.id });
  }

  /** Requests a number of workers after `delay` milliseconds, unless another number is requested before. */
  scale(service, workers, delay) {
    this.requestedWorkers.set(service, workers);
    clearTimeout(this.scaleTimers.get(service));
    this.scaleTimers.set(service, setTimeout(() => {
      this.scaleTimers.delete(service);
      this.request({ do: "scale", service, workers }, `Scale ${service} to ${workers}`);
    }, delay));
  }

  /** Reports to the kernel whether any view is visible: it measures traffic only then. */
  setVisible(view, visible) {
    const before = this.visibleViews.size > 0;
    this.visibleViews[visible ? "add" : "delete"](view);
    if (before !== this.visibleViews.size > 0) this.reportPage();
  }

  /** Reports that this page is open, and whether a view is visible in it. */
  reportPage() {
    this.send({ id: ++this.lastId, do: "watch", visible: this.visibleViews.size > 0, page: this.page });
  }

  receive(message) {
    this.connection.heard();
    const action = this.running.get(message?.id);
    if (action === undefined) return;
    if ("code" in message) {
      action.code = message.code;
      action.state = "running";
    }
    if ("item" in message) {
      action.count++;
      action.items.push(message.item);
      if (action.items.length > MAX_ITEMS) action.items.shift();
    }
    if ("error" in message) Object.assign(action, { state: "failed", error: message.error, picture: message.picture ?? "" });
    else if (message.done) {
      const { value = null, picture = "", seconds } = message;
      Object.assign(action, { state: "done", value, picture, seconds });
    }
    if (isFinished(action)) {
      action.seconds ??= (performance.now() - action.startedAt) / 1e3;
      this.running.delete(action.id);
      if (action.state === "done") this.noteEdit(action);
      if (action.request.do === "scale" && action.state === "failed") this.requestedWorkers.delete(action.request.service);
    }
    this.notify();
  }

  /** Notes an edit that no cell has. Scaling a service again replaces the earlier line. */
  noteEdit({ code, request }) {
    if (!EDITS.has(request.do) || !code) return;
    if (request.do === "scale") {
      this.edits = this.edits.filter((line) => line !== this.scaleEdits.get(request.service));
      this.scaleEdits.set(request.service, code);
    }
    this.edits = [...this.edits, code].slice(-MAX_EDITS);
  }

  recordRates() {
    const { services = {} } = this.model.get("loads");
    for (const name of new Set([...this.rates.keys(), ...Object.keys(services)])) {
      const rates = this.rates.get(name) ?? [];
      rates.push(services[name]?.rate ?? 0);
      if (rates.length > HISTORY) rates.shift();
      this.rates.set(name, rates);
    }
  }

  /** Opens the card of a service; closes it for "". */
  select(name) {
    if (this.model.get("selected") === name) return;
    this.model.set("selected", name);
    this.model.save_changes();
  }

  notify() {
    for (const listener of this.listeners) listener();
  }
}

export function isFinished(action) {
  return action.state === "done" || action.state === "failed";
}
