"""Values as tagged plain data, so that a process that knows their types reads them back equal.

`pack` writes the state of a value: an object's fields under their own names, without its serializers. `load` builds
the value again from that state, without its validators, so aliases, computed fields and conversions cannot change it.
A tag names the type. `load` finds classes only among those of the receiver's annotation, and imports nothing. A
receiver without an annotation sees the plain data alone.
"""

from __future__ import annotations

import collections
import dataclasses
import enum
from collections.abc import Mapping
from functools import cache
from os import PathLike
from typing import Any

import msgspec

from dynamo_nb.sdk.class_names import NO_CLASSES, Classes
from dynamo_nb.sdk.field_types import (
    SCALARS,
    field_names,
    fields_of,
    is_plain,
    is_pydantic_value,
    is_struct,
    is_value,
    opaque_fields,
    shape_of,
)
from dynamo_nb.sdk.standard_types import LOADERS, MAKERS, PLAIN_FORMS, SEQUENCES, TAGS
from dynamo_nb.sdk.tagged import TAGGED, Tagged, content

LARGEST = 2**64 - 1  # the integers of msgpack
SMALLEST = -(2**63)

# --- sending


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
    if isinstance(value, enum.Enum):
        return Tagged(classes.names(kind), pack(value.value, classes))
    if getattr(kind, "model_fields", None) is not None:
        return _pack_model(value, kind, classes)
    if is_struct(kind):
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


def _is_array(kind: type) -> bool:
    roots = {base.__module__.partition(".")[0] for base in kind.__mro__}
    return bool(roots & {"numpy", "torch", "ml_dtypes"}) or kind.__name__ == "RawArray"


def _plain_of(value: Any) -> Any:
    if hasattr(value, "get_secret_value"):
        return value.get_secret_value()
    kind = type(value)
    if kind.__module__.partition(".")[0] in {"pydantic", "pydantic_core"}:
        return str(value)
    from pydantic import TypeAdapter

    return TypeAdapter(kind).dump_python(value, mode="json")


@cache
def _walked(kind: type) -> frozenset[str]:
    """The fields whose values msgpack alone may not carry."""
    return frozenset(name for name, hint in fields_of(kind).items() if hint is Any or not _plain_within(hint))


def _plain_within(hint: Any) -> bool:
    return is_plain(hint) and "Any" not in str(hint) and "object" not in str(hint) and hint not in (list, dict)


def _pack_model(value: Any, kind: Any, classes: Classes) -> Tagged:
    raw, walked, opaque = vars(value), _walked(kind), opaque_fields(kind)
    models: Mapping[str, Any] = kind.model_fields
    if opaque:
        raw = {**raw, **value.model_dump(include=set(opaque), by_alias=False)}
    if walked:
        fields = {name: pack(raw[name], classes) if name in walked else raw[name] for name in models if name in raw}
    else:
        fields = {name: raw[name] for name in models if name in raw}
    known = value.__pydantic_fields_set__
    given = None if len(known) == len(fields) else sorted(known)
    extra = {name: pack(item, classes) for name, item in (value.__pydantic_extra__ or {}).items()}
    hidden = {name: item for name, item in extra.items() if name in fields}  # by a field that has an alias
    private: dict[str, Any] = {}
    lost = None
    for name, item in (value.__pydantic_private__ or {}).items():
        try:
            private[name] = pack(item, classes)
        except TypeError:  # such as a lock: the receiver makes it anew
            lost = True
    state = [shape_of(kind), given, private or None, lost, list(extra) or None, hidden or None]
    while state[-1] is None:
        state.pop()
    plain = fields["root"] if getattr(kind, "__pydantic_root_model__", False) else {**extra, **fields}
    return Tagged(classes.names(kind), plain, state)


def _pack_fields(value: Any, kind: Any, classes: Classes) -> Tagged:
    names = field_names(kind) or [field.name for field in dataclasses.fields(kind)]
    walked, found = _walked(kind), {name: getattr(value, name) for name in names if hasattr(value, name)}
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


# --- receiving


def load(value: Any, classes: Classes) -> Any:
    """Builds the values again that `pack` replaced.

    Args:
        value: Result of `pack`, also after it was sent.
        classes: The classes that may be built. Values of other classes stay plain data.

    Returns:
        The value; the same object if it contains no tag.

    Raises:
        ValueError: The data do not fit the class as it is in this process.
    """
    kind = type(value)
    if kind in SCALARS:
        return value
    if kind is list:
        return value if SCALARS.issuperset(map(type, value)) else [load(item, classes) for item in value]
    if kind is dict:
        return {key: load(item, classes) for key, item in value.items()}
    if kind not in TAGGED:
        return value
    names, plain, state = value.names, content(value), value.state
    if isinstance(names, list) or not names.startswith("."):
        found = classes.find(names)
        return load(plain, classes) if found is None else _load_object(found, plain, state, classes)
    if names == ".int":
        return int(plain)
    if names == ".dict":
        items = plain if isinstance(plain, list) else plain.values()
        return {load(key, classes): load(item, classes) for key, item in zip(state, items, strict=True)}
    if (read := LOADERS.get(names)) is not None:
        return read(plain, state)
    items = load(plain, classes)
    if names == ".deque":
        return collections.deque(items, state)
    return MAKERS[names](items)


def _load_object(kind: Any, plain: Any, state: Any, classes: Classes) -> Any:
    if issubclass(kind, enum.Enum):
        return kind(load(plain, classes))
    if is_struct(kind):
        if isinstance(plain, kind):
            return plain
        if is_struct(type(plain)):  # of the class from an earlier run of its cell
            return msgspec.convert(plain, kind, from_attributes=True)
        return msgspec.convert(plain, kind, dec_hook=lambda _, item: load(item, classes))
    if getattr(kind, "model_fields", None) is not None:
        return _load_model(kind, plain, state or [0], classes)
    if dataclasses.is_dataclass(kind) or field_names(kind) is not None:
        return _load_fields(kind, plain, state or [0], classes)
    if is_value(kind):
        base: Any = next(base for base in (str, bytes, float, int) if issubclass(kind, base))
        return base.__new__(kind, plain)
    if hasattr(kind, "get_secret_value") or kind.__module__.partition(".")[0] in {"pydantic", "pydantic_core"}:
        return kind(load(plain, classes))
    if is_pydantic_value(kind):
        from pydantic import TypeAdapter

        return TypeAdapter(kind).validate_python(load(plain, classes))
    return load(plain, classes)


def _load_model(kind: Any, plain: Any, state: list[Any], classes: Classes) -> Any:
    padded: list[Any] = state + [None] * (6 - len(state))
    shape, given, private, lost, more, hidden = padded
    root = getattr(kind, "__pydantic_root_model__", False)
    walked, opaque = _walked(kind), opaque_fields(kind)
    fields = {"root": plain} if root else plain
    hidden = hidden or {}
    extra = {name: load(hidden[name] if name in hidden else fields[name], classes) for name in more or ()}
    known = {
        name: load(item, classes) if name in walked or name not in kind.model_fields else item
        for name, item in fields.items()
        if name in kind.model_fields or name not in extra
    }
    if shape != shape_of(kind):
        return kind.model_validate(known["root"] if root else {**known, **extra}, by_alias=False, by_name=True)
    if opaque:
        checked = kind.model_validate({**known, **extra}, by_alias=False, by_name=True)
        known |= {name: getattr(checked, name) for name in opaque if name in known}
    value = kind.__new__(kind)
    put = object.__setattr__
    put(value, "__dict__", known)
    put(value, "__pydantic_fields_set__", set(known) if given is None else set(given))
    if not root:
        put(value, "__pydantic_extra__", extra if kind.model_config.get("extra") == "allow" else None)
        put(value, "__pydantic_private__", None)
    if kind.__private_attributes__:
        if lost:
            value.model_post_init(None)  # makes its private attributes
        own = {name: load(item, classes) for name, item in (private or {}).items()}
        put(value, "__pydantic_private__", {**(value.__pydantic_private__ or {}), **own})
    return value


def _load_fields(kind: Any, plain: Any, state: list[Any], classes: Classes) -> Any:
    if state[0] != shape_of(kind):
        return _checked(kind, load(plain, classes))
    if isinstance(plain, dict):
        walked = _walked(kind)
        plain = {name: load(item, classes) if name in walked else item for name, item in plain.items()}
    else:
        plain = load(plain, classes)
    if issubclass(kind, tuple):
        return tuple.__new__(kind, plain)
    value = object.__new__(kind)
    others = load(state[1], classes) if len(state) > 1 else {}
    for name, item in {**plain, **others}.items():
        object.__setattr__(value, name, item)
    return value


def _checked(kind: Any, plain: Any) -> Any:
    """Makes an object from the fields of a class that is declared differently elsewhere."""
    from pydantic import TypeAdapter

    if dataclasses.is_dataclass(kind) and isinstance(plain, dict):
        inits = {field.name for field in dataclasses.fields(kind) if field.init}
        fields = {name: item for name, item in plain.items() if name in inits}
        return TypeAdapter(kind).validate_python(fields, by_alias=False, by_name=True)
    if issubclass(kind, tuple):
        return TypeAdapter(kind).validate_python(plain)
    return kind(**plain)
