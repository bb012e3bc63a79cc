import json
import os
import re
from pathlib import Path

import pytest

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


@pytest.fixture
def new_cells(dynamo_home):
    """Starts a kernel: as for an open notebook, or in a run with these parameters."""
    started = []

    def start(*, run=False, machine="", **parameters):
        folder = dynamo_home / f"n{len(started)}"
        folder.mkdir()
        (folder / "n.ipynb").write_text("{}")
        environment = {"JPY_SESSION_NAME": "somewhere/n.ipynb"}
        if run:
            data = {"notebook": str(folder / "n.ipynb"), "parameters": parameters, "machine": machine}
            (folder / "run.json").write_text(json.dumps(data))
            environment = {"DYNAMO_REGRESS": str(folder)}
        cells = Cells(folder, environment)
        started.append(cells)
        assert not cells.run("from dynamo_nb.regress import expect")
        return cells

    yield start
    for cells in started:
        cells.close()


@pytest.fixture
def cells(new_cells):
    """An open notebook."""
    return new_cells()
