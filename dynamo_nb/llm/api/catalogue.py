"""Which models a frontend serves, and which processor has each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from dynamo_nb.errors import DynamoError
from dynamo_nb.llm.api.errors import ApiError
from dynamo_nb.llm.messages import ModelInfo, ServedModel

FRESH: Final = 2.0  # seconds that a list of models is taken as it is; workers and adapters come and go more slowly
PATIENCE: Final = 5.0  # seconds that a processor has to say what it serves
BRIEF: Final = 0.5  # seconds that who asks for all models waits for a processor when another has answered


class Entry(msgspec.Struct, frozen=True):
    """A model that can be asked for. processor: who has it. known_as: the name by which the processor knows it."""

    name: str
    processor: Any
    known_as: str
    info: ModelInfo
    adapter: str = ""


class Catalogue:
    """The models of several processors by name. Asks each of them anew when what is known of it is old.

    processors: by the attribute of the dependency. renamed: the attribute of a processor to the name under which its
    model, not its adapters, is served. A name that two processors have belongs to the first of them.
    """

    def __init__(self, processors: Mapping[str, Any], renamed: Mapping[str, str]) -> None:
        self._processors, self._renamed = processors, renamed
        self._models: dict[str, list[ServedModel]] = {}  # by attribute; of those that have answered once
        self._entries: dict[str, Entry] = {}
        self._failed: dict[str, DynamoError] = {}
        self._asked: dict[str, float] = {}  # when each has answered, or failed to
        self._asking: dict[str, asyncio.Task[None]] = {}

    async def find(self, name: str) -> Entry:
        """Raises ApiError where there is no such model, and the error of a processor that may have it."""
        entry = self._entries.get(name)
        asking = self._ask()  # for those that come later, if this one can be served by what is known
        while entry is None and asking:
            _, asking = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
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
        """All models by name, without those of a processor that is down and has never answered."""
        if asking := self._ask():
            _, asking = await asyncio.wait(asking, timeout=BRIEF)
        while asking and not self._entries:
            _, asking = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        return self._entries

    @property
    def silent(self) -> bool:
        """Whether none of the processors answered when they were asked last."""
        return len(self._failed) == len(self._processors)

    def _ask(self) -> set[asyncio.Task[None]]:
        """Asks those of whom too little is known; gives what asks, this time or since before."""
        old = time.monotonic() - FRESH
        for attribute in self._processors:
            if attribute not in self._asking and self._asked.get(attribute, old) <= old:
                self._asking[attribute] = asyncio.create_task(self._of(attribute))
        return set(self._asking.values())

    async def _of(self, attribute: str) -> None:
        try:
            self._models[attribute] = await self._processors[attribute].models().using(timeout=PATIENCE)
            self._failed.pop(attribute, None)
        except DynamoError as error:
            self._failed[attribute] = error
        finally:
            self._asked[attribute] = time.monotonic()
            del self._asking[attribute]
        entries: dict[str, Entry] = {}
        for one, processor in self._processors.items():
            for model in self._models.get(one, ()):
                name = model.name if model.adapter else self._renamed.get(one) or model.name
                entries.setdefault(name, Entry(name, processor, model.name, model.info, model.adapter))
        self._entries = entries
