"""Random pydantic models, dataclasses and structs: what is sent is read back equal."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import uuid
from typing import Annotated, Any

import msgspec
import pydantic
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dynamo_nb.runtime.codec import decode, encode
from dynamo_nb.sdk.tagged import Outgoing
from dynamo_nb.sdk.values import Shape


class Size(enum.Enum):
    SMALL = 1
    LARGE = "large"


SCALARS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers(-(2**63), 2**64 - 1)),
    (float, st.floats(allow_nan=False)),
    (bool, st.booleans()),
    (str, st.text(st.characters(exclude_categories=["Cs"]), max_size=5)),
    (bytes, st.binary(max_size=5)),
    (type(None), st.none()),
    (dt.date, st.dates()),
    (dt.datetime, st.datetimes()),
    (dt.timedelta, st.timedeltas()),
    (decimal.Decimal, st.decimals(allow_nan=False)),
    (uuid.UUID, st.uuids()),
    (Size, st.sampled_from(Size)),
    (complex, st.complex_numbers(allow_nan=False)),
]
HASHABLE = [SCALARS[i] for i in (0, 2, 3, 6, 10, 11)]
ALIASES = [
    {},
    {"alias": "x"},
    {"validation_alias": "field0"},
    {"serialization_alias": "y"},
    {"validation_alias": pydantic.AliasChoices("a", pydantic.AliasPath("b", 0))},
    {"exclude": True},
]
MARKS = [
    None,
    pydantic.BeforeValidator(lambda _: 1 / 0),
    pydantic.AfterValidator(lambda _: 1 / 0),
    pydantic.WrapValidator(lambda _, __: 1 / 0),
    pydantic.PlainSerializer(lambda _: "other"),
]


@st.composite
def typed_values(draw, depth=3):
    """An annotation and one of its values. The validators of models fail: reading a value back must not run them."""
    kinds = (
        ["scalar"] if depth == 0 else ["scalar", "list", "dict", "set", "tuple", "union", "model", "class", "struct"]
    )
    kind = draw(st.sampled_from(kinds))
    if kind == "scalar":
        annotation, values = draw(st.sampled_from(SCALARS))
        return annotation, draw(values)
    if kind in {"dict", "set"}:
        key, keys = draw(st.sampled_from(HASHABLE))
        if kind == "set":
            return set[key], draw(st.sets(keys, max_size=3))
        annotation, value = draw(typed_values(depth=depth - 1))
        return dict[key, annotation], {draw(keys): value}
    if kind == "struct":
        fields = [(f"field{n}", *draw(st.sampled_from(SCALARS[1:11]))) for n in range(draw(st.integers(0, 3)))]
        options = {"rename": draw(st.sampled_from([None, "camel", "upper"])), "array_like": draw(st.booleans())}
        struct = msgspec.defstruct("Struct", [(name, hint) for name, hint, _ in fields], **options)
        return struct, struct(**{name: draw(values) for name, _, values in fields})
    if kind in {"list", "tuple", "union"}:
        annotation, value = draw(typed_values(depth=depth - 1))
        if kind == "list":
            return list[annotation], [value] * draw(st.integers(0, 2))
        if kind == "tuple":
            return tuple[annotation, int], (value, 1)
        other, _ = draw(typed_values(depth=depth - 1))
        return annotation | other if draw(st.booleans()) else other | annotation, value
    fields = {f"field{n}": draw(typed_values(depth=depth - 1)) for n in range(draw(st.integers(0, 3)))}
    values = {name: value for name, (_, value) in fields.items()}
    if kind == "class":
        hints = [(name, hint, dataclasses.field(init=False)) for name, (hint, _) in fields.items()]
        cls = dataclasses.make_dataclass("Class", hints)
        made = cls()
        vars(made).update(values)
        return cls, made
    extra = draw(st.sampled_from(["allow", "ignore", "forbid"]))
    definitions = {}
    for name, (hint, _) in fields.items():
        mark = draw(st.sampled_from(MARKS))
        alias = draw(st.sampled_from(ALIASES))
        definitions[name] = (hint if mark is None else Annotated[hint, mark], pydantic.Field(**alias))
    config = pydantic.ConfigDict(extra=extra, arbitrary_types_allowed=True, frozen=draw(st.booleans()))
    model = pydantic.create_model("Model", __config__=config, **definitions)
    others = {"more": dt.date(2026, 1, 2)} if extra == "allow" else {}
    return model, model.model_construct(**{**values, **others}, _fields_set=set(values))


def same(one, other):
    """Checks that two values are equal and of the same types, at every depth."""
    assert type(one) is type(other)
    if isinstance(one, pydantic.BaseModel) or dataclasses.is_dataclass(one):
        same(vars(one), vars(other))
        assert getattr(one, "__pydantic_fields_set__", None) == getattr(other, "__pydantic_fields_set__", None)
    elif isinstance(one, (list, tuple)):
        for pair in zip(one, other, strict=True):
            same(*pair)
    elif isinstance(one, dict):
        same(list(one), list(other))
        same(list(one.values()), list(other.values()))
    else:
        assert one == other


@settings(max_examples=300, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(typed_values())
def test_a_value_of_a_random_type_is_read_back_equal(typed):
    annotation, value = typed
    field = pydantic.create_model(
        "Around", __config__=pydantic.ConfigDict(arbitrary_types_allowed=True), value=(annotation, ...)
    )
    sent = field.model_construct(value=value)
    shape = Shape(field)
    received = shape.fit(decode(encode([Outgoing(sent, shape.pack)]))[0])
    assert received == sent
    same(received, sent)
