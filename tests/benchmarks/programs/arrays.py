"""Tensors of 64 MB: made here, so that every program sends the same ones."""

BYTES = 64_000_000
ROUNDS, WARM_UP = 20, 3


def make(kind):
    """A float32 tensor of BYTES bytes. kind: numpy or torch. Raises ImportError where there is no such library."""
    if kind == "torch":
        import torch

        return torch.zeros(BYTES // 4) + 1
    import numpy as np

    return np.ones(BYTES // 4, dtype=np.float32)
