"""Configuration files of the Dynamo SDK's LLM examples, with graphs of the same service names."""

import json

import pytest
import yaml

from dynamo_nb.config.effective import resolve
from dynamo_nb.config.yaml_layer import yaml_layer
from dynamo_nb.program import find
from dynamo_nb.sdk import definition_of, service
from dynamo_nb.sdk.service_config import VARIABLE, ServiceConfig
from tests.config.older_files import FILES, GRAPHS


class Parsing:
    """As upstream's components: the options are those of vLLM's parser, read from the section as arguments."""

    def __init__(self):
        self.arguments = ServiceConfig.get_instance().as_args(type(self).__name__)


@service
class Frontend:
    def __init__(self):
        self.config = dict(**ServiceConfig.get_instance().get("Frontend", {}))


@service
class Processor(Parsing): ...


@service
class Router(Parsing): ...


@service
class VllmWorker(Parsing): ...


@service
class PrefillWorker(Parsing): ...


SERVICES = {
    "agg": [Frontend, Processor, VllmWorker],
    "agg_router": [Frontend, Processor, Router, VllmWorker],
    "disagg": [Frontend, Processor, VllmWorker, PrefillWorker],
    "disagg_router": [Frontend, Processor, Router, VllmWorker, PrefillWorker],
}
OPTIONS = {"ServiceArgs", "common-configs"}
UNREAD = {
    "Frontend": {"endpoint", "endpoint_chat", "endpoint_completions"},
    "Processor": {"block-size", "max-model-len", "router-num-threads"},
    "Router": {"model", "min-workers", "router"},
}
"""Keys of the sections that our services of the same names have no use for: they are marked."""


@pytest.fixture
def layer(tmp_path, request):
    file = tmp_path / "config.yaml"
    file.write_text(FILES[request.getfixturevalue("name")])
    return yaml_layer(file, "config.yaml")


def sections(name, services):
    """What the file says about each service, with its keys of Common; and the sections about other services."""
    data = yaml.safe_load(FILES[name])
    common = data.pop("Common", {})
    found = {}
    for one in services:
        section = data.pop(one, {})
        shared = {key: common[key] for key in section.get("common-configs", ())}
        found[one] = shared | section
    return found, list(data)


@pytest.mark.parametrize("name", FILES)
def test_a_graph_of_the_same_names(name, layer, monkeypatch):
    services = SERVICES[GRAPHS.get(name, name)]
    config = resolve([definition_of(cls) for cls in services], [layer])
    expected, foreign = sections(name, [cls.__name__ for cls in services])
    assert set(foreign) <= {"Planner"}
    passed_over = [f"{one}: the graph has no such service, and the section is passed over" for one in foreign]
    assert [note.partition(" (config.yaml:")[0] for note in config.notes()] == passed_over
    monkeypatch.setenv(VARIABLE, json.dumps(config.for_workers()))
    for cls in services:
        section, found = expected[cls.__name__], config.services[cls.__name__]
        args = section.get("ServiceArgs", {"workers": 1})
        assert found.args.workers == args["workers"]
        assert found.args.resources.gpu == int(args.get("resources", {}).get("gpu", 0))
        written = " ".join(ServiceConfig.get_instance().as_args(cls.__name__))
        for key, value in section.items():
            if key not in OPTIONS and cls is not Frontend:
                text = f"--{key}" if value is True else "" if value is False else f"--{key} {value}"
                assert text in written
    made = Frontend()
    assert made.config["served_model_name"] == expected["Frontend"]["served_model_name"]


@pytest.mark.parametrize("name", FILES)
def test_the_graphs_of_this_package(name, layer, tmp_path):
    graph = find(f"dynamo_nb.llm.graphs.{GRAPHS.get(name, name)}:Frontend", tmp_path).graph
    definitions = list(graph.services.values())
    config = resolve(definitions, [layer])
    expected, _ = sections(name, [one.name for one in definitions])
    marked = {line.split()[0] for line in config.table().splitlines() if " ! nothing in " in line}
    unread = {f"{one}.{key}" for one, section in expected.items() for key in section if key in UNREAD.get(one, ())}
    assert marked == unread
    worker = config.services["VllmWorker"]
    assert worker.args.workers == expected["VllmWorker"]["ServiceArgs"]["workers"]
