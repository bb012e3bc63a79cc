"""A bundle is served from another folder, with only its own files."""

import shutil

import pytest

from dynamo_nb.control.record import records
from dynamo_nb.deployment.config_layers import layers_of
from dynamo_nb.deployment.plan_source import FixedProgram
from dynamo_nb.deployment.serve_options import ServeOptions
from dynamo_nb.deployment.start import start
from dynamo_nb.program import find
from dynamo_nb.sdk.portal import on_portal
from dynamo_nb.worker.probe import fault

pytestmark = pytest.mark.slow


async def test_a_bundle_runs_in_another_folder_without_its_source(dynamo_home, hello, tmp_path, monkeypatch):
    folder = hello.export(tmp_path / "bundle", "--Backend.suffix=?")
    moved = tmp_path / "elsewhere" / "bundle"
    shutil.copytree(folder, moved)
    shutil.rmtree(folder)
    shutil.rmtree(hello.folder)
    monkeypatch.chdir(moved.parent)
    assert await fault("alive") == "nothing is being served"
    source = FixedProgram(found=find("bundle"), configs=layers_of([], ["--Backend.ServiceArgs.workers=1"]))
    options = ServeOptions(http_port=0, kernels=False)
    async with await on_portal(lambda: start(source, options)) as deployment:
        assert await deployment.Frontend.generate("hello world") == ["hello?", "world?"]
        assert await fault("alive") == await fault("ready") == ""
        again = deployment.export(tmp_path / "again")
    assert (again / "config.yaml").read_text() == (moved / "config.yaml").read_text().replace(
        "workers: 2", "workers: 1"
    )
    assert list(records()) == []
