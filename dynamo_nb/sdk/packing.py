"""Values as tagged plain data, so that a process that knows their types reads them back equal.

`pack` writes the state of a value: an object's fields under their own names, without its serializers. `unpacking.load`
builds the value again from that state, without its validators, so aliases, computed fields and conversions cannot
change it. A tag names the type. A receiver without an annotation sees the plain data alone.
"""

from __future__ import annotations

import collections
import dataclasses
import enum
from collections.abc import Mapping
from os import PathLike
from typing import Any

from dynamo_nb.sdk.class_names import NO_CLASSES, Classes
from dynamo_nb.sdk.field_types import (
    SCALARS,
    field_names,
    is_pydantic_text,
    is_pydantic_value,
    is_struct,
    is_value,
    shape_of,
)
from dynamo_nb.sdk.model_form import UNTAGGED, is_model, model_form, walked_fields
from dynamo_nb.sdk.standard_types import DICTS, FACTORIES, PLAIN_FORMS, SEQUENCES, TAGS
from dynamo_nb.sdk.struct_form import is_carried
from dynamo_nb.sdk.tagged import TAGGED, Tagged, content

LARGEST = 2**64 - 1  # the integers of msgpack
SMALLEST = -(2**63)


def pack(value: Any, classes: Classes = NO_CLASSES) -> Any:
    """Replaces all that msgpack cannot carry, in a value and in what it contains, by `Tagged` values.

    Args:
        value: Any value. It is not changed.
        classes: The classes of the annotation, which name the value's own.

    Returns:
        The value itself if it is plain.

    Raises:
        TypeError: A value cannot be sent.
    """
    kind = type(value)
    if kind in SCALARS:
        if kind is int and not SMALLEST <= value <= LARGEST:
            return Tagged(".int", str(value))
        return value
    if kind in TAGGED:
        return Tagged(value.names, pack(content(value), classes), value.state)
    if kind is list:
        plain = SCALARS.issuperset(map(type, value)) and _fits(value)
        return value if plain else [pack(item, classes) for item in value]
    if kind in DICTS:
        factory = getattr(value, "default_factory", None)
        name = next((name for name, known in FACTORIES.items() if known is factory), None)
        return Tagged(TAGS[kind], _pack_dict(value, classes), name)
    if isinstance(value, dict):
        return _pack_dict(value, classes)
    if (leaf := PLAIN_FORMS.get(kind)) is not None:
        return Tagged(TAGS[kind], leaf.plain(value), leaf.state(value))
    if kind in SEQUENCES:
        maximum = value.maxlen if kind is collections.deque else None
        return Tagged(TAGS[kind], [pack(item, classes) for item in value], maximum)
    return _pack_object(value, kind, classes)


def _fits(value: list[Any]) -> bool:
    """True if msgpack can carry the integers of a list."""
    try:
        return not value or (min(value) >= SMALLEST and max(value) <= LARGEST)
    except TypeError:  # not only numbers
        return False


def _pack_dict(value: dict[Any, Any], classes: Classes) -> Any:
    items = {key: pack(item, classes) for key, item in value.items()}
    if {str, bytes}.issuperset(map(type, value)) or SCALARS.issuperset(map(type, value)):
        return items
    keys = [pack(key, classes) for key in value]
    plain = {_hashable(key): item for key, item in zip(keys, items.values(), strict=True)}
    return Tagged(".dict", plain if len(plain) == len(keys) else list(items.values()), keys)


def _hashable(key: Any) -> Any:
    if isinstance(key, Tagged):
        return _hashable(key.plain)
    return tuple(map(_hashable, key)) if isinstance(key, list) else str(key) if isinstance(key, dict) else key


def _pack_object(value: Any, kind: type, classes: Classes) -> Any:
    if is_model(kind):
        return _pack_model(value, kind, classes)
    if isinstance(value, enum.Enum):
        return _pack_enum(value, kind, classes)
    if is_struct(kind) and is_carried(value):
        return Tagged(classes.names(kind), value)
    if dataclasses.is_dataclass(kind) or field_names(kind) is not None:
        return _pack_fields(value, kind, classes)
    if is_value(kind):
        number_or_text: Any = next(base for base in (str, bytes, float, int) if issubclass(kind, base))
        return Tagged(classes.names(kind), number_or_text(value), None)
    if is_pydantic_value(kind):
        return Tagged(classes.names(kind), pack(_plain_of(value), classes))
    bases: tuple[type, ...] = kind.__mro__[1:]
    for base in bases:  # of another class: only its base class travels
        if base in PLAIN_FORMS:
            return Tagged(TAGS[base], PLAIN_FORMS[base].plain(value), PLAIN_FORMS[base].state(value))
        if base in SEQUENCES or base is list:
            items = [pack(item, classes) for item in value]
            return items if base is list else Tagged(TAGS[base], items)
    if isinstance(value, (PathLike, Mapping, BaseException, memoryview)) or _is_array(kind):
        return value  # the codec knows them
    if isinstance(value, (type({}.keys()), type({}.values()), type({}.items()))):
        return pack(list(value), classes)
    raise TypeError(f"a value of type {kind.__module__}.{kind.__qualname__} cannot be sent to another process")


def _pack_enum(value: enum.Enum, kind: type, classes: Classes) -> Tagged:
    """An enum's value, with its name: values such as `object()` cannot be sent, or are equal to no other."""
    try:
        plain = pack(value.value, classes)
    except TypeError:
        plain = value.name
    return Tagged(classes.names(kind), plain, value.name)


def _is_array(kind: type) -> bool:
    roots = {base.__module__.partition(".")[0] for base in kind.__mro__}
    return bool(roots & {"numpy", "torch", "ml_dtypes"}) or kind.__name__ == "RawArray"


def _plain_of(value: Any) -> Any:
    if hasattr(value, "get_secret_value"):
        return value.get_secret_value()
    kind = type(value)
    if kind.__module__.partition(".")[0] in {"pydantic", "pydantic_core"}:
        if not is_pydantic_text(kind):
            raise TypeError(f"a value of type {kind.__module__}.{kind.__qualname__} cannot be sent to another process")
        return str(value)
    from pydantic import TypeAdapter

    return TypeAdapter(kind).dump_python(value, mode="json")


def _pack_model(value: Any, kind: Any, classes: Classes) -> Tagged:
    raw, form = vars(value), model_form(kind)
    if form.opaque:
        raw = {**raw, **value.model_dump(include=set(form.opaque), by_alias=False)}
    walked = form.walked
    # Besides the fields, a model has the values of its cached properties.
    fields = {
        name: pack(item, classes) if name in walked or type(item) not in UNTAGGED else item
        for name, item in raw.items()
        if name in form.names
    }
    known = value.__pydantic_fields_set__
    given = None if len(known) == len(fields) else sorted(known)
    if form.bare:
        return Tagged(classes.names(kind), fields, [form.shape] if given is None else [form.shape, given])
    extra = {name: pack(item, classes) for name, item in (value.__pydantic_extra__ or {}).items()}
    hidden = {name: item for name, item in extra.items() if name in fields}  # by a field that has an alias
    private: dict[str, Any] = {}
    lost = None
    for name, item in (value.__pydantic_private__ or {}).items():
        try:
            private[name] = pack(item, classes)
        except TypeError:  # such as a lock: the receiver makes it anew
            lost = True
    state = [form.shape, given, private or None, lost, list(extra) or None, hidden or None]
    while state[-1] is None:
        state.pop()
    plain = fields["root"] if form.root else {**extra, **fields}
    return Tagged(classes.names(kind), plain, state)


def _pack_fields(value: Any, kind: Any, classes: Classes) -> Tagged:
    names = field_names(kind) or [field.name for field in dataclasses.fields(kind)]
    walked, found = walked_fields(kind), {name: getattr(value, name) for name in names if hasattr(value, name)}
    fields = {name: pack(item, classes) if name in walked else item for name, item in found.items()}
    if issubclass(kind, tuple):
        return Tagged(classes.names(kind), list(fields.values()), [shape_of(kind)])
    others = {}
    for name, item in getattr(value, "__dict__", {}).items():
        if name not in fields and not name.startswith("__pydantic"):
            try:
                others[name] = pack(item, classes)
            except TypeError:  # such as a lock that __post_init__ made
                continue
    return Tagged(classes.names(kind), fields, [shape_of(kind), others] if others else [shape_of(kind)])
