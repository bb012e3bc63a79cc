"""Workers with an EchoEngine: they answer with the prompt's own tokens, without a model or a GPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dynamo_nb.errors import InvalidArgument
from dynamo_nb.llm.engines.echo.options import EchoOptions
from dynamo_nb.llm.engines.engine import Engine
from dynamo_nb.llm.interfaces import NAMESPACE
from dynamo_nb.llm.model_folder import check_folder
from dynamo_nb.llm.workers.engine_host import EngineHost, options_of
from dynamo_nb.llm.workers.prefill_worker import EnginePrefiller
from dynamo_nb.llm.workers.worker import EngineWorker
from dynamo_nb.sdk import definition_of, service


@dataclass(kw_only=True, eq=False, repr=False)
class EchoHost(EchoOptions, EngineHost):
    """The base of services that hold an EchoEngine. Their configuration is EchoOptions."""

    def __post_init__(self) -> None:
        if self.max_model_len <= 0 or self.block_size <= 0:
            raise InvalidArgument("max_model_len and block_size must be at least 1 token", where=type(self).__name__)

    @classmethod
    def dynamo_check_config(cls, **arguments: Any) -> None:
        """Checks the configuration. Raises the errors of a worker's start, and of the Processor for the model."""
        super().dynamo_check_config(**arguments)
        check_folder(arguments.get("model", ""), f"{definition_of(cls).name}.model")

    def engine_options(self) -> EchoOptions:
        """Returns the options of the engine."""
        return options_of(self, EchoOptions)

    def make_engine(self) -> Engine:
        from dynamo_nb.llm.engines.echo.engine import EchoEngine

        return EchoEngine(self.engine_options())


@service(dynamo={"namespace": NAMESPACE})
@dataclass(kw_only=True, eq=False, repr=False)
class EchoWorker(EngineWorker, EchoHost):
    """Answers with the prompt's own tokens, at a given speed and with a real prefix cache.

    Routing, migration and overload can be tried on any machine: it needs no model and no GPU.

    Args: see EchoOptions and RemotePrefill. Without a `model`, the Processor uses the tokenizer of the tiny model.

    Raises:
        InvalidArgument: `max_model_len` or `block_size` is less than 1.
    """


@service(dynamo={"namespace": NAMESPACE})
class EchoPrefillWorker(EchoHost, EnginePrefiller):
    """Computes prompts for EchoWorkers.

    Args: see EchoOptions.
    """
