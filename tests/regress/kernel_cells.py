"""Cells of a kernel in a process of its own."""

import os
import re
from pathlib import Path

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Cells:
    """A kernel in a folder with a notebook. `run` returns the error of a cell, or "" if it succeeded."""

    def __init__(self, folder, environment):
        from jupyter_client.manager import KernelManager

        self.folder, self.text = Path(folder), ""
        self.manager = KernelManager(transport="ipc", connection_file=str(self.folder / "k.json"))
        self.manager.start_kernel(cwd=str(folder), env=os.environ | environment)
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def run(self, code):
        self.text, errors = "", []

        def output(message):
            if message["msg_type"] == "stream":
                self.text += message["content"]["text"]
            elif message["msg_type"] == "error":
                errors.append(_COLOUR.sub("", "\n".join(message["content"]["traceback"])))

        reply = self.client.execute_interactive(code, output_hook=output, timeout=60)
        assert (reply["content"]["status"] == "error") is bool(errors)
        return "\n".join(errors)

    @property
    def baseline(self):
        path = self.folder / "n.baseline.yaml"
        return path.read_text() if path.exists() else ""

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
