"""The same lines in a script and in the cells of a notebook: what one awaited call takes.

Usage: awaited_call.py [script|cell]
"""

import ast
import asyncio
import inspect
import sys
import textwrap
from pathlib import Path

from kernel import started_kernel
from load import REQUEST, median_call
from place import own_home, tell

HERE = Path(__file__).parent


async def measured():
    from calls_graph import Backend

    from dynamo_nb import serve

    deployment = await serve(Backend, http_port=0)
    took = await median_call(lambda: deployment.Backend.one(REQUEST))
    await deployment.stop()
    return took


def in_cell(folder):
    body = ast.unparse(ast.parse(textwrap.dedent(inspect.getsource(measured))).body[0].body[:-1])
    with started_kernel(folder, HERE) as kernel:
        kernel.run("%load_ext dynamo_nb\nfrom load import REQUEST, median_call", "imports")
        kernel.run(body, "measured")
        return float(kernel.run("print(took)", "shown"))


if __name__ == "__main__":
    with own_home() as folder:
        took = asyncio.run(measured()) if sys.argv[1] == "script" else in_cell(folder)
        tell({"call_us": 1e6 * took})
