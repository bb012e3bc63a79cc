import collections
import dataclasses
import datetime as dt
import enum
import types
from pathlib import Path

import pydantic
import pytest

from dynamo_nb.runtime.codec import decode, encode


class Model(pydantic.BaseModel):
    when: dt.date = dt.date(2026, 1, 2)
    tags: frozenset[str] = frozenset({"a"})


class Number(enum.IntEnum):
    TWO = 2


@dataclasses.dataclass
class Point:
    x: int
    model: Model


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Model(), {"when": "2026-01-02", "tags": ["a"]}),
        (Point(1, Model()), {"x": 1, "model": {"when": "2026-01-02", "tags": ["a"]}}),
        (Number.TWO, 2),
        (Path("/a"), "/a"),
        ({1}, [1]),
        ((1, (2,)), [1, [2]]),
        (range(3), [0, 1, 2]),
        ({"a": 1}.keys(), ["a"]),
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        (collections.OrderedDict(a=1), {"a": 1}),
        (ValueError("no"), "ValueError: no"),
        (b"\x00\xff", b"\x00\xff"),
        ({1: None}, {1: None}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_travel_in_their_plain_form(value, plain):
    assert decode(encode(value)) == plain


@pytest.mark.parametrize("value", [object(), lambda: 1, open, 2**70], ids=["object", "lambda", "builtin", "large int"])
def test_what_has_no_plain_form_is_refused(value):
    with pytest.raises((TypeError, OverflowError)):
        encode(value)


def test_an_array_travels_as_its_buffer():
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(6, dtype="float32").reshape(2, 3).T
    received = decode(encode({"array": array, "scalar": numpy.int64(3)}))
    assert received["scalar"] == 3
    assert received["array"].dtype == array.dtype
    assert (received["array"] == array).all()
    with pytest.raises(TypeError, match="cannot travel"):
        encode(numpy.array([object()]))
