"""What counting costs: the same calls with meters, divided by those with meters that do nothing, in turns."""

import asyncio

from metered_graph import Caller
from place import own_home, tell

from dynamo_nb import serve


async def run():
    async with await serve(Caller, http_port=0) as deployment:
        return await deployment.Caller.measured()


if __name__ == "__main__":
    with own_home():
        tell(asyncio.run(run()))
