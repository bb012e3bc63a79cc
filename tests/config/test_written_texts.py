"""A scalar keeps its text: a `str`, and the parser of a library, get what was written. A `float` gets the number."""

import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Literal

import pytest
import yaml
from pydantic import BaseModel

from dynamo_nb.config.arguments import arguments_layer
from dynamo_nb.config.constructor import constructor_arguments
from dynamo_nb.config.effective import resolve
from dynamo_nb.config.layers import env_layer, layer_data, mapping_layer
from dynamo_nb.config.settings import EffectiveConfig
from dynamo_nb.config.yaml_layer import layer_from, yaml_layer
from dynamo_nb.sdk import definition_of, service
from dynamo_nb.sdk.service_config import VARIABLE, ServiceConfig
from dynamo_nb.source.headers import config_layer


class Model(BaseModel):
    name: str
    size: int = 0


class Priced(BaseModel):
    price: Decimal
    name: str
    rate: float


@service
class Svc:
    def __init__(
        self,
        word="a",
        text: str = "",
        maybe: str | None = None,
        words: list[str] = [],  # noqa: B006
        named: dict[str, str] = {},  # noqa: B006
        model: Model | None = None,
        folder: Path = Path(),
        choice: Literal["2025", "x"] = "x",
        rate: float = 0.0,
        count: int = 0,
        flag: bool = False,
        untyped=None,
        exact: Decimal = Decimal(),
        ratio: Fraction | None = None,
        prices: dict[str, list[Decimal]] | None = None,
        priced: Priced | None = None,
    ):
        self.rest = ServiceConfig.get_instance().as_args("Svc", prefix="lib_")


def of_yaml(key, text, monkeypatch):
    return yaml_layer(f"Svc:\n  {key}: {text}\n", "c.yaml")


def of_cell(key, text, monkeypatch):
    return config_layer(f"%%dynamo_config\nSvc:\n  {key}: {text}\n", "cell 3")


def of_arguments(key, text, monkeypatch):
    return arguments_layer([f"--Svc.{key}={text}"])


def of_variable(key, text, monkeypatch):
    monkeypatch.setenv(VARIABLE, f'{{"Svc": {{"{key}": {text}}}}}')
    return env_layer()


JSON = ["72225e2", "1.10", "1e-5", "1E5", "2025", "0.70", "-0", "1e400", "10000000000000000.0", "true"]
YAML = [
    *JSON,
    *(
        "0123456",
        "0x1F",
        "0b11",
        "1:30",
        "1:30:00.5",
        "1_000",
        "+1",
        "1.",
        ".5",
        "yes",
        "no",
        "on",
        "off",
        "Yes",
        "OFF",
    ),
    *("True", "FALSE", ".inf", ".5e3", "1_0.5", "2024-01-01"),
]
LAYERS = [
    *((of_yaml, text) for text in YAML),
    *((of_cell, text) for text in YAML[-8:]),
    *((of_arguments, text) for text in [*YAML, "NaN", "Infinity", "a"]),
    *((of_variable, text) for text in JSON),
]


def effective(layer):
    return resolve([definition_of(Svc)], [layer])


def in_worker(config):
    """The constructor's arguments in the worker, and its ServiceConfig, from the environment that it gets."""
    data = json.loads(json.dumps(config.for_workers()))
    return constructor_arguments(definition_of(Svc), data), ServiceConfig(data)


def ways(config):
    """The configuration itself, and after each way through a file or another process."""
    yield config
    yield effective(yaml_layer(config.to_yaml(), "bundle"))
    data = json.loads(json.dumps(config.as_data()))
    yield EffectiveConfig.from_data(data, lambda name: config.services[name].arguments())


@pytest.mark.parametrize(("layer", "text"), LAYERS, ids=lambda v: getattr(v, "__name__", v))
def test_a_str_and_a_parser_get_what_was_written(layer, text, monkeypatch):
    for key in ("word", "text", "maybe", "folder"):
        for config in ways(effective(layer(key, text, monkeypatch))):
            expected = Path(text) if key == "folder" else text
            assert config.services["Svc"].arguments() == {key: expected}
            assert in_worker(config)[0] == {key: expected}
    if text in {"true", "True", "FALSE", "yes", "no", "on", "off", "Yes", "OFF"}:
        return  # for a parser these are switches
    for config in ways(effective(layer("lib_tag", text, monkeypatch))):
        assert in_worker(config)[1].as_args("Svc", "lib_") == ["--tag", text]


@pytest.mark.parametrize("layer", [of_yaml, of_arguments, of_variable])
@pytest.mark.parametrize("text", ["[1.10, 72225e2, true]", '{"a": 1.10, "b": 2025}', '{"name": 1e5, "size": 3}'])
def test_texts_within_lists_and_mappings(layer, text, monkeypatch):
    key = "words" if text[0] == "[" else "model" if "name" in text else "named"
    expected = {
        "words": ["1.10", "72225e2", "true"],
        "named": {"a": "1.10", "b": "2025"},
        "model": Model(name="1e5", size=3),
    }[key]
    for config in ways(effective(layer(key, text, monkeypatch))):
        assert config.services["Svc"].arguments() == in_worker(config)[0] == {key: expected}
    if key == "words":
        for config in ways(effective(layer("lib_x", text, monkeypatch))):
            assert in_worker(config)[1].as_args("Svc", "lib_") == ["--x", *expected]


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("rate", "1e-5", 1e-5),
        ("rate", "72225e2", 7222500.0),
        ("count", "1e3", 1000),
        ("count", "0x1F", 31),
        ("flag", "yes", True),
        ("flag", "off", False),
        ("untyped", "1.10", 1.1),
        ("exact", "1.10", Decimal("1.10")),
        ("exact", "0.1000000000000000000001", Decimal("0.1000000000000000000001")),
        ("exact", "1e-30", Decimal("1e-30")),
        ("ratio", "0.1", Fraction(1, 10)),
        ("prices", "{a: [0.10, 2], b: [1e5]}", {"a": [Decimal("0.10"), Decimal(2)], "b": [Decimal("1e5")]}),
        ("priced", "{price: 1.10, name: 1.10, rate: 1.10}", Priced(price=Decimal("1.10"), name="1.10", rate=1.1)),
        ("untyped", "no", False),
    ],
)
def test_other_types_get_the_value(key, text, expected):
    config = effective(of_yaml(key, text, None))
    assert config.services["Svc"].arguments() == in_worker(config)[0] == {key: expected}
    assert type(in_worker(config)[0][key]) is type(expected)
    assert repr(in_worker(config)[0][key]) == repr(expected)


@pytest.mark.parametrize("text", [t for t in YAML if t not in {"1e-5", "1E5", "72225e2", "1e400", ".5e3"}])
def test_readers_of_the_section_get_the_value_of_pyyaml(text):
    (expected,) = yaml.safe_load(f"k: {text}").values()
    found = in_worker(effective(of_yaml("k", text, None)))[1]["Svc"]["k"]
    assert (found, type(found)) == ((text, str) if text == "2024-01-01" else (expected, type(expected)))


def test_the_texts_are_no_key_of_the_section():
    assert set(in_worker(effective(of_yaml("k", "1.10", None)))[1]["Svc"]) == {"ServiceArgs", "k"}


def test_a_higher_layer_overrides_the_text_too():
    config = resolve([definition_of(Svc)], [of_yaml("lib_tag", "1.10", None), mapping_layer({"Svc.lib_tag": 1.1}, "x")])
    assert in_worker(config)[1].as_args("Svc", "lib_") == ["--tag", "1.1"]


def test_a_value_of_common_keeps_its_text():
    low = yaml_layer("Common: {lib_tag: 1.10, lib_b: 1.10}\nSvc: {common-configs: [lib_tag, lib_b], lib_b: 2}", "c")
    assert in_worker(resolve([definition_of(Svc)], [low]))[1].as_args("Svc", "lib_") == ["--tag", "1.10", "--b", "2"]


def test_a_value_that_code_changes_loses_its_old_text():
    config = in_worker(effective(of_yaml("lib_tag", "1.10", None)))[1]
    config["Svc"]["lib_tag"] = 3
    assert config.as_args("Svc", "lib_") == ["--tag", "3"]


@pytest.mark.parametrize("layer", [of_arguments, of_variable])
@pytest.mark.parametrize(
    ("key", "text", "of", "expected"),
    [
        ("ServiceArgs", '{"envs": {"X": 1.10}}', lambda a: a.envs, {"X": "1.10"}),
        ("ServiceArgs", '{"envs": [{"name": "X", "value": 1e5}]}', lambda a: a.envs, {"X": "1e5"}),
        ("ServiceArgs", '{"labels": {"v": 1.0}}', lambda a: a.labels, {"v": "1.0"}),
        ("ServiceArgs", '{"image": 1.10}', lambda a: a.image, "1.10"),
        ("ServiceArgs", '{"dynamo": {"namespace": 72225e2}}', lambda a: a.dynamo.namespace, "72225e2"),
    ],
)
def test_texts_of_service_args(layer, key, text, of, expected, monkeypatch):
    assert of(effective(layer(key, text, monkeypatch)).services["Svc"].args) == expected


def test_a_layer_in_a_snapshot_keeps_its_texts():
    layer = arguments_layer(["--Svc.text=1.10"])
    assert layer_from(json.loads(json.dumps(layer_data(layer)))) == layer


def test_the_table_shows_what_was_written():
    assert effective(of_yaml("lib_tag", "72225e2", None)).table().splitlines()[-1].split()[1] == "72225e2"
