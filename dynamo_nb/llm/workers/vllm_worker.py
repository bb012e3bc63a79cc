"""Workers that serve a model with vLLM, and workers that compute prompts for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dynamo_nb.llm.engines.engine import Engine
from dynamo_nb.llm.interfaces import NAMESPACE
from dynamo_nb.llm.workers.engine_host import EngineHost
from dynamo_nb.llm.workers.prefill_worker import AT_ONCE, EnginePrefiller
from dynamo_nb.llm.workers.worker import EngineWorker
from dynamo_nb.sdk import definition_of, dynamo_context, service

if TYPE_CHECKING:
    from vllm.engine.arg_utils import AsyncEngineArgs

FILE_CONNECTOR: Final = "ExampleConnector"  # vLLM's connector that transfers KV caches in files


class VllmHost(EngineHost):
    """The base of services that hold a VllmEngine. Its arguments are the configuration of the service."""

    @classmethod
    def dynamo_check_config(cls, **_: Any) -> None:
        """Raises what vLLM's parser refuses, after an import of vLLM, which takes seconds."""
        from dynamo_nb.llm.engines.vllm.arguments import parse_vllm_args

        parse_vllm_args(definition_of(cls).name)

    def make_engine(self) -> Engine:
        from dynamo_nb.llm.engines.vllm.arguments import parse_vllm_args
        from dynamo_nb.llm.engines.vllm.engine import VllmEngine

        name = definition_of(type(self)).name

        def arguments() -> AsyncEngineArgs:
            parsed = parse_vllm_args(name)
            transfer = parsed.kv_transfer_config
            if transfer is not None and transfer.kv_connector == FILE_CONNECTOR:
                # Of a prompt that is computed in chunks, the connector stores the last chunk as if it were the whole.
                parsed.enable_chunked_prefill = False
                if folder := dynamo_context["folder"]:
                    transfer.kv_connector_extra_config.setdefault("shared_storage_path", str(folder / "kv"))
            return parsed

        return VllmEngine(arguments, dynamo_context["folder"])


@service(dynamo={"namespace": NAMESPACE}, resources={"gpu": 1})
class VllmWorker(VllmHost, EngineWorker):
    """Serves a model with vLLM. Its configuration accepts every argument of vLLM's engine under vLLM's own name.

    It requests one GPU. `ServiceArgs.resources.gpu` changes that: the value of `tensor-parallel-size` if that is more
    than 1, or 0 on a machine without a GPU. `model` is a folder or a name that vLLM finds; without it, the tiny model.

    Args: see RemotePrefill.
    """


@service(dynamo={"namespace": NAMESPACE}, resources={"gpu": 1})
class PrefillWorker(VllmHost, EnginePrefiller):
    """Computes prompts for VllmWorkers, with the same model and the same `kv-transfer-config`."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        """Sets how many prompts it takes.

        Args:
            at_once: Prompts that it takes from the queue at the same time.
        """
        self.at_once = at_once
