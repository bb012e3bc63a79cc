import atexit
import os
import re
import time
from dataclasses import dataclass, field

from dynamo_nb import notebook

LOAD = """\
%load_ext dynamo_nb
import os
from collections.abc import AsyncIterator
from dynamo_nb import async_on_start, depends, dynamo_api, dynamo_endpoint, serve, service
"""
BOUND = 60.0
"""Seconds for a cell to start."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class Ran:
    """The outputs of a cell. error: the traceback, as it is shown. name: the error's name, as front ends receive it.
    updates: of the outputs of earlier cells. widgets: the ids of the live graphs, in the order of their drawings.
    """

    ok: bool
    text: str = ""
    error: str = ""
    shown: list[dict] = field(default_factory=list)
    updates: list[dict] = field(default_factory=list)
    widgets: list[str] = field(default_factory=list)
    name: str = ""


class Shell:
    """An IPython shell in this process, without a kernel."""

    def __init__(self):
        from IPython.core.interactiveshell import InteractiveShell
        from traitlets.config import Config

        config = Config()
        config.HistoryManager.hist_file = ":memory:"
        config.InteractiveShell.colors = "nocolor"
        config.InteractiveShell.xmode = "Context"
        self.ip = InteractiveShell.instance(config=config)
        self.ip.show_banner = lambda: None

    def run(self, code, cell_id=None):
        from IPython.utils.capture import capture_output

        with capture_output() as caught:
            result = self.ip.run_cell(code, store_history=True, cell_id=cell_id)
        text, _, error = caught.stdout.partition("-" * 75) if not result.success else (caught.stdout, "", "")
        raised = result.error_in_exec or result.error_before_exec
        if raised is not None and hasattr(raised, "_render_traceback_"):
            text, error = "", text + error
        shown = [output.data for output in caught.outputs if not output.update]
        updates = [output.data for output in caught.outputs if output.update]
        return Ran(result.success, _COLOUR.sub("", text), _COLOUR.sub("", error + caught.stderr), shown, updates)

    def load(self):
        assert self.run(LOAD).ok
        return self

    def plan(self, service):
        from dynamo_nb.notebook.verb_host import NotebookHost

        return NotebookHost(notebook.current()).plan_source(service).plan()

    def close(self):
        notebook.unload(self.ip)
        database = self.ip.history_manager.db
        atexit.unregister(self.ip.atexit_operations)
        self.ip.atexit_operations()
        database.close()
        self.ip.restore_sys_module_state()
        type(self.ip).clear_instance()


class Kernel:
    """A kernel in its own process. Requests have cell ids, as from a front end."""

    def __init__(self, cwd, home, path=None):
        """path: of the notebook, which Jupyter's server tells its kernels."""
        from jupyter_client.manager import KernelManager

        # The sockets are created next to the connection file.
        self.manager = KernelManager(transport="ipc", connection_file=str(home / "notebook.json"))
        environ = {key: value for key, value in os.environ.items() if key != "JPY_SESSION_NAME"}
        self.manager.start_kernel(cwd=str(cwd), env=environ | ({"JPY_SESSION_NAME": str(path)} if path else {}))
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def run(self, code, cell_id=None, deleted=()):
        """Runs a cell. deleted: ids of deleted cells, which JupyterLab sends with its requests."""
        return self._ran(self._ask(code, cell_id, deleted))

    def _ask(self, code, cell_id=None, deleted=()):
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False, "stop_on_error": False}
        metadata = {"cellId": cell_id, "deletedCells": list(deleted)} if cell_id else {}  # as JupyterLab sends it
        if cell_id and cell_id.startswith("vscode-"):
            del metadata["deletedCells"]
        request = self.client.session.msg("execute_request", content, metadata=metadata)
        self.client.shell_channel.send(request)
        return request

    def run_watched(self, code, cell_id, seen):
        """Runs a cell. seen: called with each state that a widget gets, until it has returned True."""
        return self._ran(self._ask(code, cell_id), seen)

    def _ran(self, request, seen=lambda _: True):
        ran = Ran(ok=True)
        watching = True
        while True:
            message = self.client.get_iopub_msg(timeout=60)
            kind, content = message["msg_type"], message["content"]
            if (
                kind == "comm_msg" and content["data"].get("method") == "update"
            ):  # from any thread, with any cell as its parent
                ran.updates.append(content["data"]["state"])
                watching = watching and not seen(content["data"]["state"])
            if message["parent_header"].get("msg_id") != request["header"]["msg_id"]:
                continue
            if kind == "comm_open" and "output_id" in content["data"]["state"]:
                ran.widgets.append(content["comm_id"])
            if kind == "stream":
                ran.text += content["text"]
            elif kind in ("execute_result", "display_data"):
                ran.shown.append(content["data"])
            elif kind == "error":
                ran.error += _COLOUR.sub("", "\n".join(content["traceback"]))
            elif kind == "update_display_data":
                ran.updates.append(content["data"])
            elif kind == "status" and content["execution_state"] == "idle":
                break
        while (reply := self.client.get_shell_msg(timeout=60))["parent_header"]["msg_id"] != request["header"][
            "msg_id"
        ]:
            pass  # left over from `wait_for_ready`
        ran.ok, ran.name = reply["content"]["status"] == "ok", reply["content"].get("ename", "")
        return ran

    def interrupted_after(self, seconds, code, cell_id=None):
        """Runs a cell and interrupts it after a time, wherever it is then. Returns when the cell has ended."""
        request = self._ask(code, cell_id)["header"]["msg_id"]
        time.sleep(seconds)
        self.manager.interrupt_kernel()
        # ipykernel sends no reply if the interrupt meets its own code around the cell. It always reports the end.
        while True:
            message = self.client.get_iopub_msg(timeout=60)
            if (
                message["parent_header"].get("msg_id") == request
                and message["content"].get("execution_state") == "idle"
            ):
                return

    def interrupted_at(self, gate, code):
        """Runs a cell and interrupts it when the file `gate` exists."""
        request = self._ask(code)
        deadline = time.monotonic() + BOUND
        while not gate.exists():
            assert time.monotonic() < deadline, "the cell did not create the file"
            time.sleep(0.02)
        self.manager.interrupt_kernel()
        return self._ran(request)

    def load(self):
        ran = self.run(LOAD)
        assert ran.ok, ran.error
        return self

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel()
