"""Workers that serve a model with vLLM, and compute prompts for each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dynamo_nb.llm.engines.engine import Engine
from dynamo_nb.llm.prefill_queue import LONGEST_LOCAL, LONGEST_QUEUE, LONGEST_WAIT, RemotePrefill
from dynamo_nb.llm.prefill_worker import AT_ONCE, EnginePrefiller
from dynamo_nb.llm.worker import NAMESPACE, EngineWorker
from dynamo_nb.sdk import definition_of, dynamo_context, service

if TYPE_CHECKING:
    from vllm.engine.arg_utils import AsyncEngineArgs

BY_FILES: Final = "ExampleConnector"  # vLLM's, which hands caches over in files; here in those of the deployment


@service(dynamo={"namespace": NAMESPACE}, resources={"gpu": 1})
class VllmWorker(EngineWorker):
    """Serves a model with vLLM. Its configuration takes every argument of vLLM's engine, by vLLM's own names.

    One GPU, unless `ServiceArgs.resources.gpu` says otherwise: as many as `tensor-parallel-size` wants, 0 on a machine
    that has none.
    """

    def __init__(
        self,
        remote_prefill: bool = False,
        conditional_disagg: bool = False,
        max_local_prefill_length: int = LONGEST_LOCAL,
        max_prefill_queue_size: int = LONGEST_QUEUE,
        prefill_timeout: float = LONGEST_WAIT,
    ) -> None:
        """See RemotePrefill. `model`: a folder, or a name that vLLM finds; the tiny model where there is none."""
        self.remote = RemotePrefill(
            remote_prefill=remote_prefill,
            conditional_disagg=conditional_disagg,
            max_local_prefill_length=max_local_prefill_length,
            max_prefill_queue_size=max_prefill_queue_size,
            timeout=prefill_timeout,
        )

    def make_engine(self) -> Engine:
        return vllm_engine(self)


@service(dynamo={"namespace": NAMESPACE}, resources={"gpu": 1})
class PrefillWorker(EnginePrefiller):
    """Prefill for VllmWorkers: an engine of the same model, with the same `kv-transfer-config`."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        """at_once: prompts that it takes from the queue at once."""
        self.at_once = at_once

    def make_engine(self) -> Engine:
        return vllm_engine(self)


def vllm_engine(worker: object) -> Engine:
    """An engine with the arguments that configuration gives to the service of `worker`."""
    from dynamo_nb.llm.engines.vllm.arguments import parse_vllm_args
    from dynamo_nb.llm.engines.vllm.engine import VllmEngine

    name = definition_of(type(worker)).name

    def arguments() -> AsyncEngineArgs:
        parsed = parse_vllm_args(name)
        transfer = parsed.kv_transfer_config
        if transfer is not None and transfer.kv_connector == BY_FILES:
            # Of a prompt that is computed in parts it keeps the last part, as the whole.
            parsed.enable_chunked_prefill = False
            if folder := dynamo_context["folder"]:
                transfer.kv_connector_extra_config.setdefault("shared_storage_path", str(folder / "kv"))
        return parsed

    return VllmEngine(arguments, dynamo_context["folder"])
