"""The values of parameters and answers: converted to their annotated types, and described as JSON schemas."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from functools import cached_property
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from pydantic import TypeAdapter


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations by parameter, and "return". Those that cannot be evaluated are left out."""
    try:
        return get_type_hints(function, include_extras=True)
    except Exception:  # an annotation can raise anything, such as a NameError for a name that only type checkers import
        found = getattr(function, "__annotations__", {})
        return {key: hint for key, hint in found.items() if not isinstance(hint, str)}


class Shape:
    """The type that an annotation allows. `free` shapes allow any value, unchanged."""

    def __init__(self, annotation: Any) -> None:
        self.annotation = Any if annotation is inspect.Parameter.empty else annotation
        self.free = self.annotation is Any or self.annotation is object

    @cached_property
    def _adapter(self) -> TypeAdapter[Any] | None:
        from pydantic import ConfigDict, PydanticUndefinedAnnotation, PydanticUserError, TypeAdapter

        config = None if _has_fields(self._bare) else ConfigDict(arbitrary_types_allowed=True)
        try:
            return TypeAdapter(self.annotation, config=config)
        except (PydanticUserError, PydanticUndefinedAnnotation, TypeError):
            return None

    @cached_property
    def _bare(self) -> Any:
        return get_args(self.annotation)[0] if get_origin(self.annotation) is Annotated else self.annotation

    @cached_property
    def _kinds(self) -> tuple[Any, ...]:
        """The alternatives of a union; one for other types."""
        return get_args(self._bare) if get_origin(self._bare) in (Union, UnionType) else (self._bare,)

    @cached_property
    def _of_structs(self) -> bool:
        """Whether it contains msgspec structs. msgspec converts those itself, several times as fast."""
        return _has_struct(self.annotation)

    @cached_property
    def structured(self) -> bool:
        """Whether every value is an object with fields or None, so that JSON text is accepted for it."""
        return all(_has_fields(kind) for kind in self._kinds if kind is not NoneType)

    def fit(self, value: Any) -> Any:
        """Converts a value to the annotated type. Models are accepted as dicts and as JSON text.

        Raises ValueError with the path of each faulty field.
        """
        if self.free:
            return value
        if self._of_structs:
            import msgspec

            if self.structured and isinstance(value, str | bytes):
                return msgspec.json.decode(value, type=self.annotation)
            return msgspec.convert(value, self.annotation, from_attributes=True)
        if self._adapter is None:
            return value
        from pydantic import ValidationError

        try:
            if self.structured and isinstance(value, str | bytes):
                return self._adapter.validate_json(value)
            if self.structured and not self._holds(value):  # e.g. of the class from an earlier run of its cell
                if hasattr(value, "model_dump"):
                    value = value.model_dump()
                elif dataclasses.is_dataclass(value) and not isinstance(value, type):
                    value = dataclasses.asdict(value)
            return self._adapter.validate_python(value)
        except ValidationError as error:
            parts = []
            for fault in error.errors(include_url=False, include_context=False):
                path = ".".join(str(step) for step in fault["loc"])
                parts.append(f"{fault['msg']}, not {fault['input']!r:.80}" + (f" @ {path}" if path else ""))
            raise ValueError("; ".join(parts)) from None

    def _holds(self, value: Any) -> bool:
        return isinstance(value, tuple(kind for kind in self._kinds if not _is_typed_dict(kind)))

    def schema(self) -> dict[str, Any]:
        """The JSON schema; empty if the type has none."""
        if self.free:
            return {}
        try:
            if self._of_structs:
                import msgspec

                return msgspec.json.schema(self.annotation)
            return {} if self._adapter is None else self._adapter.json_schema()
        except Exception:  # a type without a JSON form is a valid annotation too
            return {}


def _has_fields(kind: Any) -> bool:
    return isinstance(kind, type) and (
        hasattr(kind, "model_fields") or dataclasses.is_dataclass(kind) or _is_typed_dict(kind) or _is_struct(kind)
    )


def _is_struct(kind: Any) -> bool:
    return hasattr(kind, "__struct_fields__")


def _has_struct(annotation: Any) -> bool:
    return _is_struct(annotation) or any(map(_has_struct, get_args(annotation)))


def _is_typed_dict(kind: Any) -> bool:
    return hasattr(kind, "__required_keys__")  # `typing.is_typeddict` denies those of typing_extensions
