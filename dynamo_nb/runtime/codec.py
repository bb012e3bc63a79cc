"""Encoding of values: msgpack, with a plain form for other Python types, and raw buffers for arrays.

A value that msgpack cannot carry is an extension `(type, plain data, state)`, see `sdk.packing`: models are maps, sets
lists, paths text. The receiver gets the plain data, and builds the value again where it knows the endpoint's types.
Nothing is ever pickled.

A numpy array or torch tensor is a msgpack extension `(dtype, shape, data)`. A small array contains its data; the data
of a large one follows the message, and `(offset, size)` replaces it, so that neither end copies it.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from os import PathLike, fspath
from typing import Any, Final

import msgspec

from dynamo_nb.sdk.field_types import is_bare_array
from dynamo_nb.sdk.packing import pack
from dynamo_nb.sdk.tagged import Outgoing, Tagged, received

ARRAY: Final = 1  # msgpack extension: a numpy array
TENSOR: Final = 2  # msgpack extension: a torch tensor
TAGGED: Final = 3  # msgpack extension: plain data with the name of its type

INLINE: Final = 16 * 1024  # bytes up to which copying an array with the message is cheaper than a separate buffer
ALIGNMENT: Final = 64  # bytes, of a buffer's offset in its frame: the best for vector instructions

_content = msgspec.msgpack.Decoder(tuple[str, tuple[int, ...], bytearray | tuple[int, int]])
_encode = msgspec.msgpack.Encoder().encode


class RawArray:
    """An array in a process without its library. dtype: the name in numpy or torch. data: in C order."""

    __slots__ = ("code", "data", "dtype", "shape")

    def __init__(self, code: int, dtype: str, shape: tuple[int, ...], data: memoryview) -> None:
        self.code, self.dtype, self.shape, self.data = code, dtype, shape, data


def aligned(size: int) -> int:
    """Returns the size, rounded up to a multiple of ALIGNMENT."""
    return -(-size // ALIGNMENT) * ALIGNMENT


class Packer:
    """Encodes messages. Not safe for threads.

    Attributes:
        buffers: The data that the last message left out, to be sent after it, each at the next aligned offset. They are
            views of the caller's arrays. The sender clears the list, also if `encode` raised.
    """

    def __init__(self) -> None:
        self.buffers: list[memoryview] = []
        self.encode = _encoder(self._leave_out, self.buffers.clear)

    def _leave_out(self, data: memoryview) -> Any:
        if data.nbytes < INLINE:
            return data
        offset = sum(aligned(buffer.nbytes) for buffer in self.buffers)
        self.buffers.append(data)
        return offset, data.nbytes


class Unpacker:
    """Decodes messages. Not safe for threads."""

    def __init__(self) -> None:
        self._buffers = memoryview(b"")
        self.decode = msgspec.msgpack.Decoder(ext_hook=self._extension).decode

    def decode_with(self, message: memoryview, buffers: memoryview) -> Any:
        """Decodes a message that left `buffers` out. Its arrays are views of them and keep them alive."""
        self._buffers = buffers
        try:
            return self.decode(message)
        finally:
            self._buffers = memoryview(b"")

    def _extension(self, code: int, content: memoryview) -> Any:
        if code == TAGGED:
            names, plain, state = self.decode(content)
            if not isinstance(names, (str, list)):
                raise ValueError("a malformed type name")
            if names == ".int":
                return int(plain)
            return received(names, plain, state)
        if code not in {ARRAY, TENSOR}:
            raise ValueError(f"unknown msgpack extension {code}")
        dtype, shape, where = _content.decode(content)
        if isinstance(where, bytearray):
            data = memoryview(where)
        else:
            offset, size = where
            data = self._buffers[offset : offset + size]
            if offset < 0 or size < 0 or data.nbytes != size:
                raise ValueError(f"an array at bytes {offset} to {offset + size} of {self._buffers.nbytes}")
        if min(shape, default=0) < 0:
            raise ValueError(f"an array of shape {shape}")
        try:
            return _tensor(dtype, shape, data) if code == TENSOR else _array(dtype, shape, data)
        except ImportError:
            return RawArray(code, dtype, shape, data)


def _array(dtype: str, shape: tuple[int, ...], data: memoryview) -> Any:
    numpy = import_module("numpy")
    kind = numpy.dtype(dtype if dtype[:1] in "<>|=" else getattr(import_module("ml_dtypes"), dtype))
    if kind.hasobject or not kind.itemsize:
        raise ValueError(f"an array of dtype {dtype}")
    array = numpy.ndarray(shape, kind, data)
    return array if shape else array[()]


def _tensor(dtype: str, shape: tuple[int, ...], data: memoryview) -> Any:
    torch = import_module("torch")
    kind = getattr(torch, dtype, None)
    if not isinstance(kind, torch.dtype):
        raise ValueError(f"a tensor of dtype {dtype}")  # noqa: TRY004 - of bytes that a peer sent
    if not data.nbytes:
        if 0 not in shape:
            raise ValueError(f"a tensor of shape {shape} without data")
        return torch.empty(shape, dtype=kind)
    return torch.frombuffer(data, dtype=kind).reshape(shape)


def _encoder(replace: Callable[[memoryview], Any], forget: Callable[[], None]) -> Callable[[Any], bytes]:
    """Returns an encoder that raises TypeError for types without a plain form.

    replace: returns what the message contains in place of an array's data. forget: called before a second attempt.
    """

    def plain(value: Any) -> Any:
        kind = type(value)
        if kind is Outgoing:
            return value.packed()
        if kind is Tagged:
            content = encode_nested((value.names, value.plain, value.state))
            return msgspec.msgpack.Ext(TAGGED, content)
        if (torch := sys.modules.get("torch")) and isinstance(value, torch.Tensor):
            return extension(TENSOR, *_of_tensor(value, torch))
        if (numpy := sys.modules.get("numpy")) and isinstance(value, (numpy.ndarray, numpy.generic)):
            if value.ndim or value.dtype.kind in "mM" or value.dtype.char in "gG":  # Python has no such precision
                return extension(ARRAY, *_of_array(value, numpy))
            return value.item()
        if kind is RawArray:
            return extension(value.code, value.dtype, value.shape, value.data)
        if isinstance(value, PathLike):
            return fspath(value)
        if isinstance(value, Mapping):
            return dict(value)
        if isinstance(value, BaseException):
            return f"{kind.__name__}: {value}"
        return pack(value)

    def extension(code: int, dtype: str, shape: tuple[int, ...], data: memoryview) -> msgspec.msgpack.Ext:
        return msgspec.msgpack.Ext(code, _encode((dtype, shape, replace(data))))

    encode_nested = msgspec.msgpack.Encoder(enc_hook=plain).encode

    def encode_message(value: Any) -> bytes:
        try:
            return encode_nested(value)
        except OverflowError:  # of integers, for which msgspec has no hook
            forget()
            return encode_nested(_with_large_integers(value))

    return encode_message


def _with_large_integers(value: Any) -> Any:
    """The value with a `Tagged` in place of every integer that msgpack cannot carry."""
    kind = type(value)
    if kind is Outgoing:
        return _with_large_integers(value.packed())
    if kind is Tagged:
        return Tagged(value.names, _with_large_integers(value.plain), _with_large_integers(value.state))
    if isinstance(value, dict):
        return {_with_large_integers(key): _with_large_integers(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return list(map(_with_large_integers, value))
    return pack(value) if kind is int else value


def _of_array(value: Any, numpy: Any) -> tuple[str, tuple[int, ...], memoryview]:
    kind = value.dtype
    if not is_bare_array(type(value)):
        name = f"{type(value).__module__}.{type(value).__qualname__}"
        raise TypeError(f"an array of class {name} cannot be sent to another process; send its numpy.asarray")
    foreign = kind.type.__module__.partition(".")[0] == "ml_dtypes"  # such as bfloat16: plain bytes for numpy itself
    if kind.hasobject or kind.names or (kind.kind == "V" and not foreign):
        raise TypeError(f"an array of dtype {kind} cannot be sent to another process")
    flat = numpy.ascontiguousarray(value).reshape(-1).view("u1")
    return kind.name if foreign else kind.str, value.shape, memoryview(flat)


def _of_tensor(value: Any, torch: Any) -> tuple[str, tuple[int, ...], memoryview]:
    if value.layout is not torch.strided or value.is_quantized or value.is_meta:
        raise TypeError(f"a tensor that is {value.layout}, quantized or without data cannot be sent to another process")
    flat = value.detach().cpu().resolve_conj().resolve_neg().contiguous()
    kind, shape = str(flat.dtype).removeprefix("torch."), tuple(flat.shape)
    if not flat.numel():
        return kind, shape, memoryview(b"")
    # By its address: torch exports no buffer, and numpy knows neither bfloat16 nor the 8-bit floats.
    data = (ctypes.c_char * (flat.numel() * flat.element_size())).from_address(flat.data_ptr())
    data.tensor = flat  # owns the memory
    return kind, shape, memoryview(data).cast("B")


encode = _encoder(lambda data: data, lambda: None)
"""Encodes a message with all its arrays inside."""
decode = Unpacker().decode
"""Decodes a message with all its arrays inside."""
