"""When a worker lets a prefill worker compute the KV cache of a prompt."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(kw_only=True, eq=False, repr=False)
class RemotePrefill:
    """The options for remote prefill, which are part of the configuration of every EngineWorker.

    Args:
        remote_prefill: Send prompts to a prefill worker.
        conditional_disagg: Send only long prompts; see `max_local_prefill_length`.
        max_local_prefill_length: A prompt is long if more of its tokens than this are not in the worker's own cache.
        max_prefill_queue_size: While this many prompts wait in the queue, the worker computes prompts itself.
        prefill_timeout: Seconds to wait for a prefill worker; after that the worker computes the prompt itself.
    """

    remote_prefill: bool = False
    conditional_disagg: bool = False
    max_local_prefill_length: int = 512
    max_prefill_queue_size: int = 64
    prefill_timeout: float = 10.0

    def is_long(self, tokens: int, cached: int) -> bool:
        """Returns whether a prompt is worth sending to a prefill worker.

        Args:
            tokens: Tokens of the prompt.
            cached: Number of them that are in the worker's own cache.
        """
        return not self.conditional_disagg or tokens - cached > self.max_local_prefill_length
