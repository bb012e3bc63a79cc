"""Tensors of 64 MB through the SDK's own path, from one worker to another and back.

Usage: tensors.py [numpy|torch]
"""

import asyncio
import importlib.util
import sys

from place import own_home, skip, tell
from tensors_graph import Mover

from dynamo_nb import serve


async def run(kind):
    async with await serve(Mover, http_port=0) as deployment:
        return await deployment.Mover.measured(kind)


if __name__ == "__main__":
    kind = sys.argv[1]
    if importlib.util.find_spec(kind) is None:
        skip(f"no {kind}")
    with own_home():
        tell(asyncio.run(run(kind)))
