"""The classes that an annotation allows, by the names that tags give them."""

from __future__ import annotations

import collections
from typing import Any

from dynamo_nb.sdk.field_types import classes_of, own_module


class Classes:
    """The classes of an annotation by name. Both ends number those of one name in the same order."""

    def __init__(self, annotation: Any) -> None:
        self._classes: dict[str, type] = {}
        self._keys: dict[type, str] = {}
        counts: collections.Counter[str] = collections.Counter()
        for kind in classes_of(annotation):
            if kind not in self._keys:
                number, name = counts[kind.__qualname__], kind.__qualname__
                counts[name] += 1
                self._keys[kind] = key = f"{name}#{number}" if number else name
                self._classes[key] = kind

    def key(self, kind: type) -> str:
        """The name of a class in a tag."""
        return self._keys.get(kind) or kind.__qualname__

    def names(self, kind: type) -> str | list[str]:
        """The names in the tag of a value: the class, and if it is not in the annotation, its base classes too."""
        if kind in self._keys or len(kind.__mro__) == 2:
            return self.key(kind)
        names = [self.key(base) for base in kind.__mro__ if base is kind or own_module(base)]
        return names if len(names) > 1 else names[0]

    def find(self, names: str | list[str]) -> type | None:
        """The class that a tag names, or the nearest of its base classes. Subclasses of the annotation's count."""
        for name in (names,) if isinstance(names, str) else names:
            if (found := self._classes.get(name) or self._subclasses.get(name)) is not None:
                return found
        return None

    @property
    def _subclasses(self) -> dict[str, type]:
        found: dict[str, type] = {}
        waiting = [kind for kind in self._classes.values() if own_module(kind)]
        while waiting:
            children: list[type] = type.__subclasses__(waiting.pop())
            for child in children:
                if child.__qualname__ not in found:
                    waiting.append(child)
                found[child.__qualname__] = child  # of several runs of a cell, the last
        return found


NO_CLASSES = Classes(Any)
