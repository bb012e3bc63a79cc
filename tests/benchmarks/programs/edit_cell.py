"""An edited cell is run again while its graph is served: until the first new answer in the next cell."""

import json
import time

from kernel import started_kernel
from place import own_home, tell

IMPORTS = "%load_ext dynamo_nb\nfrom dynamo_nb import depends, dynamo_endpoint, serve, service"
BACKEND = """\
@service
class Backend:
    @dynamo_endpoint()
    async def generate(self, text: str) -> str:
        return text + "-old"
"""
FRONTEND = """\
@service
class Frontend:
    backend = depends(Backend)

    @dynamo_endpoint()
    async def generate(self, text: str) -> str:
        return await self.backend.generate(text)
"""
ASK = "print(await deployment.Frontend.generate('hello'))"
EDITS = 3


def run(folder):
    with started_kernel(folder, folder) as kernel:
        kernel.run(IMPORTS, "imports")
        kernel.run(BACKEND, "backend")
        kernel.run(FRONTEND, "frontend")
        kernel.run("deployment = await serve(Frontend, http_port=0)", "serve")
        assert kernel.run(ASK, "ask") == "hello-old\n"
        times = []
        for edit in range(EDITS):
            start = time.perf_counter()
            kernel.run(BACKEND.replace("-old", f"-new{edit}"), "backend")
            answer = kernel.run(ASK, "ask")
            times.append(time.perf_counter() - start)
            assert answer == f"hello-new{edit}\n", json.dumps(answer)
        kernel.run("await deployment.stop()", "stop")
        return sorted(times)[EDITS // 2]


if __name__ == "__main__":
    with own_home() as folder:
        tell({"seconds": run(folder)})
