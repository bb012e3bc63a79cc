"""Facts about a class whose values travel, computed once: asking each time takes longer than encoding a value."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

from dynamo_nb.sdk.field_types import SCALARS, fields_of, is_plain, opaque_fields, shape_of

UNTAGGED = SCALARS | {list, dict}
"""The types of values that can be sent without a tag, if all that they contain can."""


@cache
def walked_fields(kind: type) -> frozenset[str]:
    """The fields whose values msgpack alone may not carry: all, where pydantic has not checked them."""
    if not hasattr(kind, "__pydantic_fields__"):
        return frozenset(fields_of(kind))
    return frozenset(name for name, hint in fields_of(kind).items() if hint is Any or not _plain_within(hint))


def _plain_within(hint: Any) -> bool:
    return is_plain(hint) and "Any" not in str(hint) and "object" not in str(hint) and hint not in (list, dict)


@dataclasses.dataclass(frozen=True, slots=True)
class ModelForm:
    """A pydantic model's class.

    names: its fields. walked, opaque, shape: as the functions say. root: a root model. extra: it may have more fields.
    private: it has private attributes. bare: the state of a value is its fields and nothing else.
    """

    names: frozenset[str]
    walked: frozenset[str]
    opaque: frozenset[str]
    shape: int
    root: bool
    extra: bool
    private: bool
    bare: bool


@cache
def is_model(kind: type) -> bool:
    """Returns True for a pydantic model's class."""
    return getattr(kind, "model_fields", None) is not None


@cache
def model_form(kind: Any) -> ModelForm:
    """Returns the form of a pydantic model's class."""
    root = bool(getattr(kind, "__pydantic_root_model__", False))
    extra, private = kind.model_config.get("extra") == "allow", bool(kind.__private_attributes__)
    names, walked, opaque = frozenset(kind.model_fields), walked_fields(kind), opaque_fields(kind)
    bare = not (root or extra or private or opaque)
    return ModelForm(names, walked, opaque, shape_of(kind), root, extra, private, bare)
