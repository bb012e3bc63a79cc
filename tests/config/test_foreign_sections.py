"""A section about a service that the graph lacks: passed over in a file, an error elsewhere or if it looks misspelt."""

import json

import pytest

from dynamo_nb.config.arguments import arguments_layer
from dynamo_nb.config.effective import resolve
from dynamo_nb.config.layers import env_layer, mapping_layer
from dynamo_nb.config.settings import EffectiveConfig
from dynamo_nb.config.yaml_layer import yaml_layer
from dynamo_nb.errors import ConfigError
from dynamo_nb.sdk import definition_of, service
from dynamo_nb.sdk.service_config import VARIABLE


@service
class Frontend: ...


@service
class VllmWorker: ...


@service
class Worker1: ...


SERVICES = [definition_of(cls) for cls in (Frontend, VllmWorker, Worker1)]
FOREIGN = ["Planner", "PrefillWorker", "VllmDecodeWorker", "Processor", "Router", "Worker2", "Prometheus", "Fronts"]
MISSPELT = ["frontend", "Frontent", "Fronted", "VLLMWorker", "VlmWorker", "Vllm_Worker", "worker1"]


def file_layer(name, folder, monkeypatch):
    file = folder / "config.yaml"
    file.write_text(f"Frontend:\n  ServiceArgs: {{workers: 2}}\n{name}:\n  key: 1\n")
    return yaml_layer(file, "config.yaml"), "config.yaml:4"


def variable_layer(name, folder, monkeypatch):
    monkeypatch.setenv(VARIABLE, json.dumps({"Frontend": {"ServiceArgs": {"workers": 2}}, name: {"key": 1}}))
    return env_layer(), VARIABLE


@pytest.mark.parametrize("layer", [file_layer, variable_layer])
@pytest.mark.parametrize("name", FOREIGN)
def test_a_section_about_another_service_is_reported_and_passed_over(layer, name, tmp_path, monkeypatch):
    found, origin = layer(name, tmp_path, monkeypatch)
    config = resolve(SERVICES, [found])
    line = f"{name}: the graph has no such service, and the section is passed over ({origin})"
    assert config.notes() == [line]
    assert config.table().splitlines()[-1] == line
    assert name not in config.for_workers()
    assert config.services["Frontend"].args.workers == 2
    restored = EffectiveConfig.from_data(json.loads(json.dumps(config.as_data())), lambda name: {})
    assert restored.notes() == [line]


@pytest.mark.parametrize("layer", [file_layer, variable_layer])
@pytest.mark.parametrize("name", MISSPELT)
def test_a_misspelt_name_is_an_error(layer, name, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=f"unknown service '{name}': did you mean"):
        resolve(SERVICES, [layer(name, tmp_path, monkeypatch)[0]])


@pytest.mark.parametrize("name", FOREIGN + MISSPELT)
@pytest.mark.parametrize(
    "layer",
    [
        lambda name: arguments_layer([f"--{name}.key=1"]),
        lambda name: mapping_layer({f"{name}.key": 1}, "serve()"),
        lambda name: yaml_layer(f"{name}:\n  key: 1\n", "cell 3"),
    ],
    ids=["command line", "mapping", "cell"],
)
def test_elsewhere_it_is_an_error(layer, name):
    with pytest.raises(ConfigError, match=f"unknown service '{name}'"):
        resolve(SERVICES, [layer(name)])
