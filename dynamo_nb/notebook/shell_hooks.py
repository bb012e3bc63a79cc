"""Hooks of the extension in an IPython shell: magics, help and completion."""

from __future__ import annotations

from typing import Any

from dynamo_nb.notebook.completion import matcher
from dynamo_nb.notebook.magics import DynamoMagics, plain_first_line
from dynamo_nb.notebook.question_mark_help import QuestionMarkHelp
from dynamo_nb.notebook.session import NotebookSession


class ShellHooks:
    """The additions to one shell.

    Args:
        shell: The IPython shell.
        session: The session that the magics use.
    """

    def __init__(self, shell: Any, session: NotebookSession) -> None:
        self._shell = shell
        self._magics = DynamoMagics(shell, session)
        # Pairs of a list of IPython and our entry in it.
        self._entries: tuple[tuple[list[Any], Any], ...] = (
            (shell.input_transformers_cleanup, plain_first_line),
            (shell.input_transformer_manager.token_transformers, QuestionMarkHelp),
            (shell.Completer.custom_matchers, matcher(session.variables, lambda: session.own.all)),
        )

    def install(self) -> None:
        """Adds everything to the shell."""
        for hooks, ours in self._entries:
            hooks.append(ours)
        self._shell.register_magics(self._magics)

    def remove(self) -> None:
        """Removes everything again; the shell is then as it was before `install`."""
        for hooks, ours in self._entries:
            hooks.remove(ours)
        registered = self._shell.magics_manager
        for kind, names in self._magics.magics.items():
            for name in names:
                registered.magics[kind].pop(name, None)
        registered.registry.pop(type(self._magics).__name__, None)
        self._shell.configurables.remove(self._magics)
