"""The engine that serves with vLLM."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from itertools import count
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from dynamo_nb.errors import DynamoError, EngineError, InvalidArgument
from dynamo_nb.llm.cache.log import CacheLog
from dynamo_nb.llm.context_limit import remaining_tokens
from dynamo_nb.llm.engines.vllm.arguments import INSTALL
from dynamo_nb.llm.engines.vllm.events import EventReader
from dynamo_nb.llm.engines.vllm.processes import STOP_TIMEOUT, EngineProcesses, kill, wait_for_end
from dynamo_nb.llm.engines.vllm.requests import (
    model_sampling,
    prefill_params,
    request_error,
    sampling_params,
    token_delta,
)
from dynamo_nb.llm.features import check_features
from dynamo_nb.llm.messages import Load, ModelInfo, TokenDelta, TokenRequest
from dynamo_nb.llm.sampling_defaults import completed

if TYPE_CHECKING:
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

KILL_INTERVAL: Final = 0.1  # seconds between looks for new processes of a start that was given up
ENVIRONMENT: Final = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    # A forked process would inherit the locks of this process's threads, held for ever.
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
}
"""Environment variables that are set unless the user has set them."""
FEATURES: Final = (
    *("logprobs", "prompt_logprobs", "seed", "logit_bias"),
    *("json_schema", "regex", "choice", "grammar", "structural_tag"),
)
MAX_SOCKET_FOLDER: Final = 107 - len("/01234567-89ab-cdef-0123-456789abcdef")
"""Bytes of the longest folder in which vLLM can create its sockets."""


class VllmEngine:
    """Serves with vLLM's AsyncLLM, whose engine runs in processes of its own. Implements Engine.

    It publishes cache events unless prefix caching is off, there are several data-parallel ranks, or the arguments
    contain a `kv_events_config` for another reader.

    Args:
        arguments: Returns the arguments of vLLM's engine; called in a thread at the start.
        folder: For sockets, which vLLM does not remove, and a killed process cannot; a temporary folder if None.

    Example:
        `VllmEngine(partial(parse_vllm_args, "VllmWorker"))`
    """

    def __init__(self, arguments: Callable[[], AsyncEngineArgs], folder: Path | None = None) -> None:
        self.cache = CacheLog()
        self._arguments, self._folder = arguments, folder
        self._llm: AsyncLLM | None = None
        self._events: EventReader | None = None
        self._creation: asyncio.Future[None] | None = None
        self._processes: EngineProcesses | None = None
        self._adapters: dict[str, Any] = {}
        self._ids: dict[str, str] = {}  # vLLM's request id, which must be unique -> ours
        self._numbers = count()
        self._load = Load()
        self._sampling: dict[str, Any] = {}
        self._max_tokens = 0
        self._info: ModelInfo | None = None

    @property
    def info(self) -> ModelInfo:
        assert self._info is not None, "the engine has not started"
        return self._info

    # --- start and stop -------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Loads the model.

        Raises:
            EngineError: vLLM cannot start.
            ConfigError: vLLM rejects the arguments.
        """
        self._processes = EngineProcesses()
        self._events = EventReader(self._folder)
        self._events.open()
        try:
            self._creation = asyncio.ensure_future(asyncio.to_thread(self._create))
            await asyncio.shield(self._creation)
            self._info = self._describe()
            self._sampling, self._max_tokens = model_sampling(self._running().vllm_config.model_config)
            if "events" in self._info.features:
                self._events.follow(self.cache, self._info.block_size)
            self._publish_load(Load(total_blocks=self._info.total_blocks))
        except BaseException as error:
            await self.stop()
            if isinstance(error, DynamoError) or not isinstance(error, Exception):
                raise
            raise EngineError(
                f"vLLM did not start: {error}",
                where=f"model {self._model!r}" if hasattr(self, "_model") else "VllmEngine",
                remedy="see the last lines of the worker's log for the cause",
            ) from error

    def _create(self) -> None:
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        if self._folder is not None and len(os.fsencode(self._folder)) <= MAX_SOCKET_FOLDER:
            os.environ.setdefault("VLLM_RPC_BASE_PATH", str(self._folder))  # vLLM never removes its sockets
        try:
            from vllm.lora.request import LoRARequest
            from vllm.v1.engine.async_llm import AsyncLLM
            from vllm.v1.metrics.loggers import PrometheusStatLogger
        except ImportError as error:
            raise EngineError(f"vLLM cannot be imported: {error}", where="VllmEngine", remedy=INSTALL) from error
        arguments = self._arguments()
        self._model = arguments.model
        # Statistics go to `load`. vLLM's own loggers print lines, and fail if a connector brings tokens.
        arguments.disable_log_stats = True
        if arguments.kv_events_config is None and arguments.data_parallel_size == 1 and self._events is not None:
            arguments.kv_events_config = self._events.config()
        self._reads_events = (
            arguments.kv_events_config is not None
            and self._events is not None
            and (arguments.kv_events_config.endpoint == self._events.config().endpoint)
        )
        for number, module in enumerate(getattr(arguments, "lora_modules", []), start=1):
            name, _, path = module.partition("=")
            self._adapters[name] = LoRARequest(name, number, path)
        _prepare_connector(arguments)
        # An interrupt in a terminal or a notebook goes to all processes of the group; the engine's must ignore it.
        # The resource tracker has to run before, since its start unblocks SIGINT.
        resource_tracker.ensure_running()
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            # No other reference is kept: frames of this thread can outlive it in the traceback of a failed import.
            self._llm = AsyncLLM.from_engine_args(arguments, stat_loggers=[self._stat_logger])
            # Only the scheduler's statistics are used. Statistics of each token cost a tenth of this process's time.
            self._llm.log_stats = self._llm.output_processor.log_stats = False
            self._llm.logger_manager.stat_loggers = [
                logger
                for logger in self._llm.logger_manager.stat_loggers
                if not isinstance(logger, PrometheusStatLogger)
            ]
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _describe(self) -> ModelInfo:
        assert self._llm is not None
        config = self._llm.vllm_config
        features = [*FEATURES]
        if self._is_pooling():
            features = ["embeddings"]
        if self._adapters:
            features.append("lora")
        if self._reads_events and config.cache_config.enable_prefix_caching:
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
        if self._creation is not None and self._processes is not None:
            # A thread cannot be cancelled; without the processes that it waits for, it fails.
            while not self._creation.done():
                kill(self._processes.running())
                await asyncio.wait({self._creation}, timeout=KILL_INTERVAL)
        self._creation = None
        processes = self._processes.running() if self._processes is not None else []
        if self._llm is not None:
            await asyncio.to_thread(self._llm.shutdown, STOP_TIMEOUT)
            self._llm = None
            gc.collect()  # it is part of a reference cycle, and fails with a traceback at the end of the interpreter
        await asyncio.to_thread(wait_for_end, processes)
        if self._events is not None:
            events, self._events = self._events, None
            await events.close()
        self.cache.cleared()

    async def health(self) -> None:
        try:
            await self._running().check_health()
        except DynamoError:
            raise
        except Exception as error:
            raise EngineError(f"vLLM's engine has died: {error}", where=f"model {self._model!r}") from error

    def _running(self) -> AsyncLLM:
        if self._llm is None:
            raise EngineError("the engine is not running", where="VllmEngine")
        return self._llm

    # --- requests -------------------------------------------------------------------------------------------------

    async def generate(self, request: TokenRequest) -> AsyncGenerator[TokenDelta, None]:
        sampling = completed(request.sampling, self._sampling)
        if self._max_tokens:
            sampling = replace(sampling, max_tokens=min(sampling.max_tokens or self._max_tokens, self._max_tokens))
        request = replace(request, sampling=sampling)
        remaining = self._remaining_tokens(request)
        if not remaining:
            yield TokenDelta([], "length")
            return
        params = sampling_params(request, remaining)
        first = True
        async with aclosing(self._outputs(request, params)) as outputs:
            async for output in outputs:
                yield token_delta(output, request, first=first)
                first = False

    async def prefill(self, request: TokenRequest) -> dict[str, Any]:
        self._remaining_tokens(request)
        if "prefill" not in self.info.features:
            raise InvalidArgument(
                "the engine has no connector to transfer its KV cache",
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
                f"{self.info.model} does not support embeddings", where="model", remedy="serve it with runner: pooling"
            )
        request_id = f"embed-{os.urandom(8).hex()}"
        try:
            outputs = self._running().encode(tokens_input(list(tokens)), PoolingParams(task="embed"), request_id)
            async for output in outputs:
                vector = output.outputs.data
        except Exception as error:
            raise request_error(error) from error
        return [float(value) for value in vector]

    async def abort(self, request_id: str) -> None:
        await self._running().abort([own for own, ours in self._ids.items() if ours == request_id])

    def load(self) -> Load:
        return self._load

    def _is_pooling(self) -> bool:
        return bool(self._running().vllm_config.model_config.runner_type == "pooling")

    def _remaining_tokens(self, request: TokenRequest) -> int:
        if self._is_pooling():
            raise InvalidArgument(f"{self.info.model} supports embeddings, not text generation", where="model")
        check_features(request, self.info)
        return remaining_tokens(request, self.info)

    async def _outputs(self, request: TokenRequest, params: Any) -> AsyncGenerator[Any, None]:
        """The outputs of vLLM for a request. Closing the generator aborts the request."""
        from vllm.inputs.engine import tokens_input

        prompt = tokens_input(request.tokens, cache_salt=request.salt or None)
        adapter = self._adapters.get(request.adapter)
        own_id = f"{request.request_id}-{next(self._numbers)}"
        outputs = self._running().generate(prompt, params, own_id, lora_request=adapter)
        self._ids[own_id] = request.request_id
        try:
            async with aclosing(outputs):
                async for output in outputs:
                    yield output
        except Exception as error:
            raise request_error(error) from error
        finally:
            del self._ids[own_id]

    # --- load -----------------------------------------------------------------------------------------------------

    def _publish_load(self, load: Load) -> None:
        self._load = load
        self.cache.loaded(load)

    def _stat_logger(self, config: Any, engine_index: int = 0) -> Any:
        """An object that vLLM calls, on the event loop, with the statistics of each step."""
        from vllm.v1.metrics.loggers import StatLoggerBase

        engine = self

        class LoadLogger(StatLoggerBase):  # type: ignore[misc]
            def __init__(self, config: Any, engine_index: int = 0) -> None:
                pass

            def record(self, scheduler_stats: Any, *_: Any, **__: Any) -> None:
                if scheduler_stats is not None and engine._info is not None:
                    total = engine._info.total_blocks
                    waiting = scheduler_stats.num_waiting_reqs + scheduler_stats.num_skipped_waiting_reqs
                    used = round(scheduler_stats.kv_cache_usage * total)
                    engine._publish_load(Load(scheduler_stats.num_running_reqs, waiting, used, total))

            def log_engine_initialized(self) -> None:
                pass

        return LoadLogger(config, engine_index)


def _prepare_connector(arguments: AsyncEngineArgs) -> None:
    """Sets a free port for NIXL and, on a machine without a GPU, transports that need none."""
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
