"""An event loop with simulated time: it advances only when there is nothing else to do, so that tests need no waiting."""

import asyncio


class SimulatedLoop(asyncio.SelectorEventLoop):
    def __init__(self):
        super().__init__()
        self._now = 0.0
        real_select = self._selector.select

        def select(timeout=None):
            events = real_select(0)
            if not events and timeout is None:
                raise RuntimeError("all tasks wait, and there is no timer")
            if not events:
                self._now += timeout
            return events

        self._selector.select = select

    def time(self):
        return self._now


def run_simulated(main):
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(main)
