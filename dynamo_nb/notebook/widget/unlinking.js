// Removing a link. While calls are made on it, the user is asked first.

import { rate } from "./formats.js";
import { confirmInPlace } from "./toolbar.js";

/** trigger: the button, in whose place the user is asked. */
export function requestUnlink(viewState, trigger, source, target) {
  const load = viewState.model.get("loads").edges?.[`${source}->${target}`];
  const description = `Unlink ${source} from ${target}`;
  if (!load?.rate && !load?.in_flight) return void viewState.request({ do: "unlink", source, target }, description);
  confirmInPlace(trigger, `${source} calls ${target} ${rate(load.rate)}. Unlink?`, "Unlink",
    () => viewState.request({ do: "unlink", source, target, force: true }, description));
}
