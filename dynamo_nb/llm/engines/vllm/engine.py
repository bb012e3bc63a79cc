"""The engine that serves with vLLM."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import multiprocessing
import os
import signal
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from itertools import count
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil

from dynamo_nb.errors import DynamoError, EngineError, InvalidArgument
from dynamo_nb.llm.cache.log import CacheLog
from dynamo_nb.llm.engines.context_limit import room
from dynamo_nb.llm.engines.vllm.arguments import INSTALL
from dynamo_nb.llm.engines.vllm.events import EventReader
from dynamo_nb.llm.engines.vllm.requests import prefill_params, refused, sampling_params, token_delta
from dynamo_nb.llm.messages import Load, ModelInfo, TokenDelta, TokenRequest

if TYPE_CHECKING:
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

STOP_TIME: Final = 10.0  # seconds from the request to stop until an engine's processes are killed
LOOK: Final = 0.1  # seconds between looks for processes of a start that is given up
ENVIRONMENT: Final = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    # A forked process would have this one's threads' locks, held for ever.
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
}
"""What is set unless the user has set it."""
SOCKET_ROOM: Final = 107 - len("/01234567-89ab-cdef-0123-456789abcdef")  # bytes of a folder in which vLLM names sockets


class VllmEngine:
    """Serves with vLLM's AsyncLLM, whose engine runs in processes of its own. Implements Engine.

    Its cache events come from vLLM's own, unless prefix caching is off, there are several data-parallel ranks, or the
    arguments bring a `kv_events_config` for somebody else.
    """

    def __init__(self, arguments: Callable[[], AsyncEngineArgs], folder: Path | None = None) -> None:
        """arguments: called in a thread when it starts: `partial(parse_vllm_args, "VllmWorker")`.

        folder: for sockets, which vLLM leaves where they are, and so may a killed process; a temporary one if None.
        """
        self.cache = CacheLog()
        self._arguments, self._folder = arguments, folder
        self._llm: AsyncLLM | None = None
        self._events: EventReader | None = None
        self._making: asyncio.Future[None] | None = None
        self._before: set[int] = set()
        self._adapters: dict[str, Any] = {}
        self._names: dict[str, str] = {}  # of requests in vLLM, which takes no two of one name, to ours
        self._numbers = count()
        self._load = Load()
        self._info: ModelInfo | None = None

    @property
    def info(self) -> ModelInfo:
        assert self._info is not None, "the engine has not started"
        return self._info

    # --- life -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Loads the model. Raises EngineError, or ConfigError for arguments that vLLM does not take."""
        self._before = {process.pid for process in multiprocessing.active_children() if process.pid}
        self._events = EventReader(self._folder)
        self._events.open()
        try:
            self._making = asyncio.ensure_future(asyncio.to_thread(self._make))
            await asyncio.shield(self._making)
            self._info = self._described()
            if "events" in self._info.features:
                self._events.follow(self.cache, self._info.block_size)
            self._loaded(Load(total_blocks=self._info.total_blocks))
        except BaseException as error:
            await self.stop()
            if isinstance(error, DynamoError) or not isinstance(error, Exception):
                raise
            raise EngineError(
                f"vLLM did not start: {error}",
                where=f"model {self._model!r}" if hasattr(self, "_model") else "VllmEngine",
                remedy="the last lines of the worker's log have the cause",
            ) from error

    def _make(self) -> None:
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        if self._folder is not None and len(os.fsencode(self._folder)) <= SOCKET_ROOM:
            os.environ.setdefault("VLLM_RPC_BASE_PATH", str(self._folder))  # vLLM never removes its sockets
        try:
            from vllm.lora.request import LoRARequest
            from vllm.v1.engine.async_llm import AsyncLLM
            from vllm.v1.metrics.loggers import PrometheusStatLogger
        except ImportError as error:
            raise EngineError(f"vLLM cannot be imported: {error}", where="VllmEngine", remedy=INSTALL) from error
        arguments = self._arguments()
        self._model = arguments.model
        # Its statistics go to `load`; vLLM's own loggers print lines, and fail where a connector brings tokens.
        arguments.disable_log_stats = True
        if arguments.kv_events_config is None and arguments.data_parallel_size == 1 and self._events is not None:
            arguments.kv_events_config = self._events.config()
        self._events_here = (
            arguments.kv_events_config is not None
            and self._events is not None
            and (arguments.kv_events_config.endpoint == self._events.config().endpoint)
        )
        for number, module in enumerate(getattr(arguments, "lora_modules", []), start=1):
            name, _, path = module.partition("=")
            self._adapters[name] = LoRARequest(name, number, path)
        _prepare_connector(arguments)
        # An interrupt in a terminal or a notebook goes to all processes of its group: the engine's must not hear it.
        # The resource tracker has to run before, since starting it lets SIGINT through again.
        resource_tracker.ensure_running()
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            # Kept nowhere but here: the frames of this thread can outlive it, in the traceback of some failed import.
            self._llm = AsyncLLM.from_engine_args(arguments, stat_loggers=[self._stat_logger])
            # Only the scheduler's statistics are read here; those of each token cost a tenth of what this process does.
            self._llm.log_stats = self._llm.output_processor.log_stats = False
            self._llm.logger_manager.stat_loggers = [
                logger
                for logger in self._llm.logger_manager.stat_loggers
                if not isinstance(logger, PrometheusStatLogger)
            ]
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _described(self) -> ModelInfo:
        assert self._llm is not None
        config = self._llm.vllm_config
        features = ["logprobs", "seed", "json_schema"]
        if self._is_pooling():
            features = ["embeddings"]
        if self._adapters:
            features.append("lora")
        if self._events_here and config.cache_config.enable_prefix_caching:
            features.append("events")
        if config.kv_transfer_config is not None:
            features.append("prefill")
        return ModelInfo(
            model=str(config.model_config.tokenizer or config.model_config.model),
            context=config.model_config.max_model_len,
            block_size=config.cache_config.block_size,
            total_blocks=config.cache_config.num_gpu_blocks or 0,
            features=tuple(features),
            adapters=tuple(self._adapters),
        )

    async def stop(self) -> None:
        if self._making is not None and not self._making.done():
            # A thread cannot be cancelled: what it waits for is taken away.
            while not self._making.done():
                _kill(self._processes())
                await asyncio.wait({self._making}, timeout=LOOK)
        self._making = None
        processes = self._processes()
        if self._llm is not None:
            await asyncio.to_thread(self._llm.shutdown, STOP_TIME)
            self._llm = None
            gc.collect()  # it holds itself, and its end at the interpreter's fails with a traceback
        await asyncio.to_thread(_ended, processes)
        if self._events is not None:
            events, self._events = self._events, None
            await events.close()
        self.cache.cleared()

    def _processes(self) -> list[psutil.Process]:
        """The engine's, those that it has started included."""
        found = []
        for child in multiprocessing.active_children():
            if child.pid and child.pid not in self._before:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process = psutil.Process(child.pid)
                    found += [process, *process.children(recursive=True)]
        return found

    async def health(self) -> None:
        try:
            await self._running().check_health()
        except DynamoError:
            raise
        except Exception as error:
            raise EngineError(f"vLLM's engine has died: {error}", where=f"model {self._model!r}") from error

    def _running(self) -> AsyncLLM:
        if self._llm is None:
            raise EngineError("the engine does not run", where="VllmEngine")
        return self._llm

    # --- work -----------------------------------------------------------------------------------------------------

    async def generate(self, request: TokenRequest) -> AsyncGenerator[TokenDelta, None]:
        left = self._room(request)
        if not left:
            yield TokenDelta([], "length")
            return
        sampling = request.sampling
        params = sampling_params(request, left)
        first = True
        async with aclosing(self._outputs(request, params)) as outputs:
            async for output in outputs:
                yield token_delta(output, sampling.logprobs, first=first)
                first = False

    async def prefill(self, request: TokenRequest) -> dict[str, Any]:
        self._room(request)
        if "prefill" not in self.info.features:
            raise InvalidArgument(
                "the engine cannot hand its cache over: it has no connector",
                where="prefill",
                remedy="configure kv-transfer-config",
            )
        transfer: dict[str, Any] = {}
        async with aclosing(self._outputs(request, prefill_params())) as outputs:
            async for output in outputs:
                if output.finished and output.outputs[0].finish_reason == "abort":
                    raise EngineError("the prefill was aborted", where=f"request {request.request_id}")
                transfer = output.kv_transfer_params or transfer
        return transfer

    async def embed(self, tokens: list[int]) -> list[float]:
        from vllm import PoolingParams
        from vllm.inputs.engine import tokens_input

        if not self._is_pooling():
            raise InvalidArgument(
                f"{self.info.model} makes no embeddings", where="model", remedy="serve it with runner: pooling"
            )
        request_id = f"embed-{os.urandom(8).hex()}"
        try:
            outputs = self._running().encode(tokens_input(list(tokens)), PoolingParams(task="embed"), request_id)
            async for output in outputs:
                vector = output.outputs.data
        except Exception as error:
            raise refused(error) from error
        return [float(value) for value in vector]

    async def abort(self, request_id: str) -> None:
        await self._running().abort([own for own, name in self._names.items() if name == request_id])

    def load(self) -> Load:
        return self._load

    def _is_pooling(self) -> bool:
        return bool(self._running().vllm_config.model_config.runner_type == "pooling")

    def _room(self, request: TokenRequest) -> int:
        if self._is_pooling():
            raise InvalidArgument(f"{self.info.model} makes embeddings, not text", where="model")
        return room(request, self.info)

    async def _outputs(self, request: TokenRequest, params: Any) -> AsyncGenerator[Any, None]:
        """What vLLM gives for a request. Closing it aborts the request."""
        from vllm.inputs.engine import tokens_input

        prompt = tokens_input(request.tokens, cache_salt=request.salt or None)
        adapter = self._adapters.get(request.adapter)
        name = f"{request.request_id}-{next(self._numbers)}"
        outputs = self._running().generate(prompt, params, name, lora_request=adapter)
        self._names[name] = request.request_id
        try:
            async with aclosing(outputs):
                async for output in outputs:
                    yield output
        except Exception as error:
            raise refused(error) from error
        finally:
            del self._names[name]

    # --- load -----------------------------------------------------------------------------------------------------

    def _loaded(self, load: Load) -> None:
        self._load = load
        self.cache.loaded(load)

    def _stat_logger(self, config: Any, engine_index: int = 0) -> Any:
        """What vLLM calls, on the loop, with the statistics of each step."""
        from vllm.v1.metrics.loggers import StatLoggerBase

        engine = self

        class Loads(StatLoggerBase):  # type: ignore[misc]
            def __init__(self, config: Any, engine_index: int = 0) -> None:
                pass

            def record(self, scheduler_stats: Any, *_: Any, **__: Any) -> None:
                if scheduler_stats is not None and engine._info is not None:
                    total = engine._info.total_blocks
                    waiting = scheduler_stats.num_waiting_reqs + scheduler_stats.num_skipped_waiting_reqs
                    used = round(scheduler_stats.kv_cache_usage * total)
                    engine._loaded(Load(scheduler_stats.num_running_reqs, waiting, used, total))

            def log_engine_initialized(self) -> None:
                pass

        return Loads(config, engine_index)


def _prepare_connector(arguments: AsyncEngineArgs) -> None:
    """Gives NIXL a port of its own on this machine, and, where there is no GPU, transports that need none."""
    transfer = arguments.kv_transfer_config
    if transfer is None or transfer.kv_connector != "NixlConnector":
        return
    from vllm.platforms import current_platform

    if "VLLM_NIXL_SIDE_CHANNEL_PORT" not in os.environ:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            os.environ["VLLM_NIXL_SIDE_CHANNEL_PORT"] = str(free.getsockname()[1])
    if current_platform.is_cpu():
        os.environ.setdefault("UCX_TLS", "tcp,shm,self")


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _ended(processes: list[psutil.Process]) -> None:
    """Returns when they are gone, which those that take too long are made to be."""
    _, alive = psutil.wait_procs(processes, timeout=STOP_TIME)
    _kill(alive)
    psutil.wait_procs(alive, timeout=STOP_TIME)
    multiprocessing.active_children()  # collects what has ended
