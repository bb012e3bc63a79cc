"""Divides the GPUs of this machine among notebooks that run at the same time."""

from __future__ import annotations

import os
from collections.abc import Sequence

from dynamo_nb.supervisor.gpus import inventory

_VARIABLES = ("CUDA_VISIBLE_DEVICES", "DYNAMO_GPUS")


def gpu_slots(jobs: int, gpus: Sequence[str] | None = None) -> list[dict[str, str]]:
    """Returns the environment variables of each slot. One notebook at a time runs in a slot.

    A notebook may use each GPU that it sees. So the number of slots is limited by the number of GPUs, if there are any.

    Args:
        jobs: Maximum number of slots.
        gpus: Ids of the GPUs. Default: the GPUs that this process may use.
    """
    ids = [gpu.id for gpu in inventory().gpus] if gpus is None else list(gpus)
    if not ids:
        return [{} for _ in range(jobs)]
    slots = min(jobs, len(ids))
    variables = [name for name in _VARIABLES if name == _VARIABLES[0] or name in os.environ]
    return [dict.fromkeys(variables, ",".join(ids[slot::slots])) for slot in range(slots)]
