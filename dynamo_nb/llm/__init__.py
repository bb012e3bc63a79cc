"""Ready services and engines for LLM inference graphs, usable as a whole or one by one.

    from dynamo_nb.llm import EchoWorker, Frontend, Processor

    Frontend.link(Processor).link(EchoWorker)

Names are loaded when they are first used, and engines import their libraries when they start. The life of a request,
file by file, is described in docs/guides/llm_map.md.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dynamo_nb.llm.engines.echo.engine import EchoEngine as EchoEngine
    from dynamo_nb.llm.engines.echo.options import EchoOptions as EchoOptions
    from dynamo_nb.llm.engines.engine import Engine as Engine
    from dynamo_nb.llm.engines.torch.engine import TorchEngine as TorchEngine
    from dynamo_nb.llm.engines.torch.options import TorchOptions as TorchOptions
    from dynamo_nb.llm.engines.vllm.arguments import parse_vllm_args as parse_vllm_args
    from dynamo_nb.llm.engines.vllm.engine import VllmEngine as VllmEngine
    from dynamo_nb.llm.frontend import Frontend as Frontend
    from dynamo_nb.llm.processor import Processor as Processor
    from dynamo_nb.llm.router import Router as Router
    from dynamo_nb.llm.tiny import tiny_model as tiny_model
    from dynamo_nb.llm.workers.echo_worker import EchoPrefillWorker as EchoPrefillWorker
    from dynamo_nb.llm.workers.echo_worker import EchoWorker as EchoWorker
    from dynamo_nb.llm.workers.prefill_worker import EnginePrefiller as EnginePrefiller
    from dynamo_nb.llm.workers.torch_worker import TorchWorker as TorchWorker
    from dynamo_nb.llm.workers.vllm_worker import PrefillWorker as PrefillWorker
    from dynamo_nb.llm.workers.vllm_worker import VllmWorker as VllmWorker
    from dynamo_nb.llm.workers.worker import EngineWorker as EngineWorker

_MODULES = {
    "EchoEngine": "engines.echo.engine",
    "EchoOptions": "engines.echo.options",
    "EchoPrefillWorker": "workers.echo_worker",
    "EchoWorker": "workers.echo_worker",
    "Engine": "engines.engine",
    "EnginePrefiller": "workers.prefill_worker",
    "EngineWorker": "workers.worker",
    "Frontend": "frontend",
    "PrefillWorker": "workers.vllm_worker",
    "Processor": "processor",
    "Router": "router",
    "TorchEngine": "engines.torch.engine",
    "TorchOptions": "engines.torch.options",
    "TorchWorker": "workers.torch_worker",
    "VllmEngine": "engines.vllm.engine",
    "VllmWorker": "workers.vllm_worker",
    "parse_vllm_args": "engines.vllm.arguments",
    "tiny_model": "tiny",
}

__all__ = sorted(_MODULES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
