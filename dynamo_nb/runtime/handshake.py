"""Authentication of connections: the deployment's secret over a network, the owner of the process on one host.

Over a network both ends prove that they know the secret before any other frame is read. Each proof includes a nonce
that the other end has just drawn, so that a recorded proof is useless:

    caller   HELLO  version, nonce
    worker   HELLO  version, nonce, proof
    caller   HELLO  proof

This keeps strangers out; it does not encrypt. If others can listen or interfere, use TLS as well
(`ConnectionSettings.tls`), or a separate network.
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

HANDSHAKE_TIMEOUT: Final = 5.0  # seconds within which a peer must authenticate
NONCE: Final = 32  # bytes

CALLER: Final = b"caller"
WORKER: Final = b"worker"


def key_of(secret: str) -> bytes | None:
    """Returns the key for proofs, or None without a secret."""
    # Derived, so that a proof reveals nothing about a token that is used elsewhere too.
    return hmac.digest(secret.encode(), b"dynamo_nb request plane", "sha256") if secret else None


def new_nonce() -> bytes:
    """Draws a nonce."""
    return token_bytes(NONCE)


def proof(key: bytes, role: bytes, instance_id: int, caller: bytes, worker: bytes) -> bytes:
    """Returns the proof that one end sends.

    Args:
        key: The key of the secret.
        role: CALLER or WORKER, the end that sends it.
        instance_id: The worker's instance.
        caller: The caller's nonce.
        worker: The worker's nonce.
    """
    return hmac.digest(key, role + instance_id.to_bytes(8, "big") + caller + worker, "sha256")


def proves(shown: Any, key: bytes, role: bytes, instance_id: int, caller: Any, worker: Any) -> bool:
    """Returns True if `shown` is the proof. The proof and the nonces may be any values that a peer sent."""
    if not all(type(value) is bytes and len(value) == NONCE for value in (shown, caller, worker)):
        return False
    return hmac.compare_digest(shown, proof(key, role, instance_id, caller, worker))


def is_local(transport: BaseTransport) -> bool:
    """Returns True if the connection is a Unix socket."""
    sock = transport.get_extra_info("socket")
    return sock is not None and sock.family == getattr(socket, "AF_UNIX", None)


def is_own(transport: BaseTransport) -> bool:
    """Returns True if the process at the other end of a Unix socket belongs to the same user, or to root."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True  # the folder's permissions keep others out
    credentials = transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return struct.unpack("3i", credentials)[1] in {os.geteuid(), 0}


def private_folder(folder: Path) -> None:
    """Creates a folder that only its owner can enter. Raises StartError if it exists and others can enter it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    # Another user could change the target of a link in /tmp later.
    if {found.st_uid, folder.lstat().st_uid} != {os.geteuid()} or stat.S_IMODE(found.st_mode) & 0o077:
        raise StartError(
            f"other users can enter the folder for sockets: {folder}",
            where=str(folder),
            remedy=f"run chmod 700 {folder}, or choose another folder",
        )
