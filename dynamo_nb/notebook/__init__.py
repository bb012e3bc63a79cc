"""dynamo_nb in a notebook: `%load_ext dynamo_nb`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dynamo_nb.notebook.session import Session

_current: Session | None = None
_latest: Session | None = None


def current() -> Session | None:
    """The session of this process's notebook, if the extension is loaded."""
    return _current


def load(shell: Any) -> None:
    """Begins a session in an IPython shell, or takes up the one that was ended there: it has deployments to follow."""
    from dynamo_nb.notebook.magics import DynamoMagics, plain_first_line
    from dynamo_nb.notebook.session import Session

    global _current, _latest  # noqa: PLW0603
    _current = _latest = _latest if _latest is not None and _latest.shell is shell else Session(shell)
    _current.begin()
    shell.input_transformers_cleanup.append(plain_first_line)
    shell.register_magics(DynamoMagics(shell, _current))


def unload(shell: Any) -> None:
    """Ends the session; its deployments go on for as long as the process lives."""
    global _current  # noqa: PLW0603
    if _current is None:
        return
    from dynamo_nb.notebook.magics import DynamoMagics, plain_first_line

    _current.end()
    shell.input_transformers_cleanup.remove(plain_first_line)
    for kind, names in DynamoMagics.magics.items():
        for name in names:
            shell.magics_manager.magics[kind].pop(name, None)
    _current = None
