"""Who may talk to whom: the deployment's secret on the network, the owner of the process on one host.

Over a network both ends prove that they know the secret before any other frame is read, each over a number that the
other has just drawn, so that nothing overheard can be used again:

    caller   HELLO  version, nonce
    worker   HELLO  version, nonce, proof
    caller   HELLO  proof

It keeps strangers out; it does not encrypt. Where others can listen or interfere, give the deployment TLS as well
(`Access.tls`), or a network of its own.
"""

from __future__ import annotations

import hmac
import os
import socket
import stat
import struct
from asyncio import BaseTransport
from pathlib import Path
from secrets import token_bytes
from typing import Any, Final

from dynamo_nb.errors import StartError

HANDSHAKE_TIMEOUT: Final = 5.0  # seconds in which a caller must have said who it is
NONCE: Final = 32  # bytes

CALLER: Final = b"caller"
WORKER: Final = b"worker"


def key_of(secret: str) -> bytes | None:
    """The key for proofs; None without a secret."""
    # Of its own, so that a proof shows nothing about a token that is used elsewhere too.
    return hmac.digest(secret.encode(), b"dynamo_nb request plane", "sha256") if secret else None


def new_nonce() -> bytes:
    return token_bytes(NONCE)


def proof(key: bytes, role: bytes, instance_id: int, caller: bytes, worker: bytes) -> bytes:
    """What `role` shows to the other end. caller, worker: their nonces."""
    return hmac.digest(key, role + instance_id.to_bytes(8, "big") + caller + worker, "sha256")


def proves(shown: Any, key: bytes, role: bytes, instance_id: int, caller: Any, worker: Any) -> bool:
    """Whether what was shown is the proof of `role`. The nonces and the proof may be anything that a peer has sent."""
    if not all(type(value) is bytes and len(value) == NONCE for value in (shown, caller, worker)):
        return False
    return hmac.compare_digest(shown, proof(key, role, instance_id, caller, worker))


def is_local(transport: BaseTransport) -> bool:
    """Whether the connection is a Unix socket."""
    sock = transport.get_extra_info("socket")
    return sock is not None and sock.family == getattr(socket, "AF_UNIX", None)


def is_own(transport: BaseTransport) -> bool:
    """Whether the process at the other end of a Unix socket is the same user's, or root's."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True  # the folder alone keeps others out
    credentials = transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return struct.unpack("3i", credentials)[1] in {os.geteuid(), 0}


def private_folder(folder: Path) -> None:
    """Makes the folder, which only its owner can enter. Raises StartError when it is there and others can."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise StartError(
            f"others than its owner can enter the folder for sockets, {folder}",
            where=str(folder),
            remedy=f"chmod 700 {folder}, or choose another folder",
        )
