// What outlives a view. A notebook removes views and renders them again as it likes; where a person was, what was typed
// and what is under way belong to the model, so there is one Desk for each.

const HISTORY = 90;
/** Loads kept of each service: 45 s at two a second, as wide as the small curve. */

const ITEMS = 1000;
/** Items of a stream that are kept and shown, the latest ones; the rest is only counted. */

const GONE = "The kernel that drew this has gone. Run the cell again.";

class Desk {
  constructor() {
    // Other pages may show the same model and hear the same answers, so ids must differ from theirs.
    this.last = Math.floor(Math.random() * 2 ** 42) * 1024;
    this.place = String(this.last);
    this.actions = new Map();
    this.latest = null; // the action that the strip tells of
    this.camera = null;
    this.tab = "Overview";
    this.chosen = {}; // service -> endpoint whose form is open
    this.drafts = new Map(); // "service endpoint" -> what was typed
    this.trials = new Map(); // "service endpoint" -> its latest call
    this.logs = new Set(); // "service index" of workers whose log is open
    this.asked = new Map(); // service -> number of workers wanted that the kernel has not told yet
    this.settling = new Map(); // service -> timer of its request
    this.history = new Map();
    this.sought = "";
    this.path = ""; // the service whose path is in focus
    this.edge = ""; // the edge whose card is open
    this.seen = new Set();
    this.listeners = new Set();
  }

  /** Begins to hear answers; gives what ends it. */
  open(model) {
    this.model = model;
    const watched = { "msg:custom": (message) => this.hear(message), "change:loads": () => this.record() };
    for (const [event, act] of Object.entries(watched)) model.on(event, act);
    return () => {
      for (const [event, act] of Object.entries(watched)) model.off(event, act);
      for (const timer of this.settling.values()) clearTimeout(timer);
    };
  }

  /** Sends a request and gives the action that will hold its answers. about: words for who cannot see the code. */
  ask(request, about) {
    const action = { id: ++this.last, request, about, code: "", state: "asked", items: [], count: 0, text: "",
                     value: null, seconds: null, since: performance.now() };
    this.actions.set(action.id, action);
    this.latest = action;
    if (!this.send({ id: action.id, ...request })) this.hear({ id: action.id, error: GONE });
    else this.tell(action);
    return action;
  }

  /** Sends to the kernel; false if it is no more the one that drew this: a page shows what it has after a restart. */
  send(message) {
    try {
      this.model.send(message);
      return true;
    } catch {
      return false;
    }
  }

  cancel(action) {
    this.send({ id: ++this.last, do: "cancel", call: action.id });
  }

  /** Asks for a number of workers, after `wait` milliseconds unless another number is asked for before. */
  scale(service, workers, wait) {
    this.asked.set(service, workers);
    clearTimeout(this.settling.get(service));
    this.settling.set(service, setTimeout(() => {
      this.settling.delete(service);
      this.ask({ do: "scale", service, workers }, `Scale ${service} to ${workers}`);
    }, wait));
  }

  /** Says whether any view of the model can be seen: the kernel measures only then. */
  watch(view, seen) {
    const before = this.seen.size > 0;
    this.seen[seen ? "add" : "delete"](view);
    if (before !== this.seen.size > 0) this.send({ id: ++this.last, do: "watch", visible: !before, page: this.place });
  }

  hear(message) {
    const action = this.actions.get(message?.id);
    if (action === undefined) return;
    if ("code" in message) {
      action.code = message.code;
      action.state = "running";
    }
    if ("item" in message) {
      action.count++;
      action.items.push(message.item);
      if (action.items.length > ITEMS) action.items.shift();
    }
    if ("error" in message) Object.assign(action, { state: "failed", text: message.error });
    else if (message.done) Object.assign(action, { state: "done", value: message.value ?? null, seconds: message.seconds });
    if (over(action)) {
      action.seconds ??= (performance.now() - action.since) / 1e3;
      this.actions.delete(action.id);
      if (action.request.do === "scale" && action.state === "failed") this.asked.delete(action.request.service);
    }
    this.tell(action);
  }

  record() {
    const { services = {} } = this.model.get("loads");
    for (const name of new Set([...this.history.keys(), ...Object.keys(services)])) {
      const past = this.history.get(name) ?? [];
      past.push(services[name]?.rate ?? 0);
      if (past.length > HISTORY) past.shift();
      this.history.set(name, past);
    }
  }

  select(name) {
    if (this.model.get("selected") === name) return;
    this.model.set("selected", name);
    this.model.save_changes();
  }

  tell(action) {
    for (const listener of this.listeners) listener(action);
  }
}

function over(action) {
  return action.state === "done" || action.state === "failed";
}
