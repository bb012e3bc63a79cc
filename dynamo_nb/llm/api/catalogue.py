"""The models of a frontend, and the processor of each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from dynamo_nb.errors import DynamoError
from dynamo_nb.llm.api.errors import ApiError
from dynamo_nb.llm.messages import ModelInfo, ServedModel

MAX_AGE: Final = 2.0  # seconds after which a list of models is requested again; workers and adapters change more slowly
TIMEOUT: Final = 5.0  # seconds for a processor to list its models
LIST_WAIT: Final = 0.5  # seconds that a list of all models waits for further processors when one has answered


class Entry(msgspec.Struct, frozen=True):
    """A model that requests may name.

    Attributes:
        name: Its name in requests.
        processor: The client of its processor.
        processor_name: The name that the processor uses.
        info: The model.
        adapter: Name of the LoRA adapter, if it is one.
    """

    name: str
    processor: Any
    processor_name: str
    info: ModelInfo
    adapter: str = ""


class Catalogue:
    """The models of several processors, by name. Lists that are older than MAX_AGE are requested again.

    A name that two processors have belongs to the first of them.

    Args:
        processors: Attribute of the dependency -> client of the processor.
        renamed: Attribute of a processor -> name under which its model, but not its adapters, is served.
    """

    def __init__(self, processors: Mapping[str, Any], renamed: Mapping[str, str]) -> None:
        self._processors, self._renamed = processors, renamed
        self._models: dict[str, list[ServedModel]] = {}  # by attribute, of processors that have answered once
        self._entries: dict[str, Entry] = {}
        self._failed: dict[str, DynamoError] = {}
        self._updated: dict[str, float] = {}  # when each processor last answered or failed
        self._updates: dict[str, asyncio.Task[None]] = {}

    async def find(self, name: str) -> Entry:
        """Returns a model.

        Raises:
            ApiError: No processor serves a model of this name.
            DynamoError: A processor that may serve it does not answer.
        """
        entry = self._entries.get(name)
        updates = self._update()  # for later requests, if this one finds its model in the present list
        while entry is None and updates:
            _, updates = await asyncio.wait(updates, return_when=asyncio.FIRST_COMPLETED)
            entry = self._entries.get(name)
        if entry is not None:
            return entry
        for attribute, error in self._failed.items():
            if attribute not in self._models:
                raise error
        known = ", ".join(self._entries) or "none"
        message = f"The model `{name}` does not exist. Available models: {known}."
        raise ApiError(message, status=404, param="model", code="model_not_found")

    async def entries(self) -> dict[str, Entry]:
        """Returns all models by name, without those of a processor that has never answered."""
        if updates := self._update():
            _, updates = await asyncio.wait(updates, timeout=LIST_WAIT)
        while updates and not self._entries:
            _, updates = await asyncio.wait(updates, return_when=asyncio.FIRST_COMPLETED)
        return self._entries

    @property
    def all_failed(self) -> bool:
        """True if the last request to every processor failed."""
        return len(self._failed) == len(self._processors)

    def _update(self) -> set[asyncio.Task[None]]:
        """Requests the lists that are too old; returns all updates in progress."""
        oldest = time.monotonic() - MAX_AGE
        for attribute in self._processors:
            if attribute not in self._updates and self._updated.get(attribute, oldest) <= oldest:
                self._updates[attribute] = asyncio.create_task(self._update_one(attribute))
        return set(self._updates.values())

    async def _update_one(self, attribute: str) -> None:
        try:
            self._models[attribute] = await self._processors[attribute].models().using(timeout=TIMEOUT)
            self._failed.pop(attribute, None)
        except DynamoError as error:
            self._failed[attribute] = error
        finally:
            self._updated[attribute] = time.monotonic()
            del self._updates[attribute]
        entries: dict[str, Entry] = {}
        for one, processor in self._processors.items():
            for model in self._models.get(one, ()):
                name = model.name if model.adapter else self._renamed.get(one) or model.name
                entries.setdefault(name, Entry(name, processor, model.name, model.info, model.adapter))
        self._entries = entries
