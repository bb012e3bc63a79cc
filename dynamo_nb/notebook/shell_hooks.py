"""What the extension adds to an IPython shell beside the session, and takes back: magics, help and completion."""

from __future__ import annotations

from typing import Any

from dynamo_nb.notebook.completion import matcher
from dynamo_nb.notebook.help import VerbHelp
from dynamo_nb.notebook.magics import DynamoMagics, plain_first_line
from dynamo_nb.notebook.session import Session


class Manners:
    """Of one shell. `end` leaves the shell as `begin` found it."""

    def __init__(self, shell: Any, session: Session) -> None:
        self.shell = shell
        self._magics = DynamoMagics(shell, session)
        self._lists = (
            (shell.input_transformers_cleanup, plain_first_line),
            (shell.input_transformer_manager.token_transformers, VerbHelp),
            (shell.Completer.custom_matchers, matcher(session)),
        )

    def begin(self) -> None:
        for those, ours in self._lists:
            those.append(ours)
        self.shell.register_magics(self._magics)

    def end(self) -> None:
        for those, ours in self._lists:
            those.remove(ours)
        known = self.shell.magics_manager
        for kind, names in self._magics.magics.items():
            for name in names:
                known.magics[kind].pop(name, None)
        known.registry.pop(type(self._magics).__name__, None)
        self.shell.configurables.remove(self._magics)
