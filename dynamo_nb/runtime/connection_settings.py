"""Connection settings: where NATS is, and what authenticates and encrypts connections between processes."""

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
"""The files of a TLS folder, named as in Kubernetes secrets of type kubernetes.io/tls and by cert-manager. All are
PEM."""

_VARIABLES: Final = {
    "nats_url": "NATS_SERVER",
    "nats_credentials": "NATS_CREDS",
    "nats_tls": "NATS_TLS",
    "secret": "DYNAMO_SECRET",
    "plane": "DYNAMO_PLANE",
    "tls": "DYNAMO_TLS",
}


@dataclass(frozen=True)
class ConnectionSettings:
    """The connection settings of a deployment: plain data, the same for all its processes.

    Attributes:
        nats_url: URL of NATS, or several URLs separated by commas.
        nats_credentials: Path of a `.creds` file.
        nats_tls: Folder with ca.crt, for a NATS whose certificate the system does not know; also with tls.crt and
            tls.key, if NATS requires client certificates.
        secret: Both ends of a TCP connection must know it. None stands for the token in `nats_url`, if there is one;
            the empty string turns authentication off.
        plane: "direct" (Unix sockets and TCP), or "nats" where no direct connection is possible.
        tls: Folder with ca.crt, tls.crt and tls.key. TCP connections are then encrypted, and both ends must present a
            certificate of that authority.
    """

    nats_url: str = field(default="", repr=False)
    nats_credentials: str = ""
    nats_tls: str = ""
    secret: str | None = field(default=None, repr=False)
    plane: Plane = "direct"
    tls: str = ""

    @classmethod
    def of(cls, **given: Any) -> Self:
        """Combines values with the environment variables.

        Args:
            **given: Fields of this class. A field that is missing or empty is read from its environment variable.

        Raises:
            DeploymentError: A value is not valid.
            ConnectError: A TLS file cannot be read.
        """
        if not isinstance(given.get("secret") or "", str):
            raise DeploymentError("the secret is not text", remedy="pass it as a string, or in DYNAMO_SECRET")
        found = {name: given.get(name) or os.environ.get(variable) for name, variable in _VARIABLES.items()}
        known: dict[str, Any] = {name: str(value) for name, value in found.items() if value}
        if given.get("secret") == "":
            known["secret"] = ""  # no authentication, instead of the default
        access = cls(**known)
        if access.plane not in get_args(Plane):
            raise DeploymentError(f"unknown plane {access.plane!r}", remedy=suggestion(access.plane, get_args(Plane)))
        if not access.nats_url and (given.get("nats_credentials") or given.get("nats_tls")):
            what = "credentials or TLS files for NATS are set, but no NATS"
            raise DeploymentError(what, remedy="set its URL with nats=…, --nats or NATS_SERVER")
        if access.nats_credentials and not Path(access.nats_credentials).is_file():
            raise DeploymentError(
                f"the credentials of NATS are not a file: {access.nats_credentials}",
                remedy="use the path of the .creds file that you got from the operator of NATS",
            )
        for folder in filter(None, (access.nats_tls, access.tls)):
            access._context(folder, ssl.PROTOCOL_TLS_CLIENT, own=folder == access.tls)
        # Workers have their own working directories.
        paths: dict[str, Any] = {name: str(Path(known[name]).resolve()) for name in _PATHS if name in known}
        return replace(access, **paths)

    @property
    def nats_address(self) -> str:
        """The URL of NATS, or the list of URLs, without user, password or token."""
        return ",".join(f"{p.scheme}://{p.netloc.rpartition('@')[2]}" for p in map(urlsplit, self.nats_url.split(",")))

    @property
    def shared_secret(self) -> str:
        """The secret that both ends of a TCP connection must know; empty without authentication."""
        if self.secret is not None:
            return self.secret
        parts = urlsplit(self.nats_url.split(",", maxsplit=1)[0])
        return parts.username if parts.username and parts.password is None else ""

    @property
    def is_open(self) -> bool:
        """True if a worker that listens on the network answers any caller."""
        return self.plane == "direct" and not self.tls and bool(self.nats_url) and not self.shared_secret

    def for_nats(self) -> ssl.SSLContext | None:
        """Returns the TLS context for NATS, or None if the URL alone decides."""
        return self._context(self.nats_tls, ssl.PROTOCOL_TLS_CLIENT, own=False) if self.nats_tls else None

    def for_callers(self) -> ssl.SSLContext | None:
        """Returns the TLS context of connections to workers, or None without encryption."""
        if not self.tls:
            return None
        context = self._context(self.tls, ssl.PROTOCOL_TLS_CLIENT, own=True)
        # Workers are reached by the addresses that they register; the authority's signature shows that they belong to
        # the deployment.
        context.check_hostname = False
        return context

    def for_workers(self) -> ssl.SSLContext | None:
        """Returns the TLS context of connections from callers, who must present a certificate, or None."""
        return self._context(self.tls, ssl.PROTOCOL_TLS_SERVER, own=True) if self.tls else None

    @staticmethod
    def _context(folder: str, protocol: int, *, own: bool) -> ssl.SSLContext:
        """own: this end needs a certificate too. A certificate in the folder is presented in any case."""
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
                remedy=f"put {CA}" + (f", {CERTIFICATE} and {KEY}" if own else "") + " in this folder, in PEM format",
            ) from None
        return context


_PATHS: Final = ("nats_credentials", "nats_tls", "tls")
