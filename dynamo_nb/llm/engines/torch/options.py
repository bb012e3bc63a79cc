"""The options of a TorchEngine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(kw_only=True, eq=False, repr=False)
class TorchOptions:
    """The options of a TorchEngine, which are also the configuration of TorchWorker.

    Args:
        model: Folder of the model, or its name on the Hugging Face hub.
        max_model_len: Tokens of prompt and answer together; 0 for the length that the model was trained for.
        dtype: Name of a torch dtype, or "auto" for the dtype of the weights.
        device: Name of a torch device; "" for a GPU if there is one, otherwise the CPU.
        slots: Sequences that run at the same time; further requests wait in the order of their arrival.
        block_size: Tokens in a block. The engine has no blocks; its load is reported in this unit.
        threads: CPU threads that compute; 0 for torch's own choice.
    """

    model: str = ""
    max_model_len: int = 0
    dtype: str = "auto"
    device: str = ""
    slots: int = 8
    block_size: int = 16
    threads: int = 0
