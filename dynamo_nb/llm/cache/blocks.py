"""Names of KV-cache blocks: a hash of a block's tokens, chained to all that stands before it."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from hashlib import blake2b
from struct import Struct
from typing import Final

UINT32: Final = "I"  # the type code of an unsigned 32-bit integer, larger than any vocabulary
_BYTES: Final = array(UINT32).itemsize
_number = Struct("<Q").unpack
_chain = Struct("<Q").pack


def root(adapter: str = "", salt: str = "") -> int:
    """What the first block is chained to. Another adapter or another salt makes other blocks of the same tokens."""
    if not adapter and not salt:
        return 0
    name = b"%d:%b%b" % (len(adapter.encode()), adapter.encode(), salt.encode())
    return int(_number(blake2b(name, digest_size=8).digest())[0])


def chained(parent: int, tokens: Sequence[int], block_size: int) -> list[int]:
    """The names of the full blocks that follow `parent`: 64-bit integers, one for each `block_size` tokens."""
    data = memoryview(array(UINT32, tokens)).cast("B")
    names = []
    size = block_size * _BYTES
    for start in range(0, len(data) - size + 1, size):
        digest = blake2b(data[start : start + size], digest_size=8, key=_chain(parent)).digest()
        (parent,) = _number(digest)
        names.append(parent)
    return names


def block_hashes(tokens: Sequence[int], block_size: int, *, adapter: str = "", salt: str = "") -> list[int]:
    """The names of the full blocks of a prompt, first to last. What is left over at the end has none."""
    return chained(root(adapter, salt), tokens, block_size)
