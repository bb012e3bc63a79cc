"""Plain data with the name of the type that it stands for, as it is sent and as it was received."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Tagged:
    """A value to be sent. plain: its plain data. names: its type, and the classes it derives from. state: the rest."""

    __slots__ = ("names", "plain", "state")

    def __init__(self, names: str | list[str], plain: Any, state: Any = None) -> None:
        self.names, self.plain, self.state = names, plain, state


class Outgoing:
    """An argument or answer that is packed when its message is encoded. pack: as `Shape.pack`."""

    __slots__ = ("_pack", "value")

    def __init__(self, value: Any, pack: Callable[[Any], Any]) -> None:
        self.value, self._pack = value, pack

    def packed(self) -> Any:
        """Returns the value as `pack` returns it."""
        return self._pack(self.value)


class _Dict(dict[Any, Any]):
    __slots__ = ("inner", "names", "state")


class _List(list[Any]):
    __slots__ = ("inner", "names", "state")


class _Str(str):
    __slots__ = ("inner", "names", "state")


class _Float(float):
    __slots__ = ("inner", "names", "state")


class _Int(int):
    pass


class _Bytes(bytes):
    pass


_received: dict[type, Any] = {dict: _Dict, list: _List, str: _Str, float: _Float, int: _Int, bytes: _Bytes}
RECEIVED = frozenset(_received.values())
TAGGED = RECEIVED | {Tagged}


def received(names: str | list[str], plain: Any, state: Any) -> Any:
    """Plain data that was received with a tag. It is a dict, list, text, number or bytes, and remembers the tag."""
    kind = _received.get(type(plain))
    if kind is not None:
        value, inner = kind(plain), ...
    else:  # tagged itself, such as the value of an enum; None and arrays cannot remember a tag
        inner, base = plain, untagged(plain)
        kind = _received.get(type(base))
        value = kind(base) if kind is not None else _Int(base) if isinstance(base, bool) else _List([base])
    value.names, value.state, value.inner = names, state, inner
    return value


def content(value: Any) -> Any:
    """The content of a tagged value, which may be tagged too."""
    if type(value) is not Tagged and value.inner is not ...:
        return value.inner
    return untagged(value)


def untagged(value: Any) -> Any:
    if type(value) is Tagged:
        return value.plain
    for base, kind in _received.items():
        if type(value) is kind:
            return base(value)
    return value


class Fitted:
    """Marks a value that its sender has already checked against an annotation: checking it twice could change it."""

    NAME = ".fitted"

    @classmethod
    def mark(cls, value: Any, annotation: str) -> Tagged:
        """Marks a packed value."""
        return Tagged(cls.NAME, [value], annotation)

    @classmethod
    def unmark(cls, value: Any) -> tuple[Any, str]:
        """The value, and the annotation it was checked against; "" if it is not marked."""
        if type(value) in TAGGED and value.names == cls.NAME:
            return content(value)[0], value.state
        return value, ""
