"""Values that cross a boundary: made what an annotation says, and described as JSON schema."""

from __future__ import annotations

import dataclasses
import inspect
from functools import cached_property
from typing import TYPE_CHECKING, Any, is_typeddict

if TYPE_CHECKING:
    from pydantic import TypeAdapter


class Shape:
    """What an annotation allows. `free` shapes take anything as it is."""

    def __init__(self, annotation: Any) -> None:
        self.annotation = Any if annotation is inspect.Parameter.empty else annotation
        self.free = self.annotation is Any or self.annotation is object

    @cached_property
    def _adapter(self) -> TypeAdapter[Any] | None:
        from pydantic import (
            BaseModel,
            ConfigDict,
            PydanticSchemaGenerationError,
            PydanticUndefinedAnnotation,
            TypeAdapter,
        )

        kind = self.annotation
        own_config = isinstance(kind, type) and (
            issubclass(kind, BaseModel) or dataclasses.is_dataclass(kind) or is_typeddict(kind)
        )
        try:
            config = None if own_config else ConfigDict(arbitrary_types_allowed=True)
            return TypeAdapter(kind, config=config)
        except (PydanticSchemaGenerationError, PydanticUndefinedAnnotation, TypeError):
            return None

    @cached_property
    def structured(self) -> bool:
        """Whether values are objects with fields, so that a JSON text can stand for one."""
        kind = self.annotation
        return isinstance(kind, type) and (
            hasattr(kind, "model_fields") or dataclasses.is_dataclass(kind) or is_typeddict(kind)
        )

    def fit(self, value: Any) -> Any:
        """`value` as the annotation says; models may come as dicts or as JSON text.

        Raises ValueError with the path of each field that does not fit.
        """
        if self.free or self._adapter is None:
            return value
        from pydantic import ValidationError

        try:
            if self.structured and isinstance(value, str | bytes):
                return self._adapter.validate_json(value)
            kind = self.annotation
            if isinstance(kind, type) and not isinstance(value, kind) and hasattr(value, "model_dump"):
                value = value.model_dump()  # a model of an earlier run of its cell, or of the same name elsewhere
            return self._adapter.validate_python(value)
        except ValidationError as error:
            parts = []
            for fault in error.errors(include_url=False, include_context=False):
                path = ".".join(str(step) for step in fault["loc"])
                parts.append(f"{fault['msg']}, not {fault['input']!r:.80}" + (f" @ {path}" if path else ""))
            raise ValueError("; ".join(parts)) from None

    def schema(self) -> dict[str, Any]:
        """JSON schema; empty where the annotation has none."""
        if self.free or self._adapter is None:
            return {}
        try:
            return self._adapter.json_schema()
        except Exception:  # a type without a JSON form is still a valid annotation
            return {}
