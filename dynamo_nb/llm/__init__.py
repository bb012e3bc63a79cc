"""LLM inference graphs: ready services and engines, usable whole or one by one.

    from dynamo_nb.llm import EchoWorker, Frontend, Processor

    Frontend.link(Processor).link(EchoWorker)

Names are loaded when they are first used, and engines import their libraries when they start.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dynamo_nb.llm.engines.echo.engine import EchoEngine as EchoEngine
    from dynamo_nb.llm.engines.engine import Engine as Engine
    from dynamo_nb.llm.engines.torch.engine import TorchEngine as TorchEngine
    from dynamo_nb.llm.engines.vllm.arguments import parse_vllm_args as parse_vllm_args
    from dynamo_nb.llm.engines.vllm.engine import VllmEngine as VllmEngine
    from dynamo_nb.llm.frontend import Frontend as Frontend
    from dynamo_nb.llm.prefill_worker import EchoPrefillWorker as EchoPrefillWorker
    from dynamo_nb.llm.prefill_worker import EnginePrefiller as EnginePrefiller
    from dynamo_nb.llm.processor import Processor as Processor
    from dynamo_nb.llm.router import Router as Router
    from dynamo_nb.llm.tiny_model import tiny_model as tiny_model
    from dynamo_nb.llm.torch_worker import TorchWorker as TorchWorker
    from dynamo_nb.llm.vllm_worker import PrefillWorker as PrefillWorker
    from dynamo_nb.llm.vllm_worker import VllmWorker as VllmWorker
    from dynamo_nb.llm.worker import EchoWorker as EchoWorker
    from dynamo_nb.llm.worker import EngineWorker as EngineWorker

_HOME = {
    "EchoEngine": "engines.echo.engine",
    "EchoPrefillWorker": "prefill_worker",
    "EchoWorker": "worker",
    "Engine": "engines.engine",
    "EnginePrefiller": "prefill_worker",
    "EngineWorker": "worker",
    "Frontend": "frontend",
    "PrefillWorker": "vllm_worker",
    "Processor": "processor",
    "Router": "router",
    "TorchEngine": "engines.torch.engine",
    "TorchWorker": "torch_worker",
    "VllmEngine": "engines.vllm.engine",
    "VllmWorker": "vllm_worker",
    "parse_vllm_args": "engines.vllm.arguments",
    "tiny_model": "tiny_model",
}

__all__ = sorted(_HOME)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
