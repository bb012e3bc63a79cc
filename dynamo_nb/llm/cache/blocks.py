"""Names of KV-cache blocks: a hash of a block's tokens, chained to everything before the block."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from hashlib import blake2b
from struct import Struct
from typing import Final

UINT32: Final = "I"  # array's type code of an unsigned 32-bit integer, which holds any token id
_BYTES: Final = array(UINT32).itemsize
_number = Struct("<Q").unpack
_chain = Struct("<Q").pack


def root(adapter: str = "", salt: str = "") -> int:
    """Returns the parent of a first block. With another adapter or salt, the same tokens have other names."""
    if not adapter and not salt:
        return 0
    name = b"%d:%b%b" % (len(adapter.encode()), adapter.encode(), salt.encode())
    return int(_number(blake2b(name, digest_size=8).digest())[0])


def chained(parent: int, tokens: Sequence[int], block_size: int) -> list[int]:
    """Returns the names of the full blocks after `parent`: one 64-bit integer for each `block_size` tokens."""
    data = memoryview(array(UINT32, tokens)).cast("B")
    names = []
    size = block_size * _BYTES
    for start in range(0, len(data) - size + 1, size):
        digest = blake2b(data[start : start + size], digest_size=8, key=_chain(parent)).digest()
        (parent,) = _number(digest)
        names.append(parent)
    return names


def block_hashes(tokens: Sequence[int], block_size: int, *, adapter: str = "", salt: str = "") -> list[int]:
    """Returns the names of the full blocks of a prompt. A last block that is not full has no name.

    Args:
        tokens: The token ids.
        block_size: Tokens in a block.
        adapter: Name of the LoRA adapter, "" for none.
        salt: Keeps the blocks of its users apart from all others, "" for none.
    """
    return chained(root(adapter, salt), tokens, block_size)
