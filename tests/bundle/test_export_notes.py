"""`dynamo export` prints the notes about code and configuration, as `dynamo serve` does."""

import json

import pytest

from dynamo_nb.cli.main import run
from dynamo_nb.cli.terminal_host import TerminalHost

SERVICE = """\
from dynamo_nb import dynamo_endpoint, service

{before}
@service
class Backend:
    def __init__(self, size=1):
        self.size = size

    @dynamo_endpoint()
    async def generate(self) -> str:
        return repr({value})
"""
KEYS = "Backend:\n  size: 2\n  sise: 3\nPlanner:\n  environment: local\n"
NOTES = {
    "a key that nothing reads": ("", "1", KEYS, "Backend.sise: nothing in Backend reads 'sise': did you mean 'size'?"),
    "a section about another service": ("", "1", KEYS, "Planner: the graph has no such service"),
    "a value that is another in each worker": ("import time\nnow = time.time()\n", "now", "", "has another value"),
    "a call that may be a change": (
        "from collections import Counter\nn = Counter()\nn.subtract('a')\n",
        "n",
        "",
        "`n.subtract('a')` may change n",
    ),
}


@pytest.mark.parametrize("title", NOTES)
def test_the_notes_are_printed(title, tmp_path, monkeypatch, capsys):
    before, value, config, expected = NOTES[title]
    monkeypatch.chdir(tmp_path)
    cell = {"cell_type": "code", "id": "a", "source": SERVICE.format(before=before, value=value)}
    (tmp_path / "n.ipynb").write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "cells": [cell]}))
    (tmp_path / "config.yaml").write_text(config)
    run(["export", "n.ipynb", "bundle", "-f", "config.yaml"], TerminalHost())
    lines = capsys.readouterr().out.splitlines()
    assert any(expected in line for line in lines), lines
    assert lines[-1] == "wrote bundle"
