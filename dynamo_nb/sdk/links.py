"""Links: which of the declared dependencies are active in a graph.

`depends()` declares every dependency that a service can have; `A.link(B)` chooses among them. Links are stored in the
module or notebook that makes them, in a LinkBook, by the names of the services. So two graph modules with the same
services have separate links, and a link stays when the cell that defines a service runs again. A link also stores the
cell that made it: when that cell runs again, its earlier links are removed first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

from dynamo_nb.sdk.origin import Origin

_BOOK = "__dynamo_links__"


class LinkBook:
    """The links of one module or notebook, in order. Repeated links count once.

    Attributes:
        classes: The classes of services that fill an interface, by name.
        forced: Links (source, target) that were removed with `force=True`.
    """

    def __init__(self) -> None:
        self.forced: set[tuple[str, str]] = set()
        self._links: dict[tuple[str, str], dict[str, Origin]] = {}
        self.classes: dict[str, type] = {}

    def add(self, source: str, target: str, origin: Origin, cls: type | None = None) -> None:
        """Adds a link. cls: the class with the name `target`, for links that fill an interface."""
        if cls is not None:
            self.classes[target] = cls
        self._links.setdefault((source, target), {})[origin.key] = origin
        self.forced.discard((source, target))

    def remove(self, source: str, target: str) -> bool:
        """Removes a link that any cell made. Returns False if there was none."""
        return self._links.pop((source, target), None) is not None

    def forget(self, key: str) -> None:
        """Removes the links that one cell made, before it runs again. key: key of the cell's Origin."""
        for names, origins in list(self._links.items()):
            origins.pop(key, None)
            if not origins:
                del self._links[names]

    def saved(self) -> dict[tuple[str, str], dict[str, Origin]]:
        """A copy of the links, for `restore`."""
        return {names: dict(origins) for names, origins in self._links.items()}

    def restore(self, saved: Mapping[tuple[str, str], Mapping[str, Origin]]) -> None:
        """Replaces the links by a copy that `saved` returned."""
        self._links = {names: dict(origins) for names, origins in saved.items()}

    def targets(self, source: str) -> list[str]:
        """The services that `source` is linked to; empty if it has no links."""
        return [target for linked, target in self._links if linked == source]

    def origin(self, source: str, target: str) -> Origin | None:
        """The origin of the first definition of a link, or None for an unknown link."""
        return next(iter(self._links.get((source, target), {}).values()), None)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(list(self._links))

    def __len__(self) -> int:
        return len(self._links)


def book_in(namespace: MutableMapping[str, Any]) -> LinkBook:
    """The LinkBook of a module or notebook, created if there is none. namespace: its globals."""
    return namespace.setdefault(_BOOK, LinkBook())  # type: ignore[no-any-return]


def links_in(namespace: Mapping[str, Any]) -> LinkBook:
    """The LinkBook of a module or notebook, for reading; an empty one if there are no links."""
    return namespace.get(_BOOK) or LinkBook()
