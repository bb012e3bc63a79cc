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
from dynamo_nb.llm.engines.torch.model import TorchModel
from dynamo_nb.llm.engines.torch.options import TorchOptions
from dynamo_nb.llm.engines.torch.scheduler import Step, TorchScheduler

logger = logging.getLogger(__name__)

Task = Callable[[TorchScheduler], Any]
"""Work for the thread between two steps; returns True if it took about as long as a step."""


class Listener(Protocol):
    """Receives the thread's results on its own event loop."""

    def loaded(self, context: int, vocabulary: int, end_tokens: tuple[int, ...], sampling: dict[str, Any]) -> None:
        """The model is ready. See TorchModel for the arguments."""

    def stepped(self, step: Step) -> None:
        """One step is done."""

    def failed(self, error: EngineError) -> None:
        """The thread has ended with an error, before or after it loaded the model."""


class TorchThread:
    """Loads a model, computes steps while there are sequences, and frees the model at the end.

    Nothing outside holds a reference to the model, so that its memory is free when the thread has ended. Settings that
    torch keeps for each thread, such as the number of CPU threads, are applied in this thread.

    Args:
        options: Options to load and run the model.
        listener: Called on the current event loop.
    """

    def __init__(self, options: TorchOptions, listener: Listener) -> None:
        self._options, self._listener = options, listener
        self._loop = asyncio.get_running_loop()
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        # A daemon thread, so that the process can end without a call of `stop`.
        self._thread = Thread(target=self._run, name="dynamo-torch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, task: Task) -> None:
        """Schedules work before the next step. Callable from any thread."""
        self._tasks.put(task)

    def stop(self) -> None:
        """Ends the thread after its current step, or after a load that has begun; returns when it has ended."""
        self._tasks.put(None)
        self._thread.join()

    def call_on_loop(self, function: Callable[..., Any], *args: Any) -> None:
        """Calls a function on the event loop."""
        self._loop.call_soon_threadsafe(function, *args)

    def _run(self) -> None:
        failure = None
        self._failure_text = "the model cannot be loaded"
        try:
            self._work()
        except EngineError as error:
            failure = copy_of(error)
        except BaseException as error:
            logger.exception("%s: %s", self._options.model, self._failure_text)
            text = f"{self._failure_text}: {type(error).__name__}: {error}"
            failure = EngineError(text, where=f"model {self._options.model!r}", remedy="see the traceback in the log")
            clear_frames(error.__traceback__)  # the frames hold the model, and a log may hold the frames
        gc.collect()
        if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        if failure is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self.call_on_loop(self._listener.failed, failure)

    def _work(self) -> None:
        model = TorchModel(self._options)
        import torch

        self.call_on_loop(self._listener.loaded, model.context, model.vocabulary, model.end_tokens, model.sampling)
        self._failure_text = "the engine has failed"
        scheduler = TorchScheduler(model, self._options.slots)
        with torch.inference_mode():
            while self._run_tasks(scheduler):
                step = scheduler.step()
                self.call_on_loop(self._listener.stepped, step)

    def _run_tasks(self, scheduler: TorchScheduler) -> bool:
        """Runs the waiting tasks; waits for one if the scheduler is idle. Returns False if the thread should end."""
        while True:
            try:
                task = self._tasks.get(block=scheduler.idle)
            except Empty:
                return True
            if task is None:
                return False
            if task(scheduler) and not scheduler.idle:
                return True  # it took as long as a step: now the running sequences get one


def copy_of(error: EngineError) -> EngineError:
    """Returns a new error with the same message: every raise adds to the traceback of an error."""
    return EngineError(error.what, where=error.where, remedy=error.remedy)
