"""The user at the other end of a TCP connection of this machine, which Linux lists with each socket."""

from __future__ import annotations

import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

_TABLES: Final = {socket.AF_INET: Path("/proc/net/tcp"), socket.AF_INET6: Path("/proc/net/tcp6")}
_ESTABLISHED: Final = "01"
"""A socket in another state may have no owner any more, and is listed as root's."""

Address = tuple[str, int]


def owner_of(peer: Address, own: Address, family: socket.AddressFamily) -> int | None:
    """The id of the user whose process holds the other end; None if it is not known, as on another machine.

    Args:
        peer: host and port of the other end.
        own: host and port of this end.
        family: of the connection.
    """
    ends = [_in_table(peer, family), _in_table(own, family)]
    with suppress(OSError), _TABLES[family].open() as table:
        for line in table:
            fields = line.split()
            if fields[1:4] == [*ends, _ESTABLISHED]:
                return int(fields[7])
    return None


def _in_table(address: Address, family: socket.AddressFamily) -> str:
    """An address as the table has it: words in the byte order of the machine, in hexadecimal digits."""
    packed = socket.inet_pton(family, address[0])
    words = [int.from_bytes(packed[i : i + 4], sys.byteorder) for i in range(0, len(packed), 4)]
    return "".join(f"{word:08X}" for word in words) + f":{address[1]:04X}"
