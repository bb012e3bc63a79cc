import json

import pytest
from kernel_cells import Cells


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
