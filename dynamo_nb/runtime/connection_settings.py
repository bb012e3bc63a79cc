"""How a process reaches the others of its deployment: where NATS is, what proves who it is, what encrypts."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, Self, get_args
from urllib.parse import urlsplit

from dynamo_nb.errors import ConnectError, DeploymentError, suggestion

Plane = Literal["direct", "nats"]

CA, CERTIFICATE, KEY = "ca.crt", "tls.crt", "tls.key"
"""The files of a TLS folder, as secrets of the type kubernetes.io/tls and cert-manager lay them out; all are PEM."""

_VARIABLES: Final = {
    "nats_url": "NATS_SERVER",
    "nats_credentials": "NATS_CREDS",
    "nats_tls": "NATS_TLS",
    "secret": "DYNAMO_SECRET",
    "plane": "DYNAMO_PLANE",
    "tls": "DYNAMO_TLS",
}


@dataclass(frozen=True)
class Access:
    """Plain data, the same for every process of a deployment.

    nats_url: of NATS, or several separated by commas. nats_credentials: a `.creds` file. nats_tls: a folder with ca.crt
    (and tls.crt with tls.key, where NATS wants to know its clients), for a certificate that the system does not know.
    secret: what both ends of a TCP connection must know; None: the token in nats_url, where it has one; "": nothing.
    plane: "direct" (Unix sockets and TCP) or "nats", where no direct connection can be made. tls: a folder with
    ca.crt, tls.crt and tls.key; TCP connections are then encrypted, and both ends show a certificate of that authority.
    """

    nats_url: str = field(default="", repr=False)
    nats_credentials: str = ""
    nats_tls: str = ""
    secret: str | None = field(default=None, repr=False)
    plane: Plane = "direct"
    tls: str = ""

    @classmethod
    def of(cls, **given: Any) -> Self:
        """From what was given, where that is nothing from the environment.

        Raises DeploymentError for a plane that does not exist, or a file that cannot be read.
        """
        if not isinstance(given.get("secret") or "", str):
            raise DeploymentError("the secret is no text", remedy="give it as a string, or in DYNAMO_SECRET")
        found = {name: given.get(name) or os.environ.get(variable) for name, variable in _VARIABLES.items()}
        known: dict[str, Any] = {name: str(value) for name, value in found.items() if value}
        if given.get("secret") == "":
            known["secret"] = ""  # which is none, and not the default
        access = cls(**known)
        if access.plane not in get_args(Plane):
            raise DeploymentError(
                f"there is no plane {access.plane!r}", remedy=suggestion(access.plane, get_args(Plane))
            )
        if not access.nats_url and (given.get("nats_credentials") or given.get("nats_tls")):
            what = "credentials or TLS for NATS are given, and no NATS"
            raise DeploymentError(what, remedy="name it with nats=…, --nats or NATS_SERVER")
        if access.nats_credentials and not Path(access.nats_credentials).is_file():
            raise DeploymentError(
                f"the credentials of NATS are no file: {access.nats_credentials}",
                remedy="name the .creds file that the operator of NATS gave you",
            )
        for folder in filter(None, (access.nats_tls, access.tls)):
            access._context(folder, ssl.PROTOCOL_TLS_CLIENT, own=folder == access.tls)
        # Workers have working directories of their own.
        paths: dict[str, Any] = {name: str(Path(known[name]).resolve()) for name in _PATHS if name in known}
        return replace(access, **paths)

    @property
    def nats_address(self) -> str:
        """The URL, or the list of URLs, without user, password or token."""
        return ",".join(f"{p.scheme}://{p.netloc.rpartition('@')[2]}" for p in map(urlsplit, self.nats_url.split(",")))

    @property
    def shared_secret(self) -> str:
        """What both ends of a TCP connection must know; empty if nothing is asked for."""
        if self.secret is not None:
            return self.secret
        parts = urlsplit(self.nats_url.split(",", maxsplit=1)[0])
        return parts.username if parts.username and parts.password is None else ""

    @property
    def is_open(self) -> bool:
        """Whether a worker that listens on the network answers to anybody."""
        return self.plane == "direct" and not self.tls and bool(self.nats_url) and not self.shared_secret

    def for_nats(self) -> ssl.SSLContext | None:
        """TLS to NATS; None where the URL alone decides."""
        return self._context(self.nats_tls, ssl.PROTOCOL_TLS_CLIENT, own=False) if self.nats_tls else None

    def for_callers(self) -> ssl.SSLContext | None:
        """TLS of connections to workers; None where they are not encrypted."""
        if not self.tls:
            return None
        context = self._context(self.tls, ssl.PROTOCOL_TLS_CLIENT, own=True)
        # Workers are reached by the addresses that they register; the authority's signature says that they belong here.
        context.check_hostname = False
        return context

    def for_workers(self) -> ssl.SSLContext | None:
        """TLS of connections from callers, which have to show a certificate; None where they are not encrypted."""
        return self._context(self.tls, ssl.PROTOCOL_TLS_SERVER, own=True) if self.tls else None

    @staticmethod
    def _context(folder: str, protocol: int, *, own: bool) -> ssl.SSLContext:
        """own: whether this end needs a certificate too; one that is there is shown in any case."""
        context = ssl.SSLContext(protocol)
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(Path(folder, CA))
            if own or Path(folder, CERTIFICATE).exists():
                context.load_cert_chain(Path(folder, CERTIFICATE), Path(folder, KEY))
        except (OSError, ssl.SSLError) as error:
            raise ConnectError(
                f"the TLS files in {folder} cannot be used: {error}",
                where=folder,
                remedy=f"put {CA}" + (f", {CERTIFICATE} and {KEY}" if own else "") + " there, in PEM",
            ) from None
        return context


_PATHS: Final = ("nats_credentials", "nats_tls", "tls")
