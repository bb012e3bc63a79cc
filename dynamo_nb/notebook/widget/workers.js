// The workers of a service: a row for each, kept as they change.

class Workers {
  constructor(desk, service) {
    this.desk = desk;
    this.service = service;
    this.rows = new Map();
    this.empty = make("p", { class: "dynamo-empty" }, "No worker is running.");
    this.element = make("div", { class: "dynamo-workers" }, this.empty);
  }

  show(workers) {
    this.empty.hidden = workers.length > 0;
    const now = new Map(workers.map((worker) => [worker.id ?? worker.index, worker]));
    for (const [id, row] of this.rows) {
      if (now.has(id)) continue;
      row.element.remove();
      this.rows.delete(id);
    }
    for (const [id, worker] of now) {
      if (!this.rows.has(id)) {
        const row = this.make(worker);
        this.rows.set(id, row);
        this.element.append(row.element);
      }
      this.write(this.rows.get(id), worker);
    }
  }

  make({ index }) {
    const { desk, service } = this;
    const open = `${service} ${index}`;
    const cells = Object.fromEntries(["pid", "GPU", "up", "memory"].map((label) => [label, make("dd", {})]));
    const log = make("pre", { class: "dynamo-log", tabindex: "0", "aria-label": `Log of ${service} ${index}` });
    const state = make("span", { class: "dynamo-state" });
    const details = make("details", {
      open: desk.logs.has(open),
      ontoggle: () => {
        desk.logs[details.open ? "add" : "delete"](open);
        log.scrollTop = log.scrollHeight;
      },
    }, make("summary", {}, "Log"), log);
    const console = button("Console", () => desk.ask({ do: "console", service, index }, `Console of ${service} ${index}`),
      { title: `Open a console in ${service}[${index}]` });
    const element = make("section", { class: "dynamo-worker", "aria-label": `${service} ${index}` },
      make("header", {}, make("b", {}, `[${index}]`), make("i", { class: "dynamo-dot" }), state, console),
      make("dl", {}, ...Object.entries(cells).map(([label, cell]) => make("div", {}, make("dt", {}, label), cell))), details);
    return { element, cells, log, state, details };
  }

  write(row, worker) {
    row.started = worker.started;
    put(row.element, "data-state", worker.state ?? "");
    say(row.state, worker.state ?? "");
    say(row.cells.pid, worker.pid == null ? NOTHING : String(worker.pid));
    say(row.cells.GPU, worker.gpus || NOTHING);
    say(row.cells.memory, bytes(worker.memory));
    const lines = (worker.log ?? []).join("\n");
    row.details.hidden = lines === "";
    const low = row.log.scrollHeight - row.log.scrollTop - row.log.clientHeight < 24;
    if (row.log.textContent !== lines) {
      row.log.textContent = lines;
      if (low) row.log.scrollTop = row.log.scrollHeight;
    }
    this.tickOne(row);
  }

  tickOne(row) {
    say(row.cells.up, row.started == null ? NOTHING : age(Date.now() / 1e3 - row.started));
  }

  tick() {
    for (const row of this.rows.values()) this.tickOne(row);
  }
}
