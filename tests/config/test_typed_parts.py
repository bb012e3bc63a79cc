"""Parameters of several types keep what was written, and unknown keys within parameters are marked as others are."""

import dataclasses
import json
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, Optional, TypedDict

import msgspec
import pytest
from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, RootModel, model_validator

from dynamo_nb.config.arguments import arguments_layer
from dynamo_nb.config.constructor import constructor_arguments
from dynamo_nb.config.effective import resolve
from dynamo_nb.config.layers import env_layer, mapping_layer
from dynamo_nb.config.yaml_layer import yaml_layer
from dynamo_nb.errors import ConfigError
from dynamo_nb.sdk import definition_of, service
from dynamo_nb.sdk.service_config import VARIABLE


class Tagged(BaseModel):
    tag: int | str
    on: bool | str = False


Unchanged = BeforeValidator(lambda value: value)


@service
class Svc:
    def __init__(
        self,
        int_str: int | str = 0,
        str_int: str | int = 0,
        bool_str: bool | str = False,
        float_str: float | str = 0.0,
        any_of: bool | int | float | str | None = None,  # noqa: PYI041 (an int stays one)
        maybe: Optional[int | str] = None,  # noqa: UP045 (as users write it)
        exact: Decimal | str = "",
        checked: Annotated[int | str, Unchanged] = 0,
        words: list[int | str] = [],  # noqa: B006
        pair: tuple[int | str, float] = (0, 0.0),
        many: tuple[int | str, ...] = (),
        named: dict[str, int | str] = {},  # noqa: B006
        one_or_more: str | list[str] = "",
        tagged: Tagged | None = None,
        number: int = 0,
        auto: int | Literal["auto"] = 0,
    ): ...


def of_yaml(key, text, monkeypatch):
    return yaml_layer(f"Svc:\n  {key}: {text}\n", "c.yaml")


def of_arguments(key, text, monkeypatch):
    return arguments_layer([f"--Svc.{key}={text}"])


def of_variable(key, text, monkeypatch):
    monkeypatch.setenv(VARIABLE, f'{{"Svc": {{"{key}": {text}}}}}')
    return env_layer()


VALUES = [
    ("int_str", "2", 2),
    ("int_str", "-2", -2),
    ("int_str", "72225e2", "72225e2"),
    ("int_str", "1E5", "1E5"),
    ("int_str", "1.0", "1.0"),
    ("int_str", "true", "true"),
    ("str_int", "2", 2),
    ("str_int", "72225e2", "72225e2"),
    ("bool_str", "true", True),
    ("bool_str", "false", False),
    ("bool_str", "1", "1"),
    ("bool_str", "72225e2", "72225e2"),
    ("float_str", "1e-5", 1e-5),
    ("float_str", "2", 2.0),
    ("float_str", "true", "true"),
    ("any_of", "true", True),
    ("any_of", "2", 2),
    ("any_of", "1e5", 1e5),
    ("maybe", "null", None),
    ("maybe", "72225e2", "72225e2"),
    ("exact", "1.10", Decimal("1.10")),
    ("exact", "true", "true"),
    ("checked", "72225e2", "72225e2"),
    ("words", "[72225e2, 2, true]", ["72225e2", 2, "true"]),
    ("pair", "[72225e2, 1e3]", ("72225e2", 1000.0)),
    ("many", "[72225e2, 3]", ("72225e2", 3)),
    ("named", '{"a": 72225e2, "b": 2, "c": false}', {"a": "72225e2", "b": 2, "c": "false"}),
    ("one_or_more", "72225e2", "72225e2"),
    ("one_or_more", "[72225e2, true]", ["72225e2", "true"]),
    ("tagged", '{"tag": 72225e2, "on": true}', Tagged(tag="72225e2", on=True)),
    ("tagged", '{"tag": true, "on": 1}', Tagged(tag="true", on="1")),
    ("number", "72225e2", 7222500),
    ("auto", "72225e2", 7222500),
]
YAML_ONLY = [
    ("int_str", "0123456", "0123456"),
    ("int_str", "0x1F", "0x1F"),
    ("int_str", "1_000", "1_000"),
    ("int_str", "+5", "+5"),
    ("int_str", "1:30", "1:30"),
    ("int_str", "yes", "yes"),
    ("bool_str", "yes", True),
    ("bool_str", "Off", False),
    ("float_str", "0123", "0123"),
    ("float_str", ".inf", float("inf")),
]


@pytest.mark.parametrize(
    ("layer", "key", "text", "expected"),
    [
        *((layer, *row) for layer in (of_yaml, of_arguments, of_variable) for row in VALUES),
        *((of_yaml, *row) for row in YAML_ONLY),
    ],
    ids=lambda v: getattr(v, "__name__", None) or (v if isinstance(v, str) else "") or None,
)
def test_a_parameter_of_several_types_keeps_what_was_written(layer, key, text, expected, monkeypatch):
    config = resolve([definition_of(Svc)], [layer(key, text, monkeypatch)])
    sections = json.loads(json.dumps(config.for_workers()))

    for found in (config.services["Svc"].arguments(), constructor_arguments(definition_of(Svc), sections)):
        assert found == {key: expected}
        assert type(found[key]) is type(expected)


class Deep(BaseModel):
    top_k: int = 1


class Sampling(BaseModel):
    temperature: float = 1.0
    deep: Deep = Deep()
    steps: list[Deep] = []
    by_name: dict[str, Deep] = {}
    maximum: int = Field(1, alias="maxTokens")
    either: int = Field(1, validation_alias=AliasChoices("first", "second"))


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    size: int = 1


class Reading(BaseModel):
    size: int = 1

    @model_validator(mode="before")
    @classmethod
    def old_name(cls, data):
        return {"size": data["length"]} if "length" in data else data


class Roots(RootModel[dict[str, int]]):
    pass


@dataclasses.dataclass
class Data:
    size: int = 1


class Typed(TypedDict):
    size: NotRequired[int]


class Struct(msgspec.Struct, rename="camel"):
    batch_size: int = 1


class Tuple(NamedTuple):
    size: int = 1


class Kind(Enum):
    A = "a"


@service
class Holder:
    def __init__(
        self,
        sampling: Sampling | None = None,
        either: Deep | Data | None = None,
        open: Open | None = None,
        reading: Reading | None = None,
        roots: Roots | None = None,
        data: Data | None = None,
        typed: Typed | None = None,
        struct: Struct | None = None,
        several: list[Sampling] | None = None,
        plain: dict[str, Any] | None = None,
        loose: Deep | dict[str, Any] | None = None,
        kind: Kind = Kind.A,
    ): ...


UNKNOWN = [
    ("sampling", {"min_p": 0.1}, "Sampling has no field 'min_p'", False),
    ("sampling", {"temprature": 0.1}, "Sampling has no field 'temprature': did you mean 'temperature'?", True),
    ("sampling", {"deep": {"top_p": 3}}, "Deep has no field 'top_p': did you mean 'top_k'?", True),
    ("sampling", {"deep": {"top_k": 3, "top_p": 3}}, "Deep has no field 'top_p': did you mean 'top_k'?", False),
    ("sampling", {"deep": {"other": 3}}, "Deep has no field 'other'", False),
    ("sampling", {"steps": [{"top_k": 1}, {"other": 3}]}, "Deep has no field 'other'", False),
    ("sampling", {"by_name": {"a": {"other": 3}}}, "Deep has no field 'other'", False),
    ("sampling", {"maxTokens": 3, "first": 1}, "", False),
    ("sampling", {"second": 1}, "", False),
    ("several", [{"temperature": 1.0, "other": 1}], "Sampling has no field 'other'", False),
    ("either", {"size": 1}, "", False),
    ("either", {"other": 1}, "Deep or Data has no field 'other'", False),
    ("open", {"other": 1}, "", False),
    ("reading", {"length": 4}, "", False),
    ("roots", {"a": 1}, "", False),
    ("data", {"other": 1}, "Data has no field 'other'", False),
    ("data", {"sizes": 1}, "Data has no field 'sizes': did you mean 'size'?", True),
    ("typed", {"other": 1}, "Typed has no field 'other'", False),
    ("struct", {"batchSize": 2, "other": 1}, "Struct has no field 'other'", False),
    ("struct", {"batch_size": 2}, "Struct has no field 'batch_size': did you mean 'batchSize'?", True),
    ("plain", {"other": {"more": 1}}, "", False),
    ("loose", {"other": 1}, "", False),
]


@pytest.mark.parametrize(("key", "value", "message", "faulty"), UNKNOWN, ids=lambda v: json.dumps(v)[:60])
def test_an_unknown_key_within_a_parameter_is_marked_or_an_error(key, value, message, faulty):
    layer = mapping_layer({"Holder": {key: value}}, "c.yaml")
    if faulty:
        with pytest.raises(ConfigError) as error:
            resolve([definition_of(Holder)], [layer])
        assert message in str(error.value)
        return
    config = resolve([definition_of(Holder)], [layer])
    assert [message in note for note in config.notes()] == [True] * bool(message)
    assert (" ! " in config.table()) == bool(message)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--Holder.sampling.min_p=1", "Sampling has no field 'min_p'"),
        ("--Holder.sampling.deep.other=1", "Deep has no field 'other'"),
        ('--Holder.several=[{"other": 1}]', "Sampling has no field 'other'"),
        ("--Holder.open.other=1", ""),
    ],
)
def test_an_unknown_key_within_a_parameter_is_an_error_on_the_command_line(argument, message):
    layer = arguments_layer([argument])
    if message:
        with pytest.raises(ConfigError) as error:
            resolve([definition_of(Holder)], [layer])
        assert message in str(error.value)
    else:
        assert not resolve([definition_of(Holder)], [layer]).notes()
