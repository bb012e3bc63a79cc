"""Workers that serve a model of transformers with torch."""

from __future__ import annotations

from typing import Any

from dynamo_nb.llm.engines.engine import Engine
from dynamo_nb.llm.worker import NAMESPACE, EngineWorker
from dynamo_nb.sdk import service


@service(dynamo={"namespace": NAMESPACE})
class TorchWorker(EngineWorker):
    """Answers with a causal language model, on the GPU where there is one: needs torch and transformers alone.

    It has no cache that outlives an answer, and tells routers of its load alone.
    """

    def __init__(
        self,
        model: str = "",
        max_model_len: int = 0,
        dtype: str = "auto",
        device: str = "",
        slots: int = 8,
        block_size: int = 16,
        threads: int = 0,
    ) -> None:
        """See TorchEngine and TorchOptions. model: the tiny model if "". max_model_len: their `context`."""
        self.model = model
        self.engine_options: dict[str, Any] = {
            "context": max_model_len,
            "dtype": dtype,
            "device": device,
            "slots": slots,
            "block_size": block_size,
            "threads": threads,
        }

    def make_engine(self) -> Engine:
        from dynamo_nb.llm.engines.torch.engine import TorchEngine
        from dynamo_nb.llm.tiny_model import tiny_model

        return TorchEngine(self.model or str(tiny_model()), **self.engine_options)
