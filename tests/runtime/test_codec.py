import collections
import dataclasses
import datetime as dt
import enum
import subprocess
import sys
import types
from importlib.util import find_spec
from pathlib import Path

import msgspec
import pydantic
import pytest

from dynamo_nb.runtime.codec import ARRAY, INLINE, TENSOR, Packer, decode, encode
from dynamo_nb.sdk.values import Shape


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
        ([2**70, {"a": -(2**64)}], [2**70, {"a": -(2**64)}]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_are_sent_in_their_plain_form(value, plain):
    assert decode(encode(value)) == plain


@pytest.mark.parametrize("value", [object(), lambda: 1, open], ids=["object", "lambda", "builtin"])
def test_a_value_without_a_plain_form_is_an_error(value):
    with pytest.raises((TypeError, OverflowError)):
        encode(value)


def test_an_array_is_sent_as_its_buffer():
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(6, dtype="float32").reshape(2, 3).T
    received = decode(encode({"array": array, "scalar": numpy.int64(3)}))
    assert received["scalar"] == 3
    assert received["array"].dtype == array.dtype
    assert (received["array"] == array).all()
    with pytest.raises(TypeError, match="cannot be sent"):
        encode(numpy.array([object()]))


def test_arrays_keep_their_type_and_shape_and_are_writable():
    numpy = pytest.importorskip("numpy")
    values = [
        numpy.zeros((0, 3), "<i4"),
        numpy.array(["a", "bc"]),
        numpy.array(["2026-01-02"], "datetime64[D]"),
        numpy.arange(10, dtype=">f8")[::2],
        numpy.ones((2, 1, 2), "complex64"),
    ]
    for value, received in zip(values, decode(encode(values)), strict=True):
        assert (received.dtype, received.shape) == (value.dtype, value.shape)
        assert (received == value).all()
        received[...] = value


@pytest.mark.parametrize("name", ["datetime64", "timedelta64", "longdouble", "clongdouble", "array"])
def test_a_scalar_that_python_cannot_express_keeps_its_type(name):
    numpy = pytest.importorskip("numpy")
    arguments = {"array": ("2026-01-01", "M8[ns]"), "datetime64": ("2026-01-01T00:00:00.000000001",)}
    arguments["timedelta64"] = (5, "ns")
    value = getattr(numpy, name)(*arguments.get(name, (5,)))
    value = value / 3 if "long" in name else value
    received = decode(encode([value]))[0]
    assert (received.dtype, received == value) == (value.dtype, True)


def test_an_array_that_is_more_than_its_numbers_is_an_error():
    numpy = pytest.importorskip("numpy")
    quantity = type("Quantity", (numpy.ndarray,), {})
    for value in (
        numpy.ma.array([1, 2], mask=[0, 1]),
        numpy.zeros((1, 1)).view(numpy.matrix),
        numpy.zeros(3).view(quantity),
    ):
        with pytest.raises(TypeError, match=r"numpy\.asarray"):
            encode(value)
        assert Shape(type(value)).obstacle


def test_a_large_integer_beside_a_large_array():
    numpy = pytest.importorskip("numpy")
    packer = Packer()
    packer.encode({"array": numpy.zeros(INLINE), "n": 2**70})
    assert len(packer.buffers) == 1


@pytest.mark.parametrize("kind", ["bfloat16", "float8_e4m3fn", "float16", "float64", "int8", "bool", "complex64"])
def test_a_tensor_keeps_its_type_and_shape(kind):
    torch = pytest.importorskip("torch")
    tensor = torch.arange(6).reshape(2, 3).to(getattr(torch, kind)).T
    received, empty, scalar = decode(encode([tensor, tensor[:0], tensor[0, 0]]))
    assert (received.dtype, received.shape, empty.shape, scalar.shape) == (tensor.dtype, (3, 2), (0, 2), ())
    assert torch.equal(received.to(torch.complex64), tensor.to(torch.complex64))
    received.zero_()


def test_a_numpy_array_of_bfloat16_keeps_its_type():
    numpy, ml_dtypes = pytest.importorskip("numpy"), pytest.importorskip("ml_dtypes")
    array = numpy.ones(3, ml_dtypes.bfloat16)
    received = decode(encode(array))
    assert (received.dtype, list(received)) == (array.dtype, [1, 1, 1])


def test_bytes_that_are_not_an_array_are_an_error():
    content = msgspec.msgpack.encode
    wrong = [
        (ARRAY, ("<f4", (2,), b"1234")),
        (ARRAY, ("<f4", (-1,), b"1234")),
        (ARRAY, ("|O", (1,), b"12345678")),
        (ARRAY, ("<f4", (1,), (0, 4))),
        (ARRAY, ("nonsense", (1,), b"1234")),
        (ARRAY, ("|V0", (2**40,), b"")),
        (TENSOR, ("nn", (1,), b"1234")),
        (TENSOR, ("float32", (2**40,), b"")),
        (77, ("<f4", (1,), b"1234")),
    ]
    for code, value in wrong:
        needed = "torch" if code == TENSOR else "ml_dtypes" if value[0] == "nonsense" else "numpy"
        if find_spec(needed) is None:
            continue  # without its library the bytes are not interpreted
        with pytest.raises((ValueError, TypeError, AttributeError)):
            decode(msgspec.msgpack.encode(msgspec.msgpack.Ext(code, content(value))))


def test_without_its_library_an_array_keeps_its_bytes(monkeypatch):
    numpy = pytest.importorskip("numpy")
    data = encode(numpy.array([1, 2], "<i2"))
    monkeypatch.setitem(sys.modules, "numpy", None)
    received = decode(data)
    assert (received.dtype, received.shape, bytes(received.data)) == ("<i2", (2,), b"\x01\x00\x02\x00")
    assert encode(received) == data


def test_the_codec_does_not_import_array_libraries():
    code = "import sys; from dynamo_nb.runtime import codec; codec.encode([set()]); print({'numpy', 'torch'} & {*sys.modules})"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
