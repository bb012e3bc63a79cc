"""Saved notebooks, files of projects, and folders of code."""

import json
import os
import py_compile
from pathlib import Path

import pytest

from dynamo_nb.errors import BundleError, SourceError, TargetError
from dynamo_nb.source import Cell, CodeTree, Module, read_notebook, slice_modules, slice_services, verify
from dynamo_nb.source.files import drop_stale_bytecode


def project(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return root


def paths(tree):
    return [module.path for module in tree.modules]


def test_a_saved_notebook_gives_the_same_modules_as_its_run(tmp_path):
    texts = ["from dynamo_nb import service\n", "x = 1", "@service\nclass A:\n    def run(self):\n        return x"]
    cells = [{"cell_type": "markdown", "source": "# hello"}]
    cells += [
        {"cell_type": "code", "source": text.splitlines(keepends=True), "execution_count": None, "id": f"i{n}"}
        for n, text in enumerate(texts)
    ]
    (tmp_path / "n.ipynb").write_text(json.dumps({"cells": cells, "nbformat": 4}))
    found = read_notebook(tmp_path / "n.ipynb")
    assert [(cell.text, cell.label, cell.cell_id) for cell in found] == [
        (text, f"cell {n + 1}", f"i{n}") for n, text in enumerate(texts)
    ]
    assert slice_services(found, ["A"]).targets == {"A": "cells.A:A"}


def test_a_file_that_is_not_a_notebook_is_an_error(tmp_path):
    (tmp_path / "n.ipynb").write_text("x = 1")
    with pytest.raises(TargetError, match="not a Jupyter notebook"):
        read_notebook(tmp_path / "n.ipynb")
    with pytest.raises(TargetError, match="cannot be read"):
        read_notebook(tmp_path / "none.ipynb")


def test_local_imports_are_followed_and_others_are_not(tmp_path):
    files = {
        "pkg/__init__.py": "",
        "pkg/svc.py": "import json\nfrom . import a\nfrom .sub.b import c\nimport top\r\n",
        "pkg/a.py": "",
        "pkg/sub/__init__.py": "",
        "pkg/sub/b.py": "def f():\n    from ..late import x",
        "pkg/late.py": "",
        "pkg/unused.py": "",
        "top.py": "x = 1\r\n",
    }
    root = project(tmp_path, files)
    tree = slice_modules({"S": "pkg.svc:S"}, root)
    assert paths(tree) == [
        "pkg/__init__.py",
        "pkg/a.py",
        "pkg/late.py",
        "pkg/sub/__init__.py",
        "pkg/sub/b.py",
        "pkg/svc.py",
        "top.py",
    ]
    assert tree.targets == {"S": "pkg.svc:S"}
    tree.write(tmp_path / "out")
    assert (tmp_path / "out/top.py").read_bytes() == b"x = 1\r\n"


def test_a_service_has_the_digest_of_its_own_files(tmp_path):
    root = project(tmp_path, {"a.py": "import c", "b.py": "", "c.py": ""})
    before = slice_modules({"A": "a:A", "B": "b:B"}, root)
    project(tmp_path, {"c.py": "x = 1"})
    after = slice_modules({"A": "a:A", "B": "b:B"}, root)
    assert before.closures == {"A": ("a", "c"), "B": ("b",)}
    assert before.digests["A"] != after.digests["A"]
    assert before.digests["B"] == after.digests["B"]


def test_local_files_that_a_service_imports_are_added(tmp_path):
    root = project(tmp_path, {"near.py": "import deep", "deep.py": "", "far.py": "", "dynamo_nb/__init__.py": ""})
    texts = [
        "from dynamo_nb import service\nimport near, far",
        "@service\nclass A:\n    x = near",
        "@service\nclass B:\n    pass",
    ]
    cells = [Cell(text, f"cell {number}") for number, text in enumerate(texts, start=1)]
    tree, bare = slice_services(cells, ["A", "B"], root=root), slice_services(cells, ["A", "B"])
    assert tree.closures == {"A": ("cells", "cells.A", "deep", "near"), "B": ("cells", "cells.B")}
    assert paths(tree) == ["cells/A.py", "cells/B.py", "cells/__init__.py", "deep.py", "near.py"]
    assert (tree.digests["A"] != bare.digests["A"], tree.digests["B"]) == (True, bare.digests["B"])


def test_an_installed_target_needs_no_modules_and_a_missing_one_is_an_error(tmp_path):
    tree = slice_modules({"E": "dynamo_nb.errors:DynamoError"}, tmp_path)
    assert tree.modules == ()
    assert tree.digests["E"].startswith("sha256:")
    with pytest.raises(TargetError, match=r"module 'nowhere_at_all\.x' not found"):
        slice_modules({"E": "nowhere_at_all.x:E"}, tmp_path)


def test_the_error_lists_all_files_that_cannot_be_read(tmp_path):
    root = project(tmp_path, {"a.py": "import b, c", "b.py": "x = ("})
    (root / "c.py").write_bytes(b"\xff")
    with pytest.raises(SourceError) as caught:
        slice_modules({"A": "a:A"}, root)
    assert {problem.path for problem in caught.value.problems} == {"b.py", "c.py"}


TREE = CodeTree(
    (Module("a", "a.py", "x = 1\n"), Module("p.b", "p/b.py", "y = 'é'\r\n")),
    {"A": "a:A"},
    {"A": ("a",)},
    {"A": "sha256:0"},
)


def test_a_tree_is_written_whole_without_temporary_files(tmp_path):
    assert TREE.write(tmp_path / "code") == tmp_path / "code"
    assert (tmp_path / "code/p/b.py").read_bytes() == "y = 'é'\r\n".encode()
    assert TREE.write(tmp_path / "code") == tmp_path / "code"
    assert [path.name for path in tmp_path.iterdir()] == ["code"]


def test_verify_lists_every_altered_file(tmp_path):
    TREE.write(tmp_path / "code")
    verify(tmp_path / "code", TREE.files)
    (tmp_path / "code/a.py").write_text("x = 2\n")
    (tmp_path / "code/p/b.py").unlink()
    with pytest.raises(BundleError, match=r"a\.py is altered, p/b\.py is missing"):
        verify(tmp_path / "code", TREE.files)
    with pytest.raises(BundleError, match=r"a\.py is altered"):
        TREE.write(tmp_path / "code")


def test_trees_can_be_joined_unless_their_texts_differ():
    other = CodeTree((Module("c", "c.py", ""),), {"C": "c:C"}, {"C": ("c",)}, {"C": "sha256:1"})
    assert paths(TREE | other) == ["a.py", "c.py", "p/b.py"]
    assert (TREE | other).targets == {"A": "a:A", "C": "c:C"}
    with pytest.raises(BundleError, match=r"a\.py"):
        TREE | CodeTree((Module("a", "a.py", ""),))


def test_a_quick_edit_of_the_same_size_is_imported_despite_bytecode(tmp_path):
    root = project(tmp_path, {"svc.py": "import part", "part.py": "x = 1", "other.py": "x = 1"})
    compiled = [Path(py_compile.compile(str(root / name))) for name in ("svc.py", "part.py", "other.py")]
    (root / "part.py").write_text("x = 2")
    (root / "other.py").write_text("x = 2")
    for file in (root / "svc.py", *compiled):
        os.utime(file, ns=(2 * 10**9, 2 * 10**9 + 1))
    for file in (root / "part.py", root / "other.py"):
        os.utime(file, ns=(2 * 10**9, 2 * 10**9 + 2))
    os.utime(root / "svc.py", ns=(2 * 10**9, 2 * 10**9))

    drop_stale_bytecode("svc", root)

    assert [file.exists() for file in compiled] == [True, False, True], (
        "only outdated bytecode of files that the service imports"
    )
