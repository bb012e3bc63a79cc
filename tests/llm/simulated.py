"""An event loop whose time passes only when nothing is left to do: seconds take no time, and nothing depends on the machine."""

import asyncio


class SimulatedLoop(asyncio.SelectorEventLoop):
    def __init__(self):
        super().__init__()
        self._now = 0.0
        ready = self._selector.select

        def select(timeout=None):
            events = ready(0)
            if not events and timeout is None:
                raise RuntimeError("everyone waits, and nothing will ever happen")
            if not events:
                self._now += timeout
            return events

        self._selector.select = select

    def time(self):
        return self._now


def simulated(main):
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(main)
