"""The thread in which a TorchEngine computes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import sys
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from traceback import clear_frames
from typing import Any, Protocol

from dynamo_nb.errors import EngineError
from dynamo_nb.llm.engines.torch.model import TorchModel, TorchOptions
from dynamo_nb.llm.engines.torch.scheduler import Step, TorchScheduler

logger = logging.getLogger(__name__)

Task = Callable[[TorchScheduler], Any]
"""What the thread does between two steps; gives True where that was about as long as one."""


class Listener(Protocol):
    """Who is told, on its event loop, what the thread has come to."""

    def loaded(self, context: int, vocabulary: int, ends: tuple[int, ...]) -> None:
        """The model can be used. See TorchModel."""

    def stepped(self, step: Step) -> None:
        """All that came of one step."""

    def failed(self, error: EngineError) -> None:
        """The thread has ended, before it had loaded the model or after."""


class TorchThread:
    """Loads a model, goes on with its sequences while there are any, and frees it at the end.

    Nothing of the model is held from outside: it is gone when the thread is. What torch sets for a thread, such as the
    number of those that help it on a CPU, is set in this one.
    """

    def __init__(self, options: TorchOptions, slots: int, listener: Listener) -> None:
        """To be made on the listener's event loop, and started with `start`."""
        self._options, self._slots, self._listener = options, slots, listener
        self._loop = asyncio.get_running_loop()
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        # The end of the process does not wait for a loop that will never say stop.
        self._thread = Thread(target=self._run, name="dynamo-torch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, task: Task) -> None:
        """Has it done before the next step. From any thread."""
        self._tasks.put(task)

    def stop(self) -> None:
        """Returns when the thread has ended, after the step that it is in, or after a load that it has begun."""
        self._tasks.put(None)
        self._thread.join()

    def tell(self, what: Callable[..., Any], *args: Any) -> None:
        """Calls it on the event loop."""
        self._loop.call_soon_threadsafe(what, *args)

    def _run(self) -> None:
        failure = None
        self._doing = "the model cannot be loaded"
        try:
            self._work()
        except EngineError as error:
            failure = EngineError(error.what, where=error.where, remedy=error.remedy)
        except BaseException as error:
            logger.exception("%s: %s", self._options.model, self._doing)
            what = f"{self._doing}: {type(error).__name__}: {error}"
            failure = EngineError(what, where=f"model {self._options.model!r}", remedy="the log has the traceback")
            clear_frames(error.__traceback__)  # which hold the model, and may be held by a log
        gc.collect()
        if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        if failure is not None:
            with contextlib.suppress(RuntimeError):  # of a loop that is closed
                self.tell(self._listener.failed, failure)

    def _work(self) -> None:
        model = TorchModel(self._options)
        import torch

        self.tell(self._listener.loaded, model.context, model.vocabulary, model.ends)
        self._doing = "the engine has failed"
        scheduler = TorchScheduler(model, self._slots)
        with torch.inference_mode():
            while self._is_to_go_on(scheduler):
                step = scheduler.step()
                self.tell(self._listener.stepped, step)

    def _is_to_go_on(self, scheduler: TorchScheduler) -> bool:
        """Does what there is to do; waits for it while no sequence is there."""
        while True:
            try:
                task = self._tasks.get(block=scheduler.idle)
            except Empty:
                return True
            if task is None:
                return False
            if task(scheduler) and not scheduler.idle:
                return True  # it has computed: those who run have their turn
