// The browser's side of GraphWidget. The notebook loads the bundle of this module, which `make widget` writes.

import { GraphView } from "./graph_view.js";
import { mountInOutputs } from "./outputs.js";
import { ViewState } from "./view_state.js";

/** anywidget calls this once for each model. */
export default function widget() {
  const viewState = new ViewState();
  const render = ({ model, el }) => {
    const view = new GraphView(model, viewState, el);
    return () => view.close();
  };
  return {
    initialize: ({ model }) => {
      const disconnect = viewState.connect(model);
      const unmount = mountInOutputs(model.get("output_id"), (el) => render({ model, el }));
      return () => {
        unmount();
        disconnect();
      };
    },
    render,
  };
}
