"""dynamo_nb in a notebook: `%load_ext dynamo_nb`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dynamo_nb.notebook.session import NotebookSession
    from dynamo_nb.notebook.shell_hooks import ShellHooks

_current: NotebookSession | None = None
_latest: NotebookSession | None = None
_hooks: ShellHooks | None = None


def current() -> NotebookSession | None:
    """Returns the session of this process's notebook; None if the extension is not loaded."""
    return _current


def load(shell: Any) -> None:
    """Loads the extension. If it was unloaded from this shell, the same session continues, with its deployments.

    Args:
        shell: The IPython shell.
    """
    from dynamo_nb.notebook.session import NotebookSession
    from dynamo_nb.notebook.shell_hooks import ShellHooks

    global _current, _latest, _hooks  # noqa: PLW0603
    unload(shell)
    same_shell = _latest is not None and _latest.shell is shell
    _current = _latest = _latest if same_shell and _latest is not None else NotebookSession(shell)
    _current.begin()
    _hooks = ShellHooks(shell, _current)
    _hooks.install()


def unload(shell: Any) -> None:  # noqa: ARG001
    """Unloads the extension. Deployments continue as long as the process lives.

    Args:
        shell: The IPython shell.
    """
    global _current, _hooks  # noqa: PLW0603
    if _current is None or _hooks is None:
        return
    _hooks.remove()
    _current.end()
    _current = _hooks = None
