"""Which models a frontend serves, and which processor has each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from dynamo_nb.errors import DynamoError
from dynamo_nb.llm.api_error import ApiError
from dynamo_nb.llm.messages import ModelInfo, ServedModel

FRESH: Final = 2.0  # seconds that a list of models is taken as it is; workers and adapters come and go more slowly
PATIENCE: Final = 5.0  # seconds that a processor has to say what it serves


class Entry(msgspec.Struct, frozen=True):
    """A model that can be asked for. processor: who has it. known_as: the name by which the processor knows it."""

    name: str
    processor: Any
    known_as: str
    info: ModelInfo
    adapter: str = ""


class Catalogue:
    """The models of several processors by name. Asks them anew when its knowledge is old, or a name is not in it.

    processors: by the attribute of the dependency. renamed: the attribute of a processor to the name under which its
    model, not its adapters, is served. A name that two processors have belongs to the first of them.
    """

    def __init__(self, processors: Mapping[str, Any], renamed: Mapping[str, str]) -> None:
        self._processors, self._renamed = processors, renamed
        self._models: dict[str, list[ServedModel]] = {}  # by attribute; of those that have answered once
        self._entries: dict[str, Entry] = {}
        self._failed: dict[str, DynamoError] = {}
        self._asked = float("-inf")
        self._asking: asyncio.Task[None] | None = None

    async def find(self, name: str) -> Entry:
        """Raises ApiError where there is no such model, and the error of a processor that may have it."""
        entry = self._entries.get(name)
        if time.monotonic() - self._asked > FRESH:
            asking = self._ask()  # for those that come later, if this one can be served by what is known
            if entry is None:
                await asyncio.shield(asking)
                entry = self._entries.get(name)
        if entry is not None:
            return entry
        for attribute, error in self._failed.items():
            if attribute not in self._models:
                raise error
        known = ", ".join(self._entries) or "none"
        message = f"The model `{name}` does not exist. Models that are served: {known}."
        raise ApiError(message, status=404, param="model", code="model_not_found")

    async def entries(self) -> dict[str, Entry]:
        """All models by name."""
        if time.monotonic() - self._asked > FRESH:
            await asyncio.shield(self._ask())
        return self._entries

    @property
    def silent(self) -> bool:
        """Whether none of the processors answered when they were asked last."""
        return len(self._failed) == len(self._processors)

    def _ask(self) -> asyncio.Task[None]:
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._refresh())
        return self._asking

    async def _refresh(self) -> None:
        await asyncio.gather(*(self._of(attribute) for attribute in self._processors))
        self._asked = time.monotonic()
        entries: dict[str, Entry] = {}
        for attribute, processor in self._processors.items():
            for model in self._models.get(attribute, ()):
                name = model.name if model.adapter else self._renamed.get(attribute) or model.name
                entries.setdefault(name, Entry(name, processor, model.name, model.info, model.adapter))
        self._entries = entries

    async def _of(self, attribute: str) -> None:
        try:
            self._models[attribute] = await self._processors[attribute].models().using(timeout=PATIENCE)
            self._failed.pop(attribute, None)
        except DynamoError as error:
            self._failed[attribute] = error
