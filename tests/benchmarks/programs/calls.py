"""The SDK's own path: a dependency's client in one worker calls the endpoints of another, both as they are served.

Usage: calls.py [profile calls|models|at_once|items]        profile: shows where the time goes instead
"""

import asyncio
import sys

from calls_graph import Caller
from place import own_home, tell

from dynamo_nb import serve


async def run(profile=""):
    async with await serve(Caller, http_port=0) as deployment:
        return await (deployment.Caller.profiled(profile) if profile else deployment.Caller.measured())


if __name__ == "__main__":
    with own_home():
        if len(sys.argv) > 2:
            print(asyncio.run(run(sys.argv[2])))
        else:
            tell(asyncio.run(run()))
