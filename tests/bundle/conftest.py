import pytest
from exported_programs import LINK, SERVICES, module, notebook


@pytest.fixture(params=["module", "notebook"])
def hello(request, tmp_path):
    """A graph with a service that is not linked, as a module and as the cells of a notebook."""
    folder = tmp_path / "source"
    folder.mkdir()
    if request.param == "module":
        return module(folder, SERVICES + LINK)
    return notebook(folder, *SERVICES.strip().split("\n\n\n"), LINK.strip())


@pytest.fixture
def source(tmp_path):
    """An empty folder for the files of a program."""
    (tmp_path / "source").mkdir()
    return tmp_path / "source"
