// The browser's side of GraphWidget. The notebook loads the bundle of this module, which `make widget` writes.

import { GraphView } from "./graph_view.js";
import { ViewState } from "./view_state.js";

/** anywidget calls this once for each model. */
export default function widget() {
  const viewState = new ViewState();
  return {
    initialize: ({ model }) => viewState.connect(model),
    render: ({ model, el }) => {
      const view = new GraphView(model, viewState, el);
      return () => view.close();
    },
  };
}
