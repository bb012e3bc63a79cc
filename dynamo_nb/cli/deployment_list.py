"""The deployments of this user on this machine, as `dynamo ps` shows them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from dynamo_nb.control.record import Record
from dynamo_nb.control.status import ServiceStatus, Status
from dynamo_nb.errors import DynamoError

_COLUMNS = ("deployment", "owner", "age", "GPUs", "URL", "services")


async def deployments() -> list[dict[str, Any]]:
    """Returns plain data about each deployment, oldest first.

    Returns:
        One dict for each deployment:

        - `id`, `name`, and `pid` of the supervisor;
        - `owner`: `pid`, `title`, `alive`, `here` (True for this process); None if the deployment is detached;
        - `clients`: `pid` and `title` of each process that watches it;
        - `age` in seconds;
        - `gpus` and `urls` of all services;
        - `services`: by name, with `state`, `ready`, `desired`, `gpus`, `url`;
        - `left`: True if a crash left it behind;
        - `error`: why the supervisor reported nothing, or "".
    """
    from dynamo_nb.control.record import records

    return [await _describe(record) for record in records()]


async def _describe(record: Record) -> dict[str, Any]:
    from dynamo_nb.control.client import ask_status

    owner = record.owner
    found: dict[str, Any] = {
        "id": record.id,
        "name": record.name,
        "pid": record.supervisor.pid,
        "owner": owner
        and {
            "pid": owner.pid,
            "title": record.owned_by,
            "alive": owner.alive,
            "here": owner.pid == os.getpid(),
        },
        "clients": [],
        "age": max(round(time.time() - record.started, 1), 0.0),  # the clock may have been set back
        "gpus": [],
        "urls": [],
        "services": {},
        "left": not record.alive,
        "error": "",
    }
    if not record.alive:
        return found
    try:
        status = await ask_status(record.control)
    except DynamoError as error:
        return {**found, "error": error.what}
    services = status.started_services
    return {
        **found,
        "clients": [{"pid": client.pid, "title": client.title} for client in status.clients],
        "gpus": sorted({gpu for service in services.values() for gpu in service.gpus}),
        "urls": list(status.urls.values()),
        "services": {name: _service(service) for name, service in services.items()},
    }


def in_columns(found: Sequence[Mapping[str, Any]]) -> str:
    """Formats the result of `deployments` as a text table. Columns that are empty in every row are left out."""
    if not found:
        return "nothing is being served"
    rows = [_row(deployment) for deployment in found]
    shown = [i for i, name in enumerate(_COLUMNS) if name in {"deployment", "services"} or any(r[i] for r in rows)]
    lines = [[row[i] for i in shown] for row in (_COLUMNS, *rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(shown) - 1)]
    return "\n".join(
        "  ".join([*(cell.ljust(w) for cell, w in zip(line, widths, strict=False)), line[-1]]) for line in lines
    )


def _row(found: Mapping[str, Any]) -> tuple[str, ...]:
    if found["left"]:
        return found["id"], "", "", "", "", "left by a crash; `dynamo clean` removes it"
    services = found["error"] or _summary(found["services"])
    age, gpus, urls = _age(found["age"]), ",".join(found["gpus"]), " ".join(found["urls"])
    return found["id"], _owner(found), age, gpus, urls, services


def _owner(found: Mapping[str, Any]) -> str:
    owner, clients = found["owner"], found["clients"]
    if owner is None:
        text = "detached"
    elif owner["here"]:
        text = f"this {owner['title'].partition(' ')[0]}"
    else:
        text = f"{owner['title']} {owner['pid']}" + ("" if owner["alive"] else " (ended)")
    here = [client for client in clients if client["pid"] == os.getpid()]
    others = [f"{client['title']} {client['pid']}".strip() for client in clients if client not in here]
    return ", ".join([text, *["attached here"] * bool(here), *(f"watched by {other}" for other in others)])


def _service(service: ServiceStatus) -> dict[str, Any]:
    return {
        "state": service.state,
        "ready": service.ready,
        "desired": service.desired,
        "gpus": service.gpus,
        "url": service.url,
    }


def summary(status: Status) -> str:
    """Returns the services of a deployment in one line: `Backend ready 2/2, Frontend ready 1/1`."""
    return _summary({name: _service(service) for name, service in status.started_services.items()})


def _summary(services: Mapping[str, Mapping[str, Any]]) -> str:
    return ", ".join(
        f"{name} {s['state']} {s['ready']}/{s['desired']}" + (f" GPU {','.join(s['gpus'])}" if s["gpus"] else "")
        for name, s in services.items()
    )


def _age(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
