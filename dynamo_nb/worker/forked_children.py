"""Keeps the signals of forked children away from the worker's event loop.

A loop handles signals through the wakeup descriptor of the process. A child that a handler forks, such as those of
`multiprocessing.Pool`, inherits the descriptor and the loop's handlers: SIGTERM would not end the child, and the loop
of the worker would receive it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable

_before_fork = threading.local()


def separate_signals(signum: signal.Signals) -> None:
    """Lets children that are forked from now on have the default action for the signals that the loop handles.

    signum: a signal that the loop of this process handles already.
    """
    by_loop = signal.getsignal(signum)  # the same for all signals that it handles

    def separate() -> None:
        signal.set_wakeup_fd(-1)
        for number in signal.valid_signals():
            if signal.getsignal(number) == by_loop:
                signal.signal(number, signal.SIG_DFL)
        _unblock()

    os.register_at_fork(before=_block, after_in_parent=_unblock, after_in_child=separate)


def _block() -> None:
    """Delays signals to a child until it is separate."""
    _before_fork.mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def _unblock() -> None:
    mask: Iterable[int] = _before_fork.mask
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
