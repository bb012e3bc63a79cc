"""Analysis of annotations: their classes, types that msgpack alone carries, and types that cannot be sent."""

from __future__ import annotations

import collections
import dataclasses
import enum
import inspect
import sys
import zlib
from collections.abc import Collection, Iterator, Mapping, MutableMapping, MutableSequence, Sequence
from collections.abc import Set as AbstractSet
from functools import cache
from os import PathLike
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    ClassVar,
    ForwardRef,
    Generic,
    Literal,
    NewType,
    ParamSpec,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from dynamo_nb.sdk.standard_types import STANDARD_TYPES

SCALARS = frozenset({bool, int, float, str, bytes, NoneType})
_CONTAINERS = frozenset(
    {
        *(list, dict, tuple, set, frozenset, range, collections.deque, collections.OrderedDict),
        *(collections.defaultdict, collections.Counter),
        *(Collection, Sequence, MutableSequence, Mapping, MutableMapping, AbstractSet),
    }
)
_ARRAYS = frozenset({"numpy", "torch", "ml_dtypes"})  # modules whose arrays the codec sends
_SPECIAL = (Any, object, inspect.Parameter.empty, Ellipsis, *SCALARS, bytearray)


def fields_of(kind: type) -> dict[str, Any]:
    """The annotations of a class's fields, by name; empty for a class without declared fields."""
    return dict(_fields(kind))


@cache
def _fields(kind: type) -> Mapping[str, Any]:
    if (models := getattr(kind, "model_fields", None)) is not None:
        fields = {
            name: Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
            for name, field in models.items()
        }
        hidden = {*getattr(kind, "__private_attributes__", ()), "__pydantic_extra__"}
        return fields | {name: hint for name, hint in _hints(kind).items() if name in hidden}
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind)]
    elif (found := field_names(kind)) is not None:
        names = list(found)
    elif is_typed_dict(kind):
        return _hints(kind)
    else:
        return {}
    hints = _hints(kind)
    return {name: hints.get(name, Any) for name in names}


def field_names(kind: type) -> Sequence[str] | None:
    """The names of the fields of a msgspec struct, a NamedTuple or an attrs class; None for other classes."""
    if (names := getattr(kind, "__struct_fields__", None)) is not None:
        return tuple(names)
    if issubclass(kind, tuple) and (names := getattr(kind, "_fields", None)) is not None:
        return tuple(names)
    if (attributes := getattr(kind, "__attrs_attrs__", None)) is not None:
        return tuple(attribute.name for attribute in attributes)
    return None


def _hints(kind: type) -> dict[str, Any]:
    try:
        hints = get_type_hints(kind, include_extras=True)
    except Exception:  # an annotation can raise anything, such as a NameError for a name that is defined later
        hints = {k: v for base in reversed(kind.__mro__) for k, v in vars(base).get("__annotations__", {}).items()}
    return {name: hint for name, hint in hints.items() if get_origin(hint) is not ClassVar and hint is not ClassVar}


def is_bare_array(kind: type) -> bool:
    """False for a subclass of numpy's array that is more than its numbers, such as a masked array or a matrix."""
    arrays = [base for base in kind.__mro__ if base.__module__ == "numpy" and base.__name__ == "ndarray"]
    return not arrays or kind is arrays[0] or kind.__name__ == "memmap"


def is_typed_dict(kind: Any) -> bool:
    """True for a TypedDict; `typing.is_typeddict` denies those of typing_extensions."""
    return hasattr(kind, "__required_keys__")


def is_struct(kind: Any) -> bool:
    """True for a msgspec struct."""
    return hasattr(kind, "__struct_fields__")


def is_value(kind: type) -> bool:
    """True for a class that is made of one value: an enum, or a subclass of a number, text or bytes."""
    return issubclass(kind, (enum.Enum, int, float, str, bytes)) and kind not in SCALARS


def is_pydantic_value(kind: type) -> bool:
    """True for a class without declared fields that pydantic reads and writes, such as `HttpUrl` and `SecretStr`."""
    return hasattr(kind, "__get_pydantic_core_schema__") or kind.__module__.partition(".")[0] == "pydantic_core"


def is_pydantic_text(kind: type) -> bool:
    """True for an address of pydantic, which is made of its text."""
    return any(base.__name__ in {"Url", "MultiHostUrl", "_BaseUrl", "_BaseMultiHostUrl"} for base in kind.__mro__)


def parts_of(annotation: Any) -> tuple[Any, ...]:
    """The annotations that an annotation is written of: alternatives, arguments, bound, aliased type."""
    if isinstance(annotation, TypeVar):
        return annotation.__constraints__ or ((annotation.__bound__,) if annotation.__bound__ else ())
    if not isinstance(annotation, type) and hasattr(annotation, "__value__"):  # `type X = …`
        return (annotation.__value__,)
    if isinstance(annotation, NewType):
        return (annotation.__supertype__,)
    if isinstance(annotation, dataclasses.InitVar):
        return (annotation.type,)
    origin = get_origin(annotation)
    if origin is Literal:
        return tuple(type(value) for value in get_args(annotation))
    if origin is Annotated:
        return get_args(annotation)[:1]
    if origin in (Union, UnionType):
        return get_args(annotation)
    if origin is not None:
        return (origin, *(part for part in get_args(annotation) if not isinstance(part, list)))
    return ()


def classes_of(annotation: Any) -> Iterator[type]:
    """The classes in an annotation and in the fields of those classes, each once, in a fixed order."""
    seen: set[int] = set()
    waiting: list[Any] = [annotation]
    known: list[Any] = []  # keeps the ids in use
    while waiting:
        part = waiting.pop(0)
        if id(part) in seen:
            continue
        seen.add(id(part))
        known.append(part)
        if isinstance(part, type) and get_origin(part) is None:
            yield part
            waiting += fields_of(part).values()
        else:
            waiting += parts_of(part)


def is_plain(annotation: Any) -> bool:
    """True if msgpack alone carries every value of an annotation and gives it back equal."""
    return _is_plain(annotation, frozenset())


def _is_plain(annotation: Any, within: frozenset[type]) -> bool:
    if annotation in (Any, object) or annotation is None:
        return True
    origin = get_origin(annotation)
    if origin is Annotated:
        base, *metadata = get_args(annotation)
        return _is_plain(base, within) and not any(map(changes_values, metadata))
    if origin in (Union, UnionType, Literal, list, dict):
        return all(_is_plain(part, within) for part in parts_of(annotation) if part is not origin)
    return annotation in SCALARS or annotation in (list, dict)


def changes_values(metadata: Any) -> bool:
    """True for metadata that may convert a value, such as a validator; False for constraints and descriptions."""
    return hasattr(metadata, "__get_pydantic_core_schema__") or (
        type(metadata).__module__.startswith("pydantic.functional_")
    )


def converts(annotation: Any) -> bool:
    """True if checking a value of this annotation a second time may change it.

    The fields of a model, a dataclass or a struct are not checked again, unless its configuration says so. The
    validators of a whole model are, those of an annotation too, and a TypedDict and a NamedTuple are.
    """
    for kind in classes_of(annotation):
        if getattr(getattr(kind, "__pydantic_decorators__", None), "model_validators", ()):
            return True
        config = getattr(kind, "model_config", None) or getattr(kind, "__pydantic_config__", None) or {}
        if config.get("revalidate_instances", "never") != "never":
            return True
    return _converts(annotation)


def _converts(annotation: Any) -> bool:
    if get_origin(annotation) is Annotated and any(map(changes_values, get_args(annotation)[1:])):
        return True
    if is_typed_dict(annotation) or (isinstance(annotation, type) and issubclass(annotation, tuple)):
        return is_typed_dict(annotation) or bool(fields_of(annotation))
    return any(map(_converts, parts_of(annotation)))


def obstacle(annotation: Any) -> str:
    """The first type in an annotation whose values cannot be sent to another process, with its field; "" if none."""
    return _obstacle(annotation, "", [])


def _obstacle(annotation: Any, field: str, seen: list[Any]) -> str:
    if any(annotation is other for other in seen):
        return ""
    seen.append(annotation)
    if parts := parts_of(annotation):
        origin = get_origin(annotation)
        if isinstance(origin, type) and origin not in (UnionType, Annotated) and _lacks_form(origin):
            return _named(origin, field)
        return next((found for part in parts if (found := _obstacle(part, field, seen))), "")
    if not isinstance(annotation, type) or annotation in _SPECIAL:
        return ""
    if fields := fields_of(annotation):
        opaque = opaque_fields(annotation)
        obstacles = (
            _obstacle(hint, f"{annotation.__qualname__}.{name}", seen)
            for name, hint in fields.items()
            if name not in opaque and name in _declared(annotation)
        )
        return next(filter(None, obstacles), "")
    return _named(annotation, field) if _lacks_form(annotation) else ""


def _declared(kind: type) -> Collection[str]:
    """The fields whose values must travel: a private attribute that cannot is made anew."""
    models: Mapping[str, Any] | None = getattr(kind, "model_fields", None)
    return fields_of(kind) if models is None else models


def _named(kind: type, field: str) -> str:
    local = kind.__module__ in {"builtins", "__main__"}
    name = kind.__qualname__ if local else f"{kind.__module__}.{kind.__qualname__}"
    return f"{name} ({field})" if field else name


def _lacks_form(kind: type) -> bool:
    if kind in _CONTAINERS or kind in _SPECIAL or kind is Generic:
        return False
    if getattr(kind, "_is_protocol", False) or is_value(kind) or is_pydantic_value(kind) or fields_of(kind):
        return False
    if any(hasattr(kind, mark) for mark in ("model_fields", "__struct_fields__", "__attrs_attrs__")):
        return False  # without fields
    if dataclasses.is_dataclass(kind) or is_typed_dict(kind):
        return False
    if not is_bare_array(kind):
        return True
    if kind.__module__.partition(".")[0] in _ARRAYS:
        return False
    return not issubclass(kind, (*STANDARD_TYPES, *_CONTAINERS, PathLike, memoryview))


@cache
def opaque_fields(kind: type) -> frozenset[str]:
    """The fields of a pydantic model that its own serializer and validator carry, as nothing else knows their type."""
    models: Mapping[str, Any] | None = getattr(kind, "model_fields", None)
    if models is None:
        return frozenset()
    decorators: Any = getattr(kind, "__pydantic_decorators__", None)
    both: list[set[str]] = []
    for decorated in ("field_serializers", "field_validators"):
        names: set[str] = set()
        for decorator in getattr(decorators, decorated, {}).values():
            if decorated == "field_serializers" or decorator.info.mode != "after":
                names |= set(models) if "*" in decorator.info.fields else {*decorator.info.fields}
        both.append(names)
    writes, reads = both
    for name, field in models.items():
        kinds = {type(part).__name__ for part in field.metadata}
        if kinds & {"PlainSerializer", "WrapSerializer"}:
            writes.add(name)
        if kinds & {"BeforeValidator", "PlainValidator", "WrapValidator"}:
            reads.add(name)
    return frozenset(
        name for name, field in models.items() if name in writes & reads and _obstacle(field.annotation, "", [])
    )


@cache
def shape_of(kind: type) -> int:
    """A number for the names and types of a class's fields, the same in all processes with the same declaration."""
    return zlib.crc32(",".join(f"{name}:{described(hint)}" for name, hint in fields_of(kind).items()).encode())


def described(annotation: Any) -> str:
    """An annotation as text, without the modules of its classes: a cell's class has another one in each process."""
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation.__qualname__
    origin = get_origin(annotation)
    if origin is Literal:
        return repr(get_args(annotation))
    if origin is Annotated:
        base, *metadata = get_args(annotation)
        texts = [repr(part) for part in metadata]
        return described(base) + "".join(text for text in texts if " at 0x" not in text)
    if isinstance(annotation, ForwardRef | str | TypeVar | ParamSpec):
        return str(annotation)
    if parts := parts_of(annotation):
        name = "|" if origin in (Union, UnionType) else ""
        return f"{name}[{','.join(map(described, parts))}]"
    return str(annotation)


def own_module(kind: type) -> bool:
    """True for a class that is defined outside of pydantic, msgspec and the standard library."""
    root = kind.__module__.partition(".")[0]
    return root not in sys.stdlib_module_names - {"__main__"} and root not in {"pydantic", "msgspec", "pydantic_core"}
