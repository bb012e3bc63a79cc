import sys
from pathlib import Path

import pytest

from dynamo_nb.deployment import Recipe, layers_of, on_portal, serving_options, start
from dynamo_nb.program import find
from dynamo_nb.sdk.call import Pending


class Project:
    """A folder of modules and configuration, as a person has one, and the ways to serve it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, *parts: str) -> None:
        (self.folder / name).write_text("\n\n".join(parts))

    def recipe(self, target, *files, args=(), namespace=None):
        layers = layers_of([self.folder / file for file in files], args)
        return Recipe(lambda: find(target, self.folder), lambda: layers, namespace)

    def config(self, target, *files, args=()):
        return self.recipe(target, *files, args=args).plan().config

    def serve(self, target, *files, args=(), namespace=None):
        recipe = self.recipe(target, *files, args=args, namespace=namespace)
        options = serving_options(nats=None, host=None, http_host=None, http_port=0, kernels=False)
        return Pending(lambda: on_portal(lambda: start(recipe, options)))


@pytest.fixture
def project(tmp_path, dynamo_home, monkeypatch):
    """A fresh project; what it imports into this process is forgotten afterwards."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield Project(tmp_path)
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def worker_log(dynamo_home):
    """Opens the log of a worker, to be read also after the deployment and its folder are gone."""
    opened = []

    def open_log(worker):
        opened.append(next(dynamo_home.glob(f"*/logs/{worker}.log")).open())
        return opened[-1]

    yield open_log
    for log in opened:
        log.close()
