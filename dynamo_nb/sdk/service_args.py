"""`ServiceArgs`: what `@service` takes and configuration can override, checked and made one form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from dynamo_nb.errors import DefinitionError, suggestion

_QUANTITY = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(?:([eE][+-]?\d+)|(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?)")
_SCALE = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18} | {
    f"{prefix}i": 1024.0 ** (power + 1) for power, prefix in enumerate("KMGTPE")
}


def quantity(text: str) -> float:
    """The number that a Kubernetes quantity (`10`, `500m`, `20Gi`, `1e3`) means; ValueError for anything else."""
    if (match := _QUANTITY.fullmatch(text)) is None:
        raise ValueError(f"should be a quantity such as 2, '500m' or '20Gi', not {text!r}")
    number, exponent, suffix = match.groups()
    return float(number + (exponent or "")) * _SCALE[suffix or ""]


def _as_quantity(value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"should be a quantity such as 2, '500m' or '20Gi', not {value!r}")  # noqa: TRY004
    text = str(value).strip()
    quantity(text)
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
        raise ValueError(f"should be a whole number, not {value!r}")  # noqa: TRY004 (pydantic collects only these)
    return value


def _as_text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return value


def envs_by_name(envs: Any) -> Any:
    """A list of name/value pairs, as Kubernetes writes it, made a mapping; anything else as it is."""
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


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DynamoArgs(_Frozen):
    """How the service registers. Not `enabled`: a plain local object built inside its dependant's worker."""

    enabled: bool = True
    namespace: Annotated[str, Field(min_length=1)] = "default"
    name: Annotated[str, Field(min_length=1)] | None = None


class Resources(_Frozen):
    """What one worker needs. `cpu` and `memory` are Kubernetes quantities; two workers with gpu 0.5 share one."""

    gpu: Annotated[int | float, BeforeValidator(_as_gpus)] = 0
    cpu: _Quantity = None
    memory: _Quantity = None

    @property
    def cores(self) -> float | None:
        """`cpu` as a number of cores."""
        return None if self.cpu is None else quantity(self.cpu)

    @property
    def memory_bytes(self) -> int | None:
        """`memory` as a number of bytes."""
        return None if self.memory is None else int(quantity(self.memory))


class ServiceArgs(_Frozen):
    """The parameters of `@service` that configuration can override. `workers` is how many processes run the service."""

    dynamo: DynamoArgs = DynamoArgs()
    resources: Resources = Resources()
    workers: Annotated[int, BeforeValidator(_as_count), Field(ge=0)] = 1
    image: str | None = None
    envs: Annotated[dict[str, _Text], BeforeValidator(_as_envs)] = {}
    traffic: dict[str, Any] = {}
    labels: dict[str, _Text] = {}


_SECTIONS: dict[tuple[str, ...], type[BaseModel]] = {
    (): ServiceArgs,
    ("dynamo",): DynamoArgs,
    ("resources",): Resources,
}


def faults_of(error: ValidationError) -> list[tuple[tuple[str, ...], str]]:
    """Each fault of a ServiceArgs as (path below ServiceArgs, message)."""
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


def checked_args(args: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The decorator's parameters in one form: those given, with `envs` as a mapping of texts and `gpu` a number.

    Raises DefinitionError that names the field, and for an unknown one the nearest known.
    """
    try:
        checked = ServiceArgs.model_validate(dict(args))
    except ValidationError as error:
        faults = [f"{'.'.join(path)}: {message}" for path, message in faults_of(error)]
        raise DefinitionError("; ".join(faults), where=where, remedy="correct the decorator's parameters") from None
    return checked.model_dump(exclude_unset=True)
