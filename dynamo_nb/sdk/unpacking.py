"""Values built again from the tagged plain data of `packing`.

Classes are found only among those of the receiver's annotation, and nothing is imported.
"""

from __future__ import annotations

import collections
import dataclasses
import enum
from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec

from dynamo_nb.sdk.class_names import Classes
from dynamo_nb.sdk.field_types import (
    SCALARS,
    field_names,
    is_pydantic_value,
    is_struct,
    is_value,
    shape_of,
)
from dynamo_nb.sdk.model_form import UNTAGGED, model_form, walked_fields
from dynamo_nb.sdk.standard_types import FACTORIES, LOADERS, MAKERS
from dynamo_nb.sdk.tagged import TAGGED, content


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
        return load(plain, classes) if found is None else _loader(found)(found, plain, state, classes)
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
    if names == ".defaultdict":
        return collections.defaultdict(FACTORIES.get(state), items)
    return MAKERS[names](items)


_Loader = Callable[[Any, Any, Any, Classes], Any]  # class, plain data, state, classes


@cache
def _loader(kind: Any) -> _Loader:
    """The function that builds the values of a class."""
    if issubclass(kind, enum.Enum):
        return _load_enum
    if is_struct(kind):
        return _load_struct
    if getattr(kind, "model_fields", None) is not None:
        return _load_model
    if dataclasses.is_dataclass(kind) or field_names(kind) is not None:
        return _load_fields
    if is_value(kind):
        return _load_value
    if hasattr(kind, "get_secret_value") or kind.__module__.partition(".")[0] in {"pydantic", "pydantic_core"}:
        return _load_secret
    return _load_pydantic_value if is_pydantic_value(kind) else _load_plain


def _load_enum(kind: Any, plain: Any, name: Any, classes: Classes) -> Any:
    found = kind.__members__.get(name) if isinstance(name, str) else None
    return kind(load(plain, classes)) if found is None else found


def _load_secret(kind: Any, plain: Any, _: Any, classes: Classes) -> Any:
    return kind(load(plain, classes))


def _load_struct(kind: Any, plain: Any, state: Any, classes: Classes) -> Any:
    if state is not None:
        known = {name: item for name, item in load(plain, classes).items() if name in kind.__struct_fields__}
        value = kind(**known)
        for name, item in known.items():  # as they were, whatever its __post_init__ made of them
            msgspec.structs.force_setattr(value, name, item)
        return value
    if isinstance(plain, kind):
        return plain
    if is_struct(type(plain)):  # of the class from an earlier run of its cell
        return msgspec.convert(plain, kind, from_attributes=True)
    return msgspec.convert(plain, kind, dec_hook=lambda _, item: load(item, classes))


def _load_value(kind: Any, plain: Any, _: Any, __: Classes) -> Any:
    base: Any = next(base for base in (str, bytes, float, int) if issubclass(kind, base))
    return base.__new__(kind, plain)


def _load_pydantic_value(kind: Any, plain: Any, _: Any, classes: Classes) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind).validate_python(load(plain, classes))


def _load_plain(_: Any, plain: Any, __: Any, classes: Classes) -> Any:
    return load(plain, classes)


def _load_model(kind: Any, plain: Any, state: list[Any] | None, classes: Classes) -> Any:
    form, state = model_form(kind), state or [0]
    if form.bare and len(state) <= 2 and state[0] == form.shape and plain.keys() <= form.names:
        walked = form.walked
        if walked or not UNTAGGED.issuperset(map(type, plain.values())):
            plain = {
                name: load(item, classes) if name in walked or type(item) in TAGGED else item
                for name, item in plain.items()
            }
        return _new_model(kind, plain, set(plain) if len(state) == 1 else set(state[1]))
    padded: list[Any] = state + [None] * (6 - len(state))
    shape, given, private, lost, more, hidden = padded
    fields = {"root": plain} if form.root else plain
    hidden = hidden or {}
    extra = {name: load(hidden[name] if name in hidden else fields[name], classes) for name in more or ()}
    known = {
        name: load(item, classes) if name in form.walked or type(item) in TAGGED or name not in form.names else item
        for name, item in fields.items()
        if name in form.names or name not in extra
    }
    if shape != form.shape:
        return kind.model_validate(known["root"] if form.root else {**known, **extra}, by_alias=False, by_name=True)
    if form.opaque:
        checked = kind.model_validate({**known, **extra}, by_alias=False, by_name=True)
        known |= {name: getattr(checked, name) for name in form.opaque if name in known}
    value = _new_model(kind, known, set(known) if given is None else set(given))
    if form.extra:
        object.__setattr__(value, "__pydantic_extra__", extra)
    if form.private:
        if lost:
            value.model_post_init(None)  # makes its private attributes
        own = {name: load(item, classes) for name, item in (private or {}).items()}
        object.__setattr__(value, "__pydantic_private__", {**(value.__pydantic_private__ or {}), **own})
    return value


def _new_model(kind: Any, fields: dict[str, Any], given: set[str]) -> Any:
    """A value of a model with these fields, which are not validated."""
    value, put = kind.__new__(kind), object.__setattr__
    put(value, "__dict__", fields)
    put(value, "__pydantic_fields_set__", given)
    if not model_form(kind).root:
        put(value, "__pydantic_extra__", None)
        put(value, "__pydantic_private__", None)
    return value


def _load_fields(kind: Any, plain: Any, state: list[Any] | None, classes: Classes) -> Any:
    state = state or [0]
    if state[0] != shape_of(kind):
        return _checked(kind, load(plain, classes))
    if isinstance(plain, dict):
        walked = walked_fields(kind)
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
