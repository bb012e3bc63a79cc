"""Links: which of the declared edges a graph uses.

`depends()` declares the most edges that a service can have; `A.link(B)` chooses among them. A link belongs to the
module or notebook that wrote it and is kept there, by the names of the services, in a LinkBook: two graph modules over
the same services do not see each other's links, and a link holds when the cell that defines a service is run again. A
link also remembers the cell that made it, so that running that cell again first takes back what it made before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

from dynamo_nb.sdk.origin import Origin

_BOOK = "__dynamo_links__"


class LinkBook:
    """The links that one module or notebook made. Ordered as they were made; making one twice adds nothing."""

    def __init__(self) -> None:
        self._links: dict[tuple[str, str], dict[str, Origin]] = {}
        self.classes: dict[str, type] = {}

    def add(self, source: str, target: str, origin: Origin, cls: type | None = None) -> None:
        """cls: the class that `target` names, for links that fill an interface."""
        if cls is not None:
            self.classes[target] = cls
        self._links.setdefault((source, target), {})[origin.key] = origin

    def remove(self, source: str, target: str) -> bool:
        """Takes a link back, whichever cells made it; False if there was none."""
        return self._links.pop((source, target), None) is not None

    def forget(self, key: str) -> None:
        """Takes back what one cell made, before it runs again."""
        for names, origins in list(self._links.items()):
            origins.pop(key, None)
            if not origins:
                del self._links[names]

    def saved(self) -> dict[tuple[str, str], dict[str, Origin]]:
        """The links as they are now, for `restore`."""
        return {names: dict(origins) for names, origins in self._links.items()}

    def restore(self, saved: Mapping[tuple[str, str], Mapping[str, Origin]]) -> None:
        """Makes the links what they were."""
        self._links = {names: dict(origins) for names, origins in saved.items()}

    def targets(self, source: str) -> list[str]:
        """The services that `source` is linked to; empty when nothing was chosen for it."""
        return [b for a, b in self._links if a == source]

    def origin(self, source: str, target: str) -> Origin | None:
        return next(iter(self._links.get((source, target), {}).values()), None)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(list(self._links))

    def __len__(self) -> int:
        return len(self._links)


def book_in(namespace: MutableMapping[str, Any]) -> LinkBook:
    """The book of a module or notebook, made at the first use."""
    return namespace.setdefault(_BOOK, LinkBook())  # type: ignore[no-any-return]


def links_in(namespace: Mapping[str, Any]) -> LinkBook:
    """The book of a module or notebook to read; an empty one if it made no link."""
    return namespace.get(_BOOK) or LinkBook()
