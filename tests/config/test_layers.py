import datetime as dt
import decimal
import json
from enum import Enum
from pathlib import Path

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamo_nb.config.arguments import arguments_layer
from dynamo_nb.config.layers import env_layer, leaves, mapping_layer, merged, plain
from dynamo_nb.config.yaml_layer import to_yaml, yaml_layer
from dynamo_nb.errors import ConfigError


def origins(layer):
    return {".".join(path): value.origin for path, value in leaves(layer.values)}


# --- mapping and environment


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        ({"A.k": 1, "A.n.m": 2}, {"A": {"k": 1, "n": {"m": 2}}}),
        ({"A": {"k": 1}, "A.l": 2}, {"A": {"k": 1, "l": 2}}),
        ({"A": {"ServiceArgs.workers": 4}}, {"A": {"ServiceArgs": {"workers": 4}}}),
        ({"A": {"opts": {"x.y": 1}}}, {"A": {"opts": {"x.y": 1}}}),
        ({"A.ServiceArgs.labels.app.io/x": "y"}, {"A": {"ServiceArgs": {"labels": {"app.io/x": "y"}}}}),
        (
            {"A": {"p": Path("x"), "t": (1, 2), "e": Enum("E", {"ONE": "one"}).ONE}},
            {"A": {"p": "x", "t": [1, 2], "e": "one"}},
        ),
        ({"A": {}}, {"A": {}}),
    ],
    ids=lambda v: "",
)
def test_dots_in_a_mapping_nest(mapping, expected):
    assert plain(mapping_layer(mapping, "here").values) == expected


def test_a_mapping_has_the_given_origin():
    assert origins(mapping_layer({"A.k": 1, "A": {"n": {"m": 1}}}, "serve()")) == {"A.k": "serve()", "A.n.m": "serve()"}


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"A": 3}, "A: should be a mapping of keys to values  (serve())"),
        ({"A.k": object()}, "A.k: a object has no JSON form  (serve())"),
    ],
)
def test_an_invalid_mapping_is_an_error(mapping, message):
    with pytest.raises(ConfigError) as caught:
        mapping_layer(mapping, "serve()")
    assert str(caught.value).splitlines()[0] == message


def test_the_variable_is_a_layer(monkeypatch):
    monkeypatch.setenv("DYNAMO_SERVICE_CONFIG", json.dumps({"A": {"k": {"l": 1}}}))
    assert origins(env_layer()) == {"A.k.l": "DYNAMO_SERVICE_CONFIG"}
    monkeypatch.delenv("DYNAMO_SERVICE_CONFIG")
    assert env_layer().values == {}


def test_layers_merge_key_by_key_at_every_level():
    low = mapping_layer({"A": {"ServiceArgs": {"workers": 1, "resources": {"gpu": 1, "cpu": 2}}, "l": [1, 2]}}, "low")
    high = mapping_layer({"A": {"ServiceArgs": {"resources": {"gpu": 4}}, "l": [3]}, "B": {"k": 1}}, "high")
    both = merged(low.values, high.values)
    assert plain(both) == {
        "A": {"ServiceArgs": {"workers": 1, "resources": {"gpu": 4, "cpu": 2}}, "l": [3]},
        "B": {"k": 1},
    }
    assert {".".join(p): v.origin for p, v in leaves(both)}["A.ServiceArgs.resources.gpu"] == "high"


def test_an_empty_mapping_removes_nothing():
    low, high = mapping_layer({"A": {"n": {"k": 1}}}, "low"), mapping_layer({"A": {"n": {}}}, "high")
    assert plain(merged(low.values, high.values)) == {"A": {"n": {"k": 1}}}


def test_envs_of_both_forms_merge_by_name():
    low = mapping_layer({"A": {"ServiceArgs": {"envs": [{"name": "X", "value": 1}, {"name": "Y", "value": 1}]}}}, "low")
    high = mapping_layer({"A.ServiceArgs.envs.X": 2}, "high")
    assert plain(merged(low.values, high.values)) == {"A": {"ServiceArgs": {"envs": {"X": 2, "Y": 1}}}}


# --- YAML

DOCUMENT = """\
# a comment
Common:
  model: m
A:
  ServiceArgs:
    workers: 4
    envs:
      PORT: 0123
      FLAG: yes
      EMPTY:
    labels:
      app.io/version: 1.10
  common-configs: [model]
  rate: 1e-5
  day: 2024-01-01
  items:
    - 1
    - b: true
  nothing:
  nested: {empty: {}, on: x}
B:
"""


def test_yaml_has_the_types_of_json_and_text_for_envs():
    assert plain(yaml_layer(DOCUMENT).values) == {
        "Common": {"model": "m"},
        "A": {
            "ServiceArgs": {
                "workers": 4,
                "envs": {"PORT": "0123", "FLAG": "yes", "EMPTY": ""},
                "labels": {"app.io/version": "1.10"},
            },
            "common-configs": ["model"],
            "rate": 1e-5,
            "day": "2024-01-01",
            "items": [1, {"b": True}],
            "nothing": None,
            "nested": {"empty": {}, "on": "x"},
        },
        "B": None,
    }


def test_each_value_of_yaml_has_its_line(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(DOCUMENT)
    found = origins(yaml_layer(file))
    assert found == origins(yaml_layer(str(file)))
    lines = {path: origin.removeprefix(f"{file}:") for path, origin in found.items()}
    assert lines["A.ServiceArgs.workers"] == "6"
    assert lines["A.ServiceArgs.envs.PORT"] == "8"
    assert lines["A.items"] == "16"
    assert lines["A.nested.on"] == "20"
    assert origins(yaml_layer(DOCUMENT, "cell 3"))["A.rate"] == "cell 3:14"


def test_yaml_aliases_and_merge_keys():
    text = "Common: &c\n  a: 1\n  b: 1\nA: &a\n  <<: *c\n  b: 2\nB: *a\nC:\n  <<: [*a, *c]\n"
    values = plain(yaml_layer(text).values)
    assert values["A"] == values["B"] == values["C"] == {"a": 1, "b": 2}


@pytest.mark.parametrize("text", ["\n", "# nothing\n", "---\n", "null\n"])
def test_an_empty_document_is_an_empty_layer(text):
    assert yaml_layer(text).values == {}


@pytest.mark.parametrize("args", ["", " {}", "\n    workers:\n    resources:\n"])
def test_an_empty_field_of_service_args_does_not_count(args):
    found = plain(yaml_layer(f"A:\n  ServiceArgs:{args}\n").values)["A"]["ServiceArgs"]
    assert found in (None, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A:\n  k: [1\n", "not valid YAML at line 3, column 1: while parsing a flow sequence, expected"),
        (
            "A:\n\tk: 1\n",
            "not valid YAML at line 2, column 1: while scanning for the next token, found character '\\t'",
        ),
        ("A:\n  k: v: w\n", "not valid YAML at line 2, column 7: mapping values are not allowed here  (c.yaml:2)"),
        (
            "A:\n  k: !!python/name:os.system\n",
            "A.k: a value of type os.system has no JSON form  (c.yaml:2)",
        ),
        ("A:\n  k: !!set {a}\n", "has no JSON form"),
        ("A:\n  k: *nowhere\n", "found undefined alias"),
        ("- A\n", "the top level should be a mapping of service names  (c.yaml:1)"),
        ("A: 3\n", "A: should be a mapping of keys to values  (c.yaml:1)"),
        ("A:\n  - k\n", "A: should be a mapping of keys to values  (c.yaml:1)"),
        ("A:\n  k: 1\n  l: 1\n  k: 2\n", "A.k: repeated key, first in line 2  (c.yaml:4)"),
        ("A: {k: 1, k: 2}\n", "A.k: repeated key, first in line 1  (c.yaml:1)"),
        ("A:\n  k: 1\nA:\n  l: 1\n", "A: repeated key, first in line 1  (c.yaml:3)"),
        ("A:\n  ? [1, 2]\n  : 3\n", "A: a key should be a word  (c.yaml:2)"),
        ("A: &a\n  k: *a\n", "an alias that contains itself  (c.yaml:1)"),
        ("A: {}\n---\nB: {}\n", "expected a single document"),
        ("A:\n  k: \x00\n", "not valid YAML: "),
    ],
)
def test_invalid_yaml_is_an_error_with_line_and_column(text, message):
    with pytest.raises(ConfigError) as caught:
        yaml_layer(text, "c.yaml")
    assert message in str(caught.value)


def test_a_missing_file_is_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        yaml_layer("config.yaml")
    assert "cannot read config.yaml: No such file or directory" in str(caught.value)
    assert str(tmp_path / "config.yaml") in str(caught.value)


def test_a_file_that_is_not_text_is_an_error(tmp_path):
    (tmp_path / "config.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot read"):
        yaml_layer(tmp_path / "config.yaml")


TRICKY = st.sampled_from(
    ["1e-5", "2024-01-01", "yes", "null", "~", "0123", "1_0e5", "- a", "<<", "a: b", "1:30", "=", "\x85"]
)
TEXTS = TRICKY | st.text("a1.:-#'\"\n {}[]&*!|>%@é", max_size=8)
KEYS = TEXTS.filter(bool)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS
DATA = st.recursive(SCALARS, lambda below: st.lists(below, max_size=3) | st.dictionaries(KEYS, below, max_size=3))


@settings(database=None, derandomize=True, deadline=None)
@given(st.dictionaries(st.sampled_from("ABC"), st.dictionaries(KEYS, DATA, max_size=4), max_size=3))
def test_written_yaml_is_read_as_the_same_data(data):
    assert plain(yaml_layer(to_yaml(data), "c.yaml").values) == data


# --- command line


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--A.k=v"], {"k": "v"}),
        (["--A.k", "v"], {"k": "v"}),
        (["--A.k=0.5", "--A.l", "3"], {"k": 0.5, "l": 3}),
        (["--A.k=-1", "--A.l", "-1.5e3"], {"k": -1, "l": -1500.0}),
        (["--A.k=true", "--A.l=null"], {"k": True, "l": None}),
        (["--A.k=True"], {"k": "True"}),
        (['--A.k="1"', "--A.l="], {"k": "1", "l": ""}),
        (["--A.k=a=b"], {"k": "a=b"}),
        (["--A.k=--flag"], {"k": "--flag"}),
        (['--A.k={"a": {"b": 1}}', "--A.k.c=2"], {"k": {"a": {"b": 1}, "c": 2}}),
        (["--A.k=[1, 2]"], {"k": [1, 2]}),
        (["--A.k=NaN", "--A.l=-Infinity"], {"k": "NaN", "l": "-Infinity"}),
        (["--A.k=1", "--A.k=2"], {"k": 2}),
        (["--A.model-name=x", "--A.other_name=y"], {"model-name": "x", "other_name": "y"}),
        (["--A.ServiceArgs.workers=8"], {"ServiceArgs": {"workers": 8}}),
        (
            ["--A.ServiceArgs.envs.X=1", "--A.ServiceArgs.envs.Y", "true"],
            {"ServiceArgs": {"envs": {"X": "1", "Y": "true"}}},
        ),
        (['--A.ServiceArgs.envs={"X": 1}'], {"ServiceArgs": {"envs": {"X": 1}}}),
        (["--A.ServiceArgs.labels.app.io/x=1"], {"ServiceArgs": {"labels": {"app.io/x": "1"}}}),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_the_layer_of_arguments(argv, expected):
    assert plain(arguments_layer(argv).values) == {"A": expected}


def test_the_origin_of_an_argument_is_its_flag():
    found = origins(arguments_layer(["--A.k=1", "--A.n.m", "2"]))
    assert found == {"A.k": "--A.k", "A.n.m": "--A.n.m"}


def test_an_empty_mapping_in_an_argument_is_an_empty_mapping():
    assert plain(arguments_layer(["--A.k={}"]).values) == {"A": {"k": {}}}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--A=1"], "--A=1 names no key of A; write --A.key=1, or --A.workers=2"),
        (["--A", "1"], "--A names no key of A; write --A.key=VALUE"),
        (["--A.k"], "--A.k has no value; write --A.k=VALUE, for a switch --A.k=true"),
        (["--A.k", "--A.l=1"], "--A.k has no value"),
        (["--A.k", "-f"], "--A.k has no value"),
        (["stray"], "'stray' does not follow a flag; write configuration as --Service.key=value"),
        (["--A..k=1"], "--A..k=1 has an empty name between its dots"),
        (["--.k=1"], "has an empty name between its dots"),
        (["--A.=1"], "has an empty name between its dots"),
        (["--=1"], "names no key of Service"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_the_error_of_a_wrong_argument_suggests_the_right_form(argv, message):
    with pytest.raises(ConfigError) as caught:
        arguments_layer(argv)
    assert message in str(caught.value)


def test_the_error_lists_all_wrong_arguments():
    with pytest.raises(ConfigError) as caught:
        arguments_layer(["--A=1", "--B.k", "--C.k=1", "stray"])
    assert len(caught.value.problems) == 3


class Aliased(pydantic.BaseModel):
    n: int = pydantic.Field(1, alias="N")


class Validated(pydantic.BaseModel):
    n: int = pydantic.Field(1, validation_alias="x")


class Doubled(pydantic.BaseModel):
    n: int

    @pydantic.field_validator("n")
    @classmethod
    def double(cls, value):
        return value * 2


class Written(pydantic.BaseModel):
    n: int = 1

    @pydantic.field_serializer("n")
    def write(self, value):
        return value + 1


class Hidden(pydantic.BaseModel):
    n: int = pydantic.Field(1, exclude=True)


@pytest.mark.parametrize(
    "value",
    [Validated(x=2), Doubled(n=2), Written(), Hidden(n=2), pydantic.SecretStr("no"), [{"a": Doubled(n=2)}]],
    ids=lambda value: type(value).__name__,
)
def test_a_value_that_json_would_change_is_an_error(value):
    with pytest.raises(ConfigError, match=r"Backend\.value: .* is not read back equal from its JSON form"):
        mapping_layer({"Backend": {"value": value}}, "serve(…)")


@pytest.mark.parametrize(
    "value", [Aliased(N=2), dt.date(2026, 1, 2), decimal.Decimal("1.5"), Path("/a"), {1}, {"a": [1.5, None]}]
)
def test_a_value_that_json_keeps_can_be_configured(value):
    assert mapping_layer({"Backend": {"value": value}}, "serve(…)").values["Backend"]
