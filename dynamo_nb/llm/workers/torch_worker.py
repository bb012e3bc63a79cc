"""Workers that serve a model of transformers with torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dynamo_nb.llm.engines.engine import Engine
from dynamo_nb.llm.engines.torch.options import TorchOptions
from dynamo_nb.llm.interfaces import NAMESPACE
from dynamo_nb.llm.workers.engine_host import options_of
from dynamo_nb.llm.workers.worker import EngineWorker
from dynamo_nb.sdk import service


@service(dynamo={"namespace": NAMESPACE})
@dataclass(kw_only=True, eq=False, repr=False)
class TorchWorker(EngineWorker, TorchOptions):
    """Answers with a causal language model, on a GPU if there is one. Needs only torch and transformers.

    It keeps no KV cache after an answer, so that routers see only its load.

    Args: see TorchOptions. Without a `model` it serves the tiny one.
    """

    @classmethod
    def dynamo_check_config(cls, **arguments: Any) -> None:
        """Raises what a worker would refuse, after an import of torch."""
        from dynamo_nb.llm.engines.torch.model import check_options

        super().dynamo_check_config(**arguments)
        check_options(options_of(cls(**arguments), TorchOptions))

    def make_engine(self) -> Engine:
        from dynamo_nb.llm.engines.torch.engine import TorchEngine

        return TorchEngine(options_of(self, TorchOptions))
