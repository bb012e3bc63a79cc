"""Data beside the annotation of its parameter: which parts are text, and which keys no type has.

The rule for a scalar where a type allows text and something else, such as `int | str`: it is the number or truth value
that it was read as, if the type has that kind too and the number was written as it is shown (`2`, not `0123`, `0x1F` or
`72225e2` for an `int`). Otherwise it is the text that was written.
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
"""Forms whose parts are the alternatives themselves."""


@dataclass(frozen=True)
class UnknownKey:
    """A key that the types of its place do not have.

    Attributes:
        path: the keys down to it; numbers for items of lists.
        types: names of the types.
        unset: names of their fields that the data does not set.
        known: names of all of their fields.
    """

    path: tuple[str | int, ...]
    types: str
    unset: Collection[str]
    known: Collection[str]


def with_texts(data: Any, annotation: Any) -> Any:
    """The data with the texts of the scalars that are text by the rule of this module."""
    return _with_texts(data, list(_alternatives(annotation)))


def unknown_keys(data: Any, annotation: Any) -> Iterator[UnknownKey]:
    """The keys of mappings in the data that no type of their place has, where these types ignore unknown keys."""
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
    """The annotations of a type's fields, by the keys that set them; None for a type without fields."""
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
    """True for a type whose own code, or whose configuration, may read any key, or refuses it itself."""
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
    """The part of a path before the first item of a list: the origin of a list is that of its items."""
    keys: list[str] = []
    for step in path:
        if isinstance(step, int):
            break
        keys.append(step)
    return tuple(keys)
