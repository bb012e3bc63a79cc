"""The types of the standard library that are sent to other processes: their plain data, and how they are read."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
import fractions
import ipaddress
import pathlib
import re
import uuid
import zoneinfo
from collections.abc import Callable
from typing import Any

import msgspec

from dynamo_nb.sdk.tagged import RECEIVED, untagged


def _text(value: Any) -> Any:
    return msgspec.to_builtins(value)


def _zone(value: dt.datetime | dt.time) -> list[Any] | None:
    if value.tzinfo is None and not value.fold:
        return None
    return [value.isoformat(), getattr(value.tzinfo, "key", None), value.fold]


def _from_iso(kind: Any) -> Callable[[Any, Any], Any]:
    def load(plain: Any, state: Any) -> Any:
        if state is None:
            return kind.fromisoformat(plain)
        text, zone, fold = state
        value = kind.fromisoformat(text)
        return value.replace(tzinfo=zoneinfo.ZoneInfo(zone), fold=fold) if zone else value.replace(fold=fold)

    return load


def _complex(value: complex) -> list[float]:
    return [value.real, value.imag]


def _made_by(kind: Any) -> Callable[[Any, Any], Any]:
    return lambda plain, _: kind(plain)


@dataclasses.dataclass(frozen=True)
class _Leaf:
    """Conversion of a type of the standard library. plain: for receivers without types. state: data missing there."""

    plain: Callable[[Any], Any]
    load: Callable[[Any, Any], Any]
    state: Callable[[Any], Any] = lambda _: None


PLAIN_FORMS: dict[type, _Leaf] = {
    dt.datetime: _Leaf(_text, _from_iso(dt.datetime), _zone),
    dt.date: _Leaf(_text, lambda plain, _: dt.date.fromisoformat(plain)),
    dt.time: _Leaf(_text, _from_iso(dt.time), _zone),
    dt.timedelta: _Leaf(
        _text, lambda _, state: dt.timedelta(*state), lambda value: [value.days, value.seconds, value.microseconds]
    ),
    dt.timezone: _Leaf(
        str,
        lambda _, state: dt.timezone(dt.timedelta(*state)),
        lambda value: [value.utcoffset(None).days, value.utcoffset(None).seconds],
    ),
    zoneinfo.ZoneInfo: _Leaf(str, lambda plain, _: zoneinfo.ZoneInfo(plain)),
    decimal.Decimal: _Leaf(str, lambda plain, _: decimal.Decimal(plain)),
    fractions.Fraction: _Leaf(str, lambda plain, _: fractions.Fraction(plain)),
    uuid.UUID: _Leaf(str, lambda plain, _: uuid.UUID(plain)),
    complex: _Leaf(_complex, lambda plain, _: complex(*plain)),
    bytearray: _Leaf(bytes, lambda plain, _: bytearray(plain)),
    re.Pattern: _Leaf(
        lambda value: value.pattern, lambda plain, state: re.compile(_base(plain), state), lambda value: value.flags
    ),
    range: _Leaf(list, lambda _, state: range(*state), lambda value: [value.start, value.stop, value.step]),
}
for _address in ("IPv4Address", "IPv4Interface", "IPv4Network", "IPv6Address", "IPv6Interface", "IPv6Network"):
    _kind: Any = getattr(ipaddress, _address)
    PLAIN_FORMS[_kind] = _Leaf(str, _made_by(_kind))
for _kind in (pathlib.PurePosixPath, pathlib.PureWindowsPath, pathlib.PosixPath):
    PLAIN_FORMS[_kind] = _Leaf(str, _made_by(_kind))
SEQUENCES: dict[type, Callable[[Any], Any]] = {tuple: tuple, set: set, frozenset: frozenset, collections.deque: list}
DICTS: dict[type, Callable[[Any], Any]] = {
    collections.Counter: collections.Counter,
    collections.OrderedDict: collections.OrderedDict,
    collections.defaultdict: dict,
}
FACTORIES: dict[Any, Any] = {kind.__name__: kind for kind in (int, float, str, list, dict, set)}
"""The factories of a defaultdict that are sent, by name. One with another factory arrives without."""
TAGS = {kind: f".{kind.__name__}" for kind in (*PLAIN_FORMS, *SEQUENCES, *DICTS)}  # no class has such a name
LOADERS = {TAGS[kind]: leaf.load for kind, leaf in PLAIN_FORMS.items()}
MAKERS = {TAGS[kind]: make for kind, make in (*SEQUENCES.items(), *DICTS.items())}
STANDARD_TYPES = (*PLAIN_FORMS, pathlib.PurePath, dt.tzinfo)


def _base(plain: Any) -> Any:
    """Received text, number or bytes without its tag."""
    return untagged(plain) if type(plain) in RECEIVED else plain
