import pytest
from exported_programs import LINK, SERVICES, module, notebook


@pytest.fixture(params=["module", "notebook"])
def hello(request, tmp_path):
    """The same graph as a module and as the cells of a notebook, with a service that is not linked."""
    folder = tmp_path / "source"
    folder.mkdir()
    if request.param == "module":
        return module(folder, SERVICES + LINK)
    return notebook(folder, *SERVICES.strip().split("\n\n\n"), LINK.strip())


@pytest.fixture
def source(tmp_path):
    """An empty folder for a program's files."""
    (tmp_path / "source").mkdir()
    return tmp_path / "source"
