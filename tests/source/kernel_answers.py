"""Runs cells as a kernel does, and the modules made of them as a worker does, to compare their answers."""

import importlib
import sys

from dynamo_nb.source import slice_services


def kernel_answer(cells, service="A"):
    namespace = {"__name__": "__main__"}
    for cell in cells:
        exec(compile(cell.text, cell.label, "exec"), namespace)
    return namespace[service]().run()


def worker_answer(tree, folder, service="A"):
    tree.write(folder / "code")
    before = set(sys.modules)
    sys.path.insert(0, str(folder / "code"))
    importlib.invalidate_caches()
    try:
        module, _, name = tree.targets[service].partition(":")
        return getattr(importlib.import_module(module), name)().run()
    finally:
        sys.path.remove(str(folder / "code"))
        for name in set(sys.modules) - before:
            if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(folder)):
                del sys.modules[name]


def both_answers(cells, folder, service="A"):
    """The kernel's answer, the worker's, and the notes."""
    tree = slice_services(cells, [service])
    return kernel_answer(cells, service), worker_answer(tree, folder, service), tree.notes
