"""The options of `serve` and of `dynamo serve`."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from dynamo_nb.control.options import DRAIN_GRACE, HANG_LIMIT, HTTP_HOST, HTTP_PORT, METRICS_HOST, METRICS_PORT, Options
from dynamo_nb.errors import ConfigError, Problem
from dynamo_nb.runtime.connection_settings import ConnectionSettings

_LAST_PORT = 2**16 - 1


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """Options of a deployment. `serve` describes them; they have the same names there.

    If an option is None, its environment variable applies, or else the default.
    """

    nats: str | None = None
    nats_credentials: str | Path | None = None
    nats_tls: str | Path | None = None
    worker_host: str | None = None
    secret: str | None = None
    tls: str | Path | None = None
    plane: str | None = None
    http_host: str | None = None
    http_port: int | None = None
    metrics_host: str | None = None
    metrics_port: int | None = None
    metrics_token: str | None = field(default=None, repr=False)
    detach: bool = False
    kernels: bool = True
    grace: float = DRAIN_GRACE
    hang: float = HANG_LIMIT

    def over(self, options: Mapping[str, Any], given: Collection[str]) -> ServeOptions:
        """Returns these options, with the options of a program in place of defaults.

        Args:
            options: Options of the program, by name. Unknown names are ignored, and so is `detach`: only the user of
                the serving process decides it.
            given: Names of the options that the user has set.
        """
        names = {one.name for one in fields(self)} - {"detach", *given}
        return replace(self, **{name: value for name, value in options.items() if name in names})

    def digest(self) -> str:
        """Returns a digest of the options in force, to recognise equal options. Raises the errors of `resolve`."""
        text = json.dumps([self.detach, asdict(self.resolve())], default=str)
        return sha256(text.encode()).hexdigest()

    def resolve(self) -> Options:
        """Returns the options of a supervisor, without folder, name and owner.

        Raises:
            ConfigError: A port or a number of seconds is not valid.
            DeploymentError: A connection setting is not valid.
            ConnectError: A TLS file cannot be read.
        """
        return Options(
            access=ConnectionSettings.of(
                nats_url=self.nats,
                nats_credentials=self.nats_credentials,
                nats_tls=self.nats_tls,
                secret=self.secret,
                plane=self.plane,
                tls=self.tls,
            ),
            worker_host=self.worker_host,
            http_host=self.http_host or os.environ.get("DYNAMO_HOST") or HTTP_HOST,
            http_port=_port(self.http_port, "DYNAMO_PORT", HTTP_PORT),
            http_port_required=self.http_port is not None or bool(os.environ.get("DYNAMO_PORT")),
            metrics_host=self.metrics_host or os.environ.get("DYNAMO_METRICS_HOST") or METRICS_HOST,
            metrics_port=_port(self.metrics_port, "DYNAMO_METRICS_PORT", METRICS_PORT),
            metrics_token=os.environ.get("DYNAMO_METRICS_TOKEN", "")
            if self.metrics_token is None
            else self.metrics_token,
            kernels=self.kernels,
            grace=_seconds("grace", self.grace),
            hang=_seconds("hang", self.hang),
        )


def _port(number: int | None, variable: str, default: int) -> int:
    text = str(number) if number is not None else os.environ.get(variable) or str(default)
    if not text.isdecimal() or int(text) > _LAST_PORT:
        problem = Problem(f"{text} is not a port", origin="" if number is not None else variable)
        raise ConfigError([problem], remedy=f"use a port from 1 to {_LAST_PORT}, or 0 for any free port")
    return int(text)


def _seconds(option: str, number: float) -> float:
    if not (isinstance(number, int | float) and 0 <= number < math.inf):
        raise ConfigError([Problem(f"{number!r} is not a number of seconds", option)], remedy="use 0 or more")
    return number
