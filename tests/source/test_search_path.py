"""Modules in the folders that a notebook adds to `sys.path` are code of the graph."""

from functools import partial

import pytest

from dynamo_nb.source import Cell, slice_modules, slice_services
from dynamo_nb.source.search_path import process_search_path, saved_search_path
from tests.source.kernel_answers import worker_answer

A = "import tools\nclass A:\n    def run(self):\n        return tools.answer()"


@pytest.fixture
def project(tmp_path):
    for path, text in {
        "src/tools.py": "from parts.inner import ANSWER\ndef answer():\n    return ANSWER",
        "src/parts/inner.py": "ANSWER = 42",  # a namespace package
        "src/yaml.py": "never = 1",
        "notebooks/other.py": "",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


ADDITIONS = {
    "append": "import sys\nsys.path.append('../src')",
    "insert": "import sys\nsys.path.insert(0, '../src')",
    "extend": "import sys\nsys.path.extend(['nowhere', '../src'])",
    "an augmented assignment": "import sys\nsys.path += ['../src']",
    "path imported by name": "from sys import path\npath.append('../src')",
    "os.path": "import os, sys\nsys.path.append(os.path.abspath(os.path.join('..', 'src')))",
    "pathlib": "import sys\nfrom pathlib import Path\nsys.path.insert(0, str(Path.cwd().parent / 'src'))",
    "resolve": "import sys, pathlib\nsys.path.insert(0, str(pathlib.Path('../src').resolve()))",
    "under a condition": "import sys\nif '../src' not in sys.path:\n    sys.path.append('../src')",
    "site": "import site\nsite.addsitedir('../src')",
    "with a magic beside it": "%load_ext autoreload\nimport sys\nsys.path.append('../src')",
}


@pytest.mark.parametrize("title", ADDITIONS)
def test_a_saved_notebook(title, project, tmp_path):
    texts, folder = [ADDITIONS[title], A], project / "notebooks"
    cells = [Cell(text, f"cell {n}", n) for n, text in enumerate(texts, start=1)]
    tree = slice_services(cells, ["A"], root=folder, search=saved_search_path(texts, folder))
    assert {"tools.py", "parts/inner.py"} <= {module.path for module in tree.modules}
    assert worker_answer(tree, tmp_path / "worker") == 42


def test_a_running_notebook(project, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(project / "src"))
    cells = [Cell("import json, yaml", "cell 1", 1), Cell(A + ", json, yaml", "cell 2", 2)]
    sliced = partial(slice_services, cells, ["A"], root=project / "notebooks")
    tree = sliced(search=process_search_path())
    assert {m.path for m in tree.modules if not m.path.startswith("cells/")} == {
        "tools.py",
        "parts/inner.py",
        "yaml.py",
    }
    (project / "src/parts/inner.py").write_text("ANSWER = 43")
    assert sliced(search=process_search_path()).digests != tree.digests


def test_an_installed_package_comes_first_if_the_folder_is_added_at_the_end(project):
    cells = [Cell("import yaml\n" + A + ", yaml", "cell 1", 1)]
    path = (*process_search_path(), str(project / "src"))
    tree = slice_services(cells, ["A"], root=project / "notebooks", search=path)
    assert {m.path for m in tree.modules if not m.path.startswith("cells/")} == {"tools.py", "parts/inner.py"}


def test_a_service_in_a_file(project, monkeypatch):
    (project / "notebooks/app.py").write_text(f"import sys\nsys.path.append('../src')\n{A}")
    monkeypatch.syspath_prepend(str(project / "src"))
    tree = slice_modules({"A": "app:A"}, project / "notebooks", process_search_path())
    assert tree.closures["A"] == ("app", "parts.inner", "tools")


def test_without_such_folders_nothing_is_added(project):
    cells = [Cell("import yaml, json, pydantic\nclass A: x = yaml, json, pydantic", "cell 1", 1)]
    tree = slice_services(cells, ["A"], root=project / "notebooks", search=process_search_path())
    assert {m.path for m in tree.modules} == {"cells/__init__.py", "cells/A.py"}
