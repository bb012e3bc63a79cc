"""Which msgspec structs msgpack alone gives back equal."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import uuid
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from dynamo_nb.sdk.field_types import SCALARS, classes_of, fields_of, is_struct, parts_of

_EXACT = (*SCALARS, NoneType, bytearray, dt.date, dt.timedelta, decimal.Decimal, uuid.UUID)
_CONTAINERS = (list, dict, tuple, set, frozenset)


def is_exact(annotation: Any) -> bool:
    """True if msgspec reads every value of an annotation back equal, by its annotation alone."""
    return _is_exact(annotation, frozenset())


def _is_exact(annotation: Any, within: frozenset[Any]) -> bool:
    if annotation is None or annotation is Ellipsis or annotation in _EXACT or annotation in within:
        return True
    origin = get_origin(annotation)
    if origin is Literal:
        return True
    if origin in _CONTAINERS:
        return bool(get_args(annotation)) and all(_is_exact(part, within) for part in get_args(annotation))
    if origin in (Union, UnionType, Annotated) or not isinstance(annotation, type):
        parts = parts_of(annotation)
        return bool(parts) and all(_is_exact(part, within) for part in parts)
    if issubclass(annotation, enum.Enum):
        return True
    return is_struct(annotation) and not hasattr(annotation, "__post_init__") and not _loose(annotation, within)


def _loose(kind: type, within: frozenset[Any]) -> list[str]:
    hints = fields_of(kind)
    loose = [name for name, hint in hints.items() if not _is_exact(hint, within | {kind})]
    return [*loose, *(name for name, hint in hints.items() if kind in classes_of(hint))] if loose else []


@cache
def loose_fields(kind: type) -> tuple[str, ...] | None:
    """The fields of a struct of which some values are not read back equal, such as a set in a field of type Any.

    None if it has a `__post_init__`, which would run again on what it has made.
    """
    return None if hasattr(kind, "__post_init__") else tuple(_loose(kind, frozenset()))


def is_carried(value: Any) -> bool:
    """True if msgpack alone carries a value that consists of structs, lists, dicts, numbers and texts."""
    kind: Any = type(value)
    if kind in SCALARS:
        return True
    if kind is list:
        return SCALARS.issuperset(map(type, value)) or all(map(is_carried, value))
    if kind is dict:
        return {str, int}.issuperset(map(type, value)) and all(map(is_carried, value.values()))
    if not is_struct(kind) or (loose := loose_fields(kind)) is None:
        return False
    return all(is_carried(getattr(value, name)) for name in loose)
