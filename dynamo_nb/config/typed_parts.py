"""Data compared with the annotation of its parameter: the scalars that are text, and the unknown keys.

A type such as `int | str` allows text and other scalars. A YAML scalar of this type is a number or a truth value if the
type has this kind, and if an `int` is written in its usual form (`2`, not `0123`, `0x1F` or `72225e2`). Otherwise it is
the written text.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Final, NewType, TypeVar, Union, get_args, get_origin

from dynamo_nb.config.layers import Path
from dynamo_nb.sdk.field_types import fields_of, is_struct, is_typed_dict, parts_of
from dynamo_nb.sdk.written import Written, text_of, values_of

_SPELT_OUT: Final = (Union, type(int | str), Annotated)
"""Forms of annotations whose parts are the alternatives."""


@dataclass(frozen=True)
class UnknownKey:
    """A key in data that no type allows.

    Attributes:
        path: the path to the key: keys of mappings, and indices of lists.
        types: names of the types.
        unset: keys of the types that the data does not set.
        known: all keys of the types.
    """

    path: tuple[str | int, ...]
    types: str
    unset: Collection[str]
    known: Collection[str]


def with_texts(data: Any, annotation: Any) -> Any:
    """Returns the data, with text in place of the scalars that are text by the rule of this module.

    Args:
        data: the data.
        annotation: the annotation of the parameter.
    """
    return _with_texts(data, list(_alternatives(annotation)))


def unknown_keys(data: Any, annotation: Any) -> Iterator[UnknownKey]:
    """Yields the keys of mappings in the data that their types ignore.

    Args:
        data: the data.
        annotation: the annotation of the parameter.
    """
    return _unknown(data, list(_alternatives(annotation)), ())


def _alternatives(annotation: Any) -> Iterator[Any]:
    is_other_name = isinstance(annotation, TypeVar | NewType | dataclasses.InitVar) or (
        not isinstance(annotation, type) and hasattr(annotation, "__value__")
    )
    if is_other_name or get_origin(annotation) in _SPELT_OUT:
        for part in parts_of(annotation):
            yield from _alternatives(part)
    elif getattr(annotation, "__pydantic_root_model__", False) and get_origin(annotation) is None:
        yield from _alternatives(fields_of(annotation)["root"])
    else:
        yield annotation


def _with_texts(data: Any, kinds: Sequence[Any]) -> Any:
    if isinstance(data, list):
        return [_with_texts(item, list(_of_item(kinds, n))) for n, item in enumerate(data)]
    if isinstance(data, dict):
        return {key: _with_texts(value, list(_of_key(kinds, key))) for key, value in data.items()}
    return text_of(data) if str in kinds and not _is_value(data, kinds) else data


def _is_value(scalar: Any, kinds: Sequence[Any]) -> bool:
    value = values_of(scalar)
    if not isinstance(scalar, Written | bool | int | float):
        return True
    if isinstance(value, bool):
        return bool in kinds
    if isinstance(value, int):
        return json.dumps(value) == text_of(scalar) and not {int, float, Decimal}.isdisjoint(kinds)
    return not {float, Decimal}.isdisjoint(kinds)


def _of_item(kinds: Iterable[Any], number: int) -> Iterator[Any]:
    """The alternatives for an item of a list."""
    for kind in kinds:
        origin, args = get_origin(kind), get_args(kind)
        if not isinstance(origin, type) or not issubclass(origin, Collection) or issubclass(origin, Mapping):
            continue
        if issubclass(origin, tuple) and args[-1:] != (...,):
            yield from _alternatives(args[number]) if number < len(args) else ()
        elif args:
            yield from _alternatives(args[0])


def _of_key(kinds: Iterable[Any], key: str) -> Iterator[Any]:
    """The alternatives for the value of a key of a mapping."""
    for kind in kinds:
        if (fields := _keys(kind)) is not None:
            yield from _alternatives(fields[key]) if key in fields else ()
        elif _is_mapping(kind) and len(args := get_args(kind)) == 2:
            yield from _alternatives(args[1])


def _unknown(data: Any, kinds: Sequence[Any], path: tuple[str | int, ...]) -> Iterator[UnknownKey]:
    if isinstance(data, list):
        for n, item in enumerate(data):
            yield from _unknown(item, list(_of_item(kinds, n)), (*path, n))
    if not isinstance(data, dict):
        return
    fielded = {kind: fields for kind in kinds if (fields := _keys(kind)) is not None}
    known = {key for fields in fielded.values() for key in fields}
    closed = bool(fielded) and not any(map(_takes_any_key, kinds))
    for key, value in data.items():
        if key in known or not closed:
            yield from _unknown(value, list(_of_key(kinds, key)), (*path, key))
        else:
            types = " or ".join(kind.__name__ for kind in fielded)
            yield UnknownKey((*path, key), types, known - data.keys(), known)


def _keys(kind: Any) -> dict[str, Any] | None:
    """The annotations of a type's fields, by key; None for a type without fields."""
    if not isinstance(kind, type) or get_origin(kind) is not None:
        return None
    fields = {name: hint for name, hint in fields_of(kind).items() if not name.startswith("_")}
    if not fields:
        return None
    keys = dict(fields)
    for name, field in getattr(kind, "model_fields", {}).items():
        keys |= {alias: fields[name] for alias in _aliases(field) if name in fields}
    if is_struct(kind):
        keys = dict(zip(kind.__struct_encode_fields__, fields.values(), strict=False))  # type: ignore[attr-defined]
    return keys


def _aliases(field: Any) -> Iterator[str]:
    for alias in (field.alias, field.validation_alias):
        for choice in getattr(alias, "choices", [alias]):
            first = getattr(choice, "path", [choice])[0]
            if isinstance(first, str):
                yield first


def _is_mapping(kind: Any) -> bool:
    origin = get_origin(kind) or kind
    return isinstance(origin, type) and issubclass(origin, Mapping) and not is_typed_dict(origin)


def _takes_any_key(kind: Any) -> bool:
    """True for a type that may read all keys, or that refuses unknown keys itself."""
    if kind in (Any, object) or _is_mapping(kind):
        return True
    if not isinstance(kind, type) or get_origin(kind) is not None:
        return False
    config = getattr(kind, "model_config", None) or getattr(kind, "__pydantic_config__", None) or {}
    if isinstance(config, Mapping) and config.get("extra") in {"allow", "forbid"}:
        return True
    validators = getattr(getattr(kind, "__pydantic_decorators__", None), "model_validators", {})
    own_schema = "__get_pydantic_core_schema__" in vars(kind) or hasattr(kind, "__get_validators__")
    return own_schema or any(validator.info.mode != "after" for validator in validators.values())


def written_path(path: Sequence[str | int]) -> Path:
    """Returns the part of a path before the first index. Items of a list have the origin of the list.

    Args:
        path: see `UnknownKey`.
    """
    keys: list[str] = []
    for step in path:
        if isinstance(step, int):
            break
        keys.append(step)
    return tuple(keys)
