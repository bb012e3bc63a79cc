import json
from argparse import ArgumentParser, BooleanOptionalAction

import pytest

from dynamo_nb.errors import ConfigError
from dynamo_nb.sdk.service_config import VARIABLE, ServiceConfig


@pytest.fixture
def configure(monkeypatch):
    return lambda data: monkeypatch.setenv(VARIABLE, data if isinstance(data, str) else json.dumps(data))


def test_the_examples_of_the_document(configure):
    configure({"MyService": {"model_name": "llama", "api_key": "k"}})
    config = ServiceConfig.get_instance()
    assert config.get("MyService", {}).get("model_name", "other") == "llama"
    assert config.get("MyService", {}).get("temperature", 0.7) == 0.7
    assert config.get("Absent", {}).get("temperature", 0.7) == 0.7
    assert config.require("MyService", "api_key") == "k"
    assert config.get("MyService", {}) == {"model_name": "llama", "api_key": "k"}


@pytest.mark.parametrize("service", ["Svc", "Absent"])
def test_require_names_the_missing_key(configure, service):
    configure({"Svc": {}})
    with pytest.raises(ValueError) as caught:
        ServiceConfig.get_instance().require(service, "key")
    assert str(caught.value) == f"{service}.key must be specified in configuration"


def test_it_is_one_object_until_the_variable_changes(configure, monkeypatch):
    configure({"A": {"k": 1}})
    first = ServiceConfig.get_instance()
    assert ServiceConfig.get_instance() is first
    configure({"A": {"k": 2}})
    assert ServiceConfig.get_instance()["A"]["k"] == 2
    monkeypatch.delenv(VARIABLE)
    assert ServiceConfig.get_instance() == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "is not JSON: "), ("[]", "should be a JSON object"), ('{"A": 1}', "A: should be a JSON object")],
)
def test_an_invalid_variable_is_an_error(configure, text, message):
    configure(text)
    with pytest.raises(ConfigError) as caught:
        ServiceConfig.get_instance()
    assert message in str(caught.value)
    assert VARIABLE in str(caught.value)


COMMON = {"model": "m", "block-size": 64, "unused": 1}


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({"common-configs": ["block-size", "model"], "x": 1}, {"block-size": 64, "model": "m", "x": 1}),
        ({"common-configs": ["block-size"], "x": 1, "block-size": 16}, {"x": 1, "block-size": 16}),
        ({"common-configs": ["block-size"], "block_size": 16}, {"block_size": 16}),
        ({"common-configs": ["absent"]}, {}),
        ({}, {}),
    ],
)
def test_common_is_opt_in_and_a_services_own_value_overrides_it(section, expected):
    found = dict(ServiceConfig({"Common": COMMON, "A": section})["A"])
    found.pop("common-configs", None)
    assert list(found.items()) == list(expected.items())


def test_a_mapping_is_merged_over_the_one_in_common():
    config = ServiceConfig({"Common": {"kv": {"a": 1, "b": 1}}, "A": {"common-configs": ["kv"], "kv": {"b": 2}}})
    assert config["A"]["kv"] == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({"model_name": "m", "block-size": 64}, "--model_name m --block-size 64"),
        ({"ServiceArgs": {"workers": 2}, "k": 0.5}, "--k 0.5"),
        ({"common-configs": ["model", "block-size"], "k": 1}, "--model m --block-size 64 --k 1"),
        ({"on": True, "off": False}, "--on"),
        ({"enable_prefix_caching": True}, "--enable_prefix_caching"),
        ({"kv": {"a": [1, True]}}, '--kv|{"a": [1, true]}'),
        ({"k": ["a", 1, True, {"x": None}]}, '--k|a|1|true|{"x": null}'),
        ({"k": None}, ""),
        ({"k": -1}, "--k -1"),
        ({"k": "two words"}, "--k|two words"),
    ],
)
def test_as_args(section, expected):
    separator = "|" if "|" in expected else " "
    found = ServiceConfig({"Common": COMMON, "A": section}).as_args("A")
    assert found == (expected.split(separator) if expected else [])


def test_as_args_of_an_unknown_service_is_empty():
    assert ServiceConfig({}).as_args("Absent") == []


def test_as_args_with_a_prefix_removes_it():
    config = ServiceConfig({"A": {"lib_option1": "value1", "lib_flag2": True, "other": 1, "lib_option3": "value3"}})
    assert config.as_args("A", prefix="lib_") == ["--option1", "value1", "--flag2", "--option3", "value3"]


def parser():
    options = ArgumentParser(add_help=False)
    options.add_argument("--cache-blocks", action=BooleanOptionalAction, default=True)
    options.add_argument("--with_graph", action=BooleanOptionalAction)
    options.add_argument("--verbose", action="store_true")
    options.add_argument("--no-color", action="store_false")
    options.add_argument("--token", nargs="?", const=True)
    options.add_argument("--mode")
    options.add_argument("--parts", nargs="+")
    return options


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({"cache-blocks": False}, "--no-cache-blocks"),
        ({"cache_blocks": False}, "--no-cache-blocks"),
        ({"cache-blocks": True}, "--cache-blocks"),
        ({"no-cache-blocks": True}, "--no-cache-blocks"),
        ({"no-cache-blocks": False}, "--cache-blocks"),
        ({"with_graph": False}, "--no-with_graph"),
        ({"with-graph": False}, "--no-with_graph"),
        ({"verbose": False}, ""),
        ({"verbose": True}, "--verbose"),
        ({"no-color": True}, "--no-color"),
        ({"no-color": False}, ""),
        ({"token": True}, "--token"),
        ({"token": False}, ""),
        ({"mode": False}, "--mode false"),
        ({"mode": True}, "--mode true"),
        ({"parts": False}, "--parts false"),
        ({"cache-blocks": None, "mode": None}, ""),
        ({"unknown": False}, ""),
        ({"unknown": True}, "--unknown"),
        ({"mode.deep": False}, "--mode.deep false"),
        ({"cache_blocks.a.b-c": True}, "--cache_blocks.a.b-c true"),
        ({"unknown.deep": False}, ""),
    ],
    ids=str,
)
@pytest.mark.parametrize("prefix", ["", "lib_"])
def test_the_parser_decides_about_switches(section, expected, prefix):
    config = ServiceConfig({"A": {prefix + key: value for key, value in section.items()}})
    assert config.as_args("A", prefix, parser()) == expected.split()


def test_an_option_with_a_value_gets_the_written_text_of_a_truth_value():
    config = ServiceConfig({"A": {"mode": False, "as-written": {"mode": "off"}}})
    assert config.as_args("A", parser=parser()) == ["--mode", "off"]
