// The browser's side of LogWidget. The notebook loads the bundle of this module, which `make widget` writes.

import { create } from "./dom.js";
import { LogView } from "./log_view.js";
import { mountInOutputs } from "./outputs.js";

const KERNEL_GONE = "the kernel is gone, run the cell again";

/** anywidget calls this once for each model. */
export default function widget() {
  const render = ({ model, el }) => {
    const view = new LogView({
      nothing: model.get("nothing"), label: model.get("title"),
      stop: () => send(model, { do: "stop" }) || view.end(KERNEL_GONE),
      setAccess: (isOn) => send(model, { do: "access", on: isOn }), isAccess: model.get("access"),
    });
    let next = 0; // number of the line that comes next
    const receive = ({ first, rows }) => {
      if (rows === undefined || first + rows.length <= next) return;
      view.add(rows.slice(Math.max(next - first, 0)));
      next = first + rows.length;
    };
    const end = () => model.get("ended") && view.end(model.get("ended"));
    const setAccess = () => (view.access.checked = model.get("access"));
    model.on("msg:custom", receive);
    model.on("change:ended", end);
    model.on("change:access", setAccess);
    const root = create("div", { class: "dynamo-logs" }, create("div", { class: "dynamo-log-title" }, model.get("title")), view.element);
    // JupyterLab looks for its shortcuts before the widget receives a key, from the element with the focus upwards.
    const suppress = ({ target }) => target.setAttribute("data-lm-suppress-shortcuts", "true");
    root.addEventListener("focusin", suppress);
    root.addEventListener("keydown", (event) => event.stopPropagation());
    el.appendChild(root);
    end();
    if (!send(model, { do: "all" })) view.end(KERNEL_GONE);
    return () => {
      model.off("msg:custom", receive);
      model.off("change:ended", end);
      model.off("change:access", setAccess);
      root.remove();
    };
  };
  return {
    initialize: ({ model }) => mountInOutputs(model.get("output_id"), (el) => render({ model, el })),
    render,
  };
}

/** Sends a message. Returns false if the kernel was restarted: the page still shows the old output then. */
function send(model, message) {
  try {
    model.send(message);
    return true;
  } catch {
    return false;
  }
}
