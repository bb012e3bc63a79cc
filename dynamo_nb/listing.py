"""Deployments of this user as text."""

from __future__ import annotations

import time
from typing import Any

from dynamo_nb.errors import DynamoError


async def listing() -> str:
    from dynamo_nb.deploy.control import ask
    from dynamo_nb.deploy.home import records

    rows = [("deployment", "owner", "age", "services")]
    for record in records():
        if not record.alive:
            rows.append((record.id, "", "", "left by a crash; `dynamo clean` removes it"))
            continue
        try:
            status = await ask(record.control, "status")
        except DynamoError as error:
            rows.append((record.id, "", "", error.what))
            continue
        services = ", ".join(_service(name, s) for name, s in status["services"].items() if s["state"])
        owner = f"process {record.owner.pid}" if record.owner is not None else "detached"
        rows.append((record.id, owner, _age(time.time() - record.started), services))
    if len(rows) == 1:
        return "nothing is being served"
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    return "\n".join("  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[3]]) for row in rows)


def _service(name: str, service: dict[str, Any]) -> str:
    ready = sum(w["state"] == "ready" for w in service["workers"])
    gpus = sorted({gpu for w in service["workers"] for gpu in w["gpus"]})
    return f"{name} {service['state']} {ready}/{service['wanted']}" + (f" GPU {','.join(gpus)}" if gpus else "")


def summary(status: dict[str, Any]) -> str:
    return ", ".join(_service(name, s) for name, s in status["services"].items() if s["state"])


def _age(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
