"""The keys and values of sequences in transformers' cache, with space for the next tokens."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from torch import Tensor

SPARE: Final = 64  # extra columns: as many steps need no copy


def new_cache() -> Any:
    """Returns an empty transformers Cache whose layers have a method `replace(keys, values)`.

    It keeps all columns, also for a model with a window of attention: the mask hides the others, and rows of any length
    fit together.
    """
    from transformers import Cache

    return Cache(layer_class_to_replicate=_layer())


@cache
def _layer() -> type:
    from transformers.cache_utils import DynamicLayer

    class RoomyLayer(DynamicLayer):  # type: ignore[misc]
        """Writes new columns behind the old ones; transformers' own layer copies all columns at each step."""

        keys: Tensor
        values: Tensor
        is_initialized: bool

        def replace(self, keys: Tensor, values: Tensor) -> None:
            self.keys, self.values = keys, values
            self._stores: tuple[Tensor, Tensor] | None = None

        def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
            if not self.is_initialized:
                self.is_initialized, self.dtype, self.device = True, key_states.dtype, key_states.device
                self.replace(key_states[..., :0, :], value_states[..., :0, :])
            start = self.keys.shape[-2]
            end = start + key_states.shape[-2]
            if self._stores is None or self._stores[0].shape[-2] < end:
                self._stores = _with_spare(self.keys, end), _with_spare(self.values, end)
            for store, new in zip(self._stores, (key_states, value_states), strict=True):
                store[..., start:end, :] = new
            self.keys, self.values = (store[..., :end, :] for store in self._stores)
            return self.keys, self.values

    return RoomyLayer


def _with_spare(columns: Tensor, count: int) -> Tensor:
    """A copy with space for `count` columns and SPARE more."""
    rows, heads, present, size = columns.shape
    store = columns.new_empty(rows, heads, count + SPARE, size)
    store[..., :present, :] = columns
    return store
