"""A service is replaced while 500 calls a second go to it: how many fail, and how soon the new one answers.

Calls begin on a fixed beat, whatever becomes of those before them.
"""

import asyncio
import time

from hello_graph import Backend
from place import own_home, tell

from dynamo_nb import serve

RATE = 500
BEFORE, AFTER = 1.0, 2.0  # seconds of load around the replacement
PATIENCE = 60  # seconds for the new answer


class Load:
    def __init__(self, call):
        self.call = call
        self.failed, self.sent, self.latest = [], 0, 0.0
        self.first_new = asyncio.get_running_loop().create_future()
        self._stopping = False

    async def one(self):
        began = time.perf_counter()
        try:
            answer = await self.call()
        except Exception as error:
            self.failed.append(repr(error))
            return
        now = time.perf_counter()
        self.latest = max(self.latest, now - began)
        if answer == "hello-new" and not self.first_new.done():
            self.first_new.set_result(now)

    async def run(self):
        loop = asyncio.get_running_loop()
        start, calls = loop.time(), set()
        while not self._stopping:
            due = int((loop.time() - start) * RATE)
            for _ in range(due - self.sent):
                task = loop.create_task(self.one())
                calls.add(task)
                task.add_done_callback(calls.discard)
            self.sent = due
            await asyncio.sleep(1 / RATE)
        await asyncio.gather(*calls)

    def stop(self):
        self._stopping = True


async def run():
    deployment = await serve(Backend, {"Backend.mark": "-old"}, http_port=0)
    assert await deployment.Backend.generate("hello") == "hello-old"
    load = Load(lambda: deployment.Backend.generate("hello"))
    running = asyncio.create_task(load.run())
    await asyncio.sleep(BEFORE)
    start = time.perf_counter()
    await deployment.update({"Backend.mark": "-new"})
    first_new = await asyncio.wait_for(load.first_new, PATIENCE)
    await asyncio.sleep(AFTER)
    load.stop()
    await running
    await deployment.stop()
    for error in sorted(set(load.failed)):
        print(f"{load.failed.count(error)} x {error}")
    return {"failed": len(load.failed), "seconds": first_new - start, "sent": load.sent, "slowest_s": load.latest}


if __name__ == "__main__":
    with own_home():
        tell(asyncio.run(run()))
