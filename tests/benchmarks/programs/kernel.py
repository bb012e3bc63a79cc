"""A notebook's kernel, asked as a front end asks: with the ids of cells."""

import os
from contextlib import contextmanager

PATIENCE = 120


class Kernel:
    def __init__(self, manager, client):
        self.manager, self.client = manager, client

    @property
    def pid(self):
        return self.manager.provisioner.pid

    def run(self, code, cell_id=None):
        """What the cell printed. Raises RuntimeError with what stands under it in red."""
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False, "stop_on_error": True}
        metadata = {"cellId": cell_id} if cell_id else {}
        request = self.client.session.msg("execute_request", content, metadata=metadata)
        self.client.shell_channel.send(request)
        text = error = ""
        while True:
            message = self.client.get_iopub_msg(timeout=PATIENCE)
            if message["parent_header"].get("msg_id") != request["header"]["msg_id"]:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "stream":
                text += content["text"]
            elif kind == "error":
                error += "\n".join(content["traceback"])
            elif kind == "status" and content["execution_state"] == "idle":
                break
        self.client.get_shell_msg(timeout=PATIENCE)
        if error:
            raise RuntimeError(error)
        return text


@contextmanager
def started_kernel(folder, cwd):
    """A plain ipykernel over Unix sockets in `folder`."""
    from jupyter_client.manager import KernelManager

    os.environ["IPYTHONDIR"] = str(folder)
    manager = KernelManager(transport="ipc", connection_file=str(folder / "notebook.json"))
    manager.start_kernel(cwd=str(cwd))
    try:
        client = manager.blocking_client()
        client.start_channels()
        client.wait_for_ready(timeout=PATIENCE)
        yield Kernel(manager, client)
        client.stop_channels()
    finally:
        manager.shutdown_kernel()
