"""Values to bytes and back: msgpack, with a plain form for what people pass, and raw buffers for arrays.

Models and dataclasses travel as maps, sets as lists, enums by value, paths as text. The receiver gets plain data and
gives it the endpoint's own types where it knows them. Nothing is ever pickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from os import PathLike, fspath
from typing import Any

import msgspec

ARRAY = 1  # msgpack extension type: (dtype, shape, raw bytes in C order)

_array = msgspec.msgpack.Decoder(tuple[str, tuple[int, ...], memoryview])


def _plain(value: Any) -> Any:
    """The plain form of what msgspec does not know. Raises TypeError where there is none."""
    kind = type(value)
    if dump := getattr(kind, "model_dump", None):  # a pydantic model, without importing pydantic in every worker
        return dump(value)
    if kind.__module__ == "numpy":
        return _plain_numpy(value)
    if isinstance(value, PathLike):
        return fspath(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, BaseException):
        return f"{kind.__name__}: {value}"
    if isinstance(value, (range, type({}.keys()), type({}.values()), type({}.items()))):
        return list(value)
    raise TypeError(f"a value of type {kind.__module__}.{kind.__qualname__} cannot travel between processes")


def _plain_numpy(value: Any) -> Any:
    if not hasattr(value, "ndim") or value.ndim == 0:
        return value.item()
    if value.dtype.hasobject or value.dtype.names:
        raise TypeError(f"an array of dtype {value.dtype} cannot travel between processes")
    raw = (value.dtype.str, value.shape, value.tobytes())
    return msgspec.msgpack.Ext(ARRAY, msgspec.msgpack.encode(raw))


def _extension(code: int, data: memoryview) -> Any:
    if code != ARRAY:
        raise ValueError(f"unknown msgpack extension {code}")
    numpy = import_module("numpy")
    dtype, shape, raw = _array.decode(data)
    return numpy.frombuffer(raw, dtype=dtype).reshape(shape)


_encoder = msgspec.msgpack.Encoder(enc_hook=_plain)
_decoder = msgspec.msgpack.Decoder(ext_hook=_extension)

encode = _encoder.encode
decode = _decoder.decode
