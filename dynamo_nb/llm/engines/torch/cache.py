"""The keys and values of sequences, in transformers' cache, with room for those of the next tokens."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from torch import Tensor

SPARE: Final = 64  # columns of room: that many steps copy nothing


def new_cache() -> Any:
    """An empty transformers Cache of layers that have a `hold(keys, values)`, to have others from now on.

    It keeps all columns, also where a model looks at a window of them: the mask hides the others, and rows of any
    length fit together.
    """
    from transformers import Cache

    return Cache(layer_class_to_replicate=_layer())


@cache
def _layer() -> type:
    from transformers.cache_utils import DynamicLayer

    class RoomyLayer(DynamicLayer):  # type: ignore[misc]
        """Writes new columns behind the old ones; transformers' own copies all that is there at each step."""

        keys: Tensor
        values: Tensor
        is_initialized: bool

        def hold(self, keys: Tensor, values: Tensor) -> None:
            self.keys, self.values = keys, values
            self._stores: tuple[Tensor, Tensor] | None = None

        def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
            if not self.is_initialized:
                self.is_initialized, self.dtype, self.device = True, key_states.dtype, key_states.device
                self.hold(key_states[..., :0, :], value_states[..., :0, :])
            start = self.keys.shape[-2]
            end = start + key_states.shape[-2]
            if self._stores is None or self._stores[0].shape[-2] < end:
                self._stores = _roomy(self.keys, end), _roomy(self.values, end)
            for store, new in zip(self._stores, (key_states, value_states), strict=True):
                store[..., start:end, :] = new
            self.keys, self.values = (store[..., :end, :] for store in self._stores)
            return self.keys, self.values

    return RoomyLayer


def _roomy(held: Tensor, columns: int) -> Tensor:
    """These columns, and room for more: for so many in all, and some to spare."""
    rows, heads, there, size = held.shape
    store = held.new_empty(rows, heads, columns + SPARE, size)
    store[..., :there, :] = held
    return store
