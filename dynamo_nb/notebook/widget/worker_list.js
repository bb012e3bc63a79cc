// The workers of a service: one row for each. A row stays while its values change, so an open log stays open.

import { button, create, setAttribute, setText } from "./dom.js";
import { NO_VALUE, age, bytes, grouped, percent } from "./formats.js";

export class WorkerList {
  /**
   * @param {import("./view_state.js").ViewState} viewState
   * @param {string} service
   */
  constructor(viewState, service) {
    this.viewState = viewState;
    this.service = service;
    this.rows = new Map();
    this.empty = create("p", { class: "dynamo-muted" }, "No worker is running.");
    this.element = create("div", { class: "dynamo-workers" }, this.empty);
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
        const row = this.createRow(worker);
        this.rows.set(id, row);
        this.element.append(row.element);
      }
      this.updateRow(this.rows.get(id), worker);
    }
  }

  createRow({ index }) {
    const { viewState, service } = this;
    const key = `${service} ${index}`;
    const cells = Object.fromEntries(["pid", "GPU", "up", "restarts", "CPU", "memory"].map((label) => [label, create("dd", {})]));
    const log = create("pre", { class: "dynamo-log", tabindex: "0", "aria-label": `Log of ${service} ${index}` });
    const state = create("span", { class: "dynamo-state" });
    const details = create("details", {
      open: viewState.openLogs.has(key),
      ontoggle: () => {
        viewState.openLogs[details.open ? "add" : "delete"](key);
        log.scrollTop = log.scrollHeight;
      },
    }, create("summary", {}, "Log"), log);
    const openConsole = () => viewState.request({ do: "console", service, index }, `Console of ${service} ${index}`);
    const console = button("Console", openConsole, { title: `Copy the line that opens a console in ${service}[${index}]` });
    const element = create("section", { class: "dynamo-worker", "aria-label": `${service} ${index}` },
      create("header", {}, create("b", {}, `[${index}]`), create("i", { class: "dynamo-dot" }), state, console),
      create("dl", {}, ...Object.entries(cells).map(([label, cell]) => create("div", {}, create("dt", {}, label), cell))),
      details);
    return { element, cells, log, state, details };
  }

  updateRow(row, worker) {
    row.started = worker.started;
    setAttribute(row.element, "data-state", worker.state ?? "");
    setText(row.state, worker.state ?? "");
    setText(row.cells.pid, worker.pid == null ? NO_VALUE : String(worker.pid));
    setText(row.cells.GPU, worker.gpus || NO_VALUE);
    setText(row.cells.restarts, grouped(worker.restarts ?? 0));
    setText(row.cells.CPU, percent(worker.cpu));
    setText(row.cells.memory, bytes(worker.memory));
    const lines = (worker.log ?? []).join("\n");
    row.details.hidden = lines === "";
    const isAtEnd = row.log.scrollHeight - row.log.scrollTop - row.log.clientHeight < 24;
    if (row.log.textContent !== lines) {
      row.log.textContent = lines;
      if (isAtEnd) row.log.scrollTop = row.log.scrollHeight;
    }
    this.updateUptime(row);
  }

  updateUptime({ cells, started }) {
    setText(cells.up, started == null ? NO_VALUE : age(Date.now() / 1e3 - started));
  }

  updateUptimes() {
    for (const row of this.rows.values()) this.updateUptime(row);
  }
}
