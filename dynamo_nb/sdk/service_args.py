"""`ServiceArgs`: the parameters of `@service` that configuration can override, validated and normalised."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from dynamo_nb.errors import DefinitionError, suggestion

_QUANTITY = re.compile(r"(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?")
"""A quantity of Kubernetes: `10`, `500m`, `20Gi`, `1e3`."""


def _as_quantity(value: Any) -> Any:
    if value is None:
        return None
    text = "" if isinstance(value, bool) or not isinstance(value, int | float | str) else str(value).strip()
    if not _QUANTITY.fullmatch(text):
        raise ValueError(f"should be a quantity such as 2, '500m' or '20Gi', not {value!r}")
    return text


def _as_gpus(value: Any) -> Any:
    wrong = ValueError(f"should be a whole number of GPUs, or a share below 1 such as 0.5, not {value!r}")
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise wrong
    try:
        count = float(value)
    except ValueError:
        raise wrong from None
    if count.is_integer() and count >= 0:
        return int(count)
    if not 0 < count < 1:
        raise wrong
    return count


def _as_count(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"should be a whole number, not {value!r}")  # noqa: TRY004 (pydantic collects ValueErrors only)
    return value


def _as_seconds(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"should be a number of seconds, not {value!r}")  # noqa: TRY004
    return value


def _as_text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return value


def _as_plain_text(value: Any) -> Any:
    return str(value) if isinstance(value, str) else value


def envs_by_name(envs: Any) -> Any:
    """Converts a list of name/value pairs, the form in Kubernetes, to a mapping. Returns other values unchanged."""
    if not isinstance(envs, list | tuple):
        return envs
    if any(not isinstance(pair, Mapping) or set(pair) != {"name", "value"} for pair in envs):
        return envs
    return {str(pair["name"]): pair["value"] for pair in envs}


def _as_envs(envs: Any) -> Any:
    envs = envs_by_name(envs)
    if not isinstance(envs, Mapping):
        raise ValueError(f"should be a mapping, or a list of name/value pairs, not {envs!r}")  # noqa: TRY004
    return dict(envs)


_Quantity = Annotated[str | None, BeforeValidator(_as_quantity)]
_Text = Annotated[str, BeforeValidator(_as_text)]
_Seconds = Annotated[float, BeforeValidator(_as_seconds), Field(gt=0, allow_inf_nan=False)] | None


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ComponentType(StrEnum):
    """The kinds of services in the Dynamo SDK, for `dynamo={"component_type": …}`."""

    FRONTEND = "frontend"
    WORKER = "worker"
    PLANNER = "planner"


class LeaseConfig(_Frozen):
    """The lease of a service in the Dynamo SDK, for `dynamo={"custom_lease": …}`.

    Attributes:
        ttl: Seconds.
    """

    ttl: Annotated[int, Field(gt=0)] = 1


class DynamoArgs(_Frozen):
    """Parameters of the registration of a service.

    Attributes:
        enabled: False for a service without workers: each service that depends on it creates an instance in its own
            worker.
        namespace: The namespace.
        name: The name of the service; None for the name of the class.
        component_type: Accepted as in the Dynamo SDK. It has no effect.
        custom_lease: Accepted as in the Dynamo SDK. It has no effect: a lost worker is noticed by its connection.
    """

    enabled: bool = True
    namespace: Annotated[str, Field(min_length=1)] = "default"
    name: Annotated[str, Field(min_length=1)] | None = None
    component_type: Annotated[str, BeforeValidator(_as_plain_text)] | None = None
    custom_lease: LeaseConfig | None = None


class Resources(_Frozen):
    """Resources of one worker.

    Attributes:
        gpu: Number of GPUs, or a share below 1: two workers with 0.5 share a GPU.
        cpu: Kubernetes quantity of cores, such as `"500m"`.
        memory: Kubernetes quantity of bytes, such as `"20Gi"`.
    """

    gpu: Annotated[int | float, BeforeValidator(_as_gpus)] = 0
    cpu: _Quantity = None
    memory: _Quantity = None


class TrafficArgs(BaseModel):
    """Time limits of the requests of a worker. Other keys, which the Dynamo SDK accepts, have no effect.

    Attributes:
        timeout: Seconds for the complete answer to a request, over HTTP or from another service; None for no limit.
        keep_alive: Seconds after which an unused HTTP connection is closed; None for 75. A proxy in front must close
            its connections earlier: 75 suits the 60 of nginx and of most load balancers.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    timeout: _Seconds = None
    keep_alive: _Seconds = None


class ServiceArgs(_Frozen):
    """The parameters of `@service` that configuration can override. `service` describes them."""

    dynamo: DynamoArgs = DynamoArgs()
    resources: Resources = Resources()
    workers: Annotated[int, BeforeValidator(_as_count), Field(ge=0)] = 1
    image: str | None = None
    envs: Annotated[dict[str, _Text], BeforeValidator(_as_envs)] = {}
    traffic: TrafficArgs = TrafficArgs()
    labels: dict[str, _Text] = {}


_SECTIONS: dict[tuple[str, ...], type[BaseModel]] = {
    (): ServiceArgs,
    ("dynamo",): DynamoArgs,
    ("resources",): Resources,
    ("traffic",): TrafficArgs,
}


def faults_of(error: ValidationError) -> list[tuple[tuple[str, ...], str]]:
    """The faults of a ServiceArgs, each as (path below ServiceArgs, message)."""
    found = []
    for fault in error.errors(include_url=False):
        path = tuple(str(step) for step in fault["loc"])
        if fault["type"] == "extra_forbidden":
            fields = _SECTIONS.get(path[:-1], ServiceArgs).model_fields
            message = f"unknown field {path[-1]!r}: {suggestion(path[-1], fields)}"
        elif fault["type"] == "value_error":
            message = str(fault["ctx"]["error"])
        elif fault["type"] == "model_type":
            message = f"should be a mapping, not {fault['input']!r:.80}"
        else:
            text = fault["msg"].removeprefix("Input ")
            message = f"{text[:1].lower()}{text[1:]}, not {fault['input']!r:.80}"
        found.append((path, message))
    return found


def with_names_of_today(given: dict[str, Any], where: str, stacklevel: int) -> dict[str, Any]:
    """The parameters of `@service` with those of earlier releases of the Dynamo SDK by their names of today.

    `resource` is `resources`, with a FutureWarning. `system_app` has no effect, with a FutureWarning too. Raises
    DefinitionError if both names of a parameter are given.
    """
    given = dict(given)
    if given.pop("system_app", None) is not None:
        text = "@service(system_app=…) has no effect: write routes in `app`, or with @dynamo_api()"
        warnings.warn(f"{text} ({where})", FutureWarning, stacklevel=stacklevel)
    if "resource" in given:
        if given.get("resources") is not None:
            raise DefinitionError(
                "@service has both `resource` and `resources`", where=where, remedy="keep `resources`"
            )
        text = "@service(resource=…) is called `resources` today"
        warnings.warn(f"{text} ({where})", FutureWarning, stacklevel=stacklevel)
        given["resources"] = given.pop("resource")
    return given


def checked_args(args: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Validates the parameters of the decorator. Returns those that are set: `envs` as a mapping, `gpu` as a number.

    Raises DefinitionError that names the faulty fields.
    """
    try:
        checked = ServiceArgs.model_validate(dict(args))
    except ValidationError as error:
        faults = [f"{'.'.join(path)}: {message}" for path, message in faults_of(error)]
        raise DefinitionError("; ".join(faults), where=where, remedy="correct the decorator's parameters") from None
    return checked.model_dump(exclude_unset=True)
