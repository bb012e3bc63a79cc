"""Programs to export, each in its own folder."""

import json
from dataclasses import dataclass
from pathlib import Path

from dynamo_nb.bundle import export
from dynamo_nb.deployment.config_layers import layers_of
from dynamo_nb.deployment.plan import Plan
from dynamo_nb.program import find

SERVICES = """
from dynamo_nb import depends, dynamo_api, dynamo_endpoint, service


@service(dynamo={"namespace": "hello"}, workers=2)
class Backend:
    def __init__(self, suffix="-back"):
        self.suffix = suffix

    @dynamo_endpoint()
    async def generate(self, text: str):
        for word in text.split():
            yield word + self.suffix


@service
class Spare:
    @dynamo_endpoint()
    async def generate(self, text: str):
        yield "spare"


@service(dynamo={"namespace": "hello"})
class Frontend:
    backend = depends(Backend)
    spare = depends(Spare)

    @dynamo_endpoint()
    async def generate(self, text: str):
        async for word in self.backend.generate(text):
            yield word

    @dynamo_api()
    async def say(self, text: str) -> list[str]:
        return await self.backend.generate(text)
"""
LINK = "\n\nFrontend.link(Backend)\n"


@dataclass
class WrittenProgram:
    """A program written to its own folder."""

    folder: Path
    target: str

    def plan(self, *words: str, target: str = "") -> Plan:
        return Plan.of(find(target or self.target, self.folder), layers_of([], list(words)))

    def export(self, folder: Path, *words: str) -> Path:
        plan = self.plan(*words)
        return export(plan.spec, plan.code, folder)


def module(folder, text, entry="Frontend") -> WrittenProgram:
    """Writes a program as a module, with a name that no other test has imported."""
    module.count = getattr(module, "count", 0) + 1
    name = f"exported_{module.count}"
    (folder / f"{name}.py").write_text(text)
    return WrittenProgram(folder, f"{name}:{entry}")


def notebook(folder, *cells, entry="Frontend") -> WrittenProgram:
    """Writes a program as a notebook."""
    saved = [
        {"cell_type": "code", "source": cell, "metadata": {}, "outputs": [], "execution_count": n, "id": f"c{n}"}
        for n, cell in enumerate(cells, start=1)
    ]
    content = {"cells": saved, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (folder / "hello.ipynb").write_text(json.dumps(content))
    return WrittenProgram(folder, f"hello.ipynb:{entry}")
