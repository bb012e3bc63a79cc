"""The values of parameters and answers: sent between processes, converted to their annotated types, and described."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property, partial
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin, get_type_hints

from dynamo_nb.sdk.class_names import Classes
from dynamo_nb.sdk.field_types import (
    converts,
    described,
    is_plain,
    is_struct,
    is_typed_dict,
    obstacle,
)
from dynamo_nb.sdk.packing import pack
from dynamo_nb.sdk.struct_form import is_carried, is_exact
from dynamo_nb.sdk.tagged import Fitted
from dynamo_nb.sdk.unpacking import load

if TYPE_CHECKING:
    from pydantic import TypeAdapter


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations by parameter, and "return". Those that cannot be evaluated are left out."""
    try:
        return get_type_hints(function, include_extras=True)
    except Exception:  # an annotation can raise anything, such as a NameError for a name that only type checkers import
        found = getattr(function, "__annotations__", {})
        return {key: hint for key, hint in found.items() if not isinstance(hint, str)}


class MisfitError(ValueError):
    """A value that does not fit its annotation. paths: the steps to each faulty part, as pydantic names them."""

    def __init__(self, message: str, paths: list[tuple[int | str, ...]]) -> None:
        super().__init__(message)
        self.paths = paths


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
        """True if it contains msgspec structs. msgspec converts those itself, several times as fast."""
        if not _has_struct(self.annotation):
            return False
        import msgspec

        try:
            msgspec.msgpack.Decoder(self.annotation)
        except TypeError:  # such as an alternative to a pydantic model
            return False
        except Exception:  # a name that is not defined yet
            return True
        return True

    @cached_property
    def _convert(self) -> Callable[[Any], Any]:
        """The conversion to structs with msgspec."""
        import msgspec

        return partial(msgspec.convert, type=self.annotation, from_attributes=True, dec_hook=_fit_other)

    @cached_property
    def plain(self) -> bool:
        """True if values are sent as they are: msgpack, or msgspec for its structs, gives them back equal."""
        return self.free or is_plain(self.annotation) or (self._of_structs and is_exact(self.annotation))

    @cached_property
    def _converts(self) -> bool:
        return converts(self.annotation)

    @cached_property
    def _described(self) -> str:
        return described(self.annotation)

    @cached_property
    def _classes(self) -> Classes:
        return Classes(self.annotation)

    @property
    def obstacle(self) -> str:
        """The first type whose values cannot be sent to another process; "" if there is none."""
        return "" if self.free else obstacle(self.annotation)

    def pack(self, value: Any) -> Any:
        """Returns the form in which a value is sent. The same shape elsewhere gives an equal value with `fit`.

        Raises TypeError if the value cannot be sent.
        """
        carried = self.plain or (self._of_structs and is_carried(value))
        return value if carried else pack(value, self._classes)

    def pack_fitted(self, value: Any) -> Any:
        """`pack` for a value that `fit` has returned, so that the receiver does not convert it a second time."""
        packed = self.pack(value)
        return Fitted.mark(packed, self._described) if self._converts and not self.plain else packed

    def _loaded(self, value: Any) -> Any:
        try:
            return load(value, self._classes)
        except ValueError:
            raise
        except Exception as error:  # of data that a peer sent, and of the user's classes
            raise ValueError(f"{type(error).__name__}: {error}") from error

    @cached_property
    def structured(self) -> bool:
        """True if every value is an object with fields or None, so that JSON text is accepted for it."""
        return all(_has_fields(kind) for kind in self._kinds if kind is not NoneType)

    def fit(self, value: Any) -> Any:
        """Converts a value to the annotated type. Models are accepted as dicts and as JSON text.

        Raises ValueError with the path of each faulty field.
        """
        if self.free:
            return value
        if self._of_structs:
            if not self.plain:
                value = self._loaded(Fitted.unmark(value)[0])
            if self.structured and isinstance(value, (str, bytes)):
                import msgspec

                return msgspec.json.decode(value, type=self.annotation)
            return self._convert(value)
        from pydantic import ValidationError

        try:
            if not self.plain:
                value, checked = Fitted.unmark(value)
                value = self._loaded(value)
                if checked and checked == self._described:
                    return value
            if self._adapter is None:
                return value
            if self.structured and isinstance(value, (str, bytes)):
                if any(getattr(kind, "__pydantic_root_model__", False) for kind in self._kinds):
                    with suppress(ValidationError):  # its root may be a text
                        return self._adapter.validate_python(value)
                return self._adapter.validate_json(value)
            if self.structured and not self._holds(value):  # e.g. of the class from an earlier run of its cell
                value = self._linked(value)
            try:
                return self._adapter.validate_python(value)
            except ValidationError:
                linked = self._linked(value)
                if linked is value:
                    raise
                return self._adapter.validate_python(linked)
        except ValidationError as error:
            parts = []
            faults = error.errors(include_url=False, include_context=False)
            for fault in faults:
                path = ".".join(str(step) for step in fault["loc"])
                message = f"{fault['msg']}, not {fault['input']!r:.80}"
                parts.append(f"{path}: {message}" if path else message)
            raise MisfitError("; ".join(parts), [fault["loc"] for fault in faults]) from None

    def _linked(self, value: Any) -> Any:
        """The value with the classes of this annotation in place of those from earlier runs of their cells."""
        if self.plain:
            return value
        try:
            packed = pack(value, self._classes)
        except TypeError:  # it contains values that only this process can use
            return value
        return value if packed is value else self._loaded(packed)

    @cached_property
    def _classes_of_kinds(self) -> tuple[Any, ...]:
        return tuple(kind for kind in self._kinds if not is_typed_dict(kind))

    def _holds(self, value: Any) -> bool:
        # A class of pydantic takes long to answer isinstance().
        return type(value) in self._classes_of_kinds or isinstance(value, self._classes_of_kinds)

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


def _fit_other(kind: Any, value: Any) -> Any:
    """Converts a part of a struct that msgspec does not know."""
    return Shape(kind).fit(value)


def _has_fields(kind: Any) -> bool:
    return isinstance(kind, type) and (
        hasattr(kind, "model_fields") or dataclasses.is_dataclass(kind) or is_typed_dict(kind) or is_struct(kind)
    )


def _has_struct(annotation: Any) -> bool:
    return is_struct(annotation) or any(map(_has_struct, get_args(annotation)))
