"""dynamo_nb in a notebook: `%load_ext dynamo_nb`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dynamo_nb.notebook.session import Session
    from dynamo_nb.notebook.shell_hooks import Manners

_current: Session | None = None
_latest: Session | None = None
_manners: Manners | None = None


def current() -> Session | None:
    """The session of this process's notebook, if the extension is loaded."""
    return _current


def load(shell: Any) -> None:
    """Begins a session in an IPython shell, or takes up the one that was ended there: it has deployments to follow."""
    from dynamo_nb.notebook.session import Session
    from dynamo_nb.notebook.shell_hooks import Manners

    global _current, _latest, _manners  # noqa: PLW0603
    unload(shell)
    _current = _latest = _latest if _latest is not None and _latest.shell is shell else Session(shell)
    _current.begin()
    _manners = Manners(shell, _current)
    _manners.begin()


def unload(shell: Any) -> None:  # noqa: ARG001
    """Ends the session; its deployments go on for as long as the process lives."""
    global _current, _manners  # noqa: PLW0603
    if _current is None or _manners is None:
        return
    _manners.end()
    _current.end()
    _current = _manners = None
