"""Scalars as they were written: `1.10` is the number 1.1 for a `float`, and the text "1.10" for a `str` or a parser.

Data that was read from text holds a `Written` where the text cannot be told from the value. As JSON, the values and
their texts are apart: `texts_in` has the shape of the data, with a text for each such scalar.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Written:
    """A number or a truth value, and the text in which it was written."""

    value: bool | float
    text: str


def written(value: Any, text: str) -> Any:
    """The value, as a Written if its JSON form is another text. Text and null are returned unchanged."""
    if not isinstance(value, bool | int | float) or json.dumps(value) == text:
        return value
    return Written(value, text)


def read_json(text: str, constant: Callable[[str], Any] | None = None) -> Any:
    """The data of a JSON text, with Written for numbers such as `1.10`. constant: reads NaN and Infinity."""
    return json.loads(
        text,
        parse_int=lambda literal: written(int(literal), literal),
        parse_float=lambda literal: written(float(literal), literal),
        parse_constant=constant,
    )


def values_of(data: Any) -> Any:
    """The data with the values only."""
    if isinstance(data, Written):
        return data.value
    if isinstance(data, dict):
        return {key: values_of(child) for key, child in data.items()}
    return [values_of(child) for child in data] if isinstance(data, list) else data


def text_of(scalar: Any) -> str:
    """The text of a value: as it was written, otherwise its JSON form."""
    if isinstance(scalar, Written):
        return scalar.text
    return scalar if isinstance(scalar, str) else json.dumps(values_of(scalar))


def texts_in(data: Any) -> Any:
    """The texts of the Writtens in the data: a text, or texts by key (or by index, as text). None without any."""
    if isinstance(data, Written):
        return data.text
    children = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return {str(key): texts for key, child in children if (texts := texts_in(child)) is not None} or None


def with_texts(data: Any, texts: Any) -> Any:
    """The data with the texts that `texts_in` returned. Texts without a value are left out."""
    if isinstance(texts, str):
        return written(data, texts)
    if not isinstance(texts, Mapping):
        return data
    if isinstance(data, dict):
        return {key: with_texts(child, texts.get(str(key))) for key, child in data.items()}
    return [with_texts(child, texts.get(str(n))) for n, child in enumerate(data)] if isinstance(data, list) else data
