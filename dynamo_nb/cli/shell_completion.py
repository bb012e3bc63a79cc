"""Completion of `dynamo` in bash and zsh, with the candidates of completion in a notebook.

`dynamo --install-completion` installs typer's function in the shell. It calls `dynamo` with the request in environment
variables. typer itself would complete only verbs and options.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final

from dynamo_nb.cli.completion import Vocabulary, completions
from dynamo_nb.control.record import Record, records
from dynamo_nb.control.release import Release
from dynamo_nb.control.status import ServiceStatus
from dynamo_nb.errors import DynamoError

QUESTION: Final = "_DYNAMO_COMPLETE"
"""The environment variable with the request: `complete_bash` or `complete_zsh`."""
_UNFINISHED: Final = ("/", "=", ".", ":")
"""Ends of candidates that the shell completes without a space after them."""


class ShellVocabulary(Vocabulary):
    """The names that a terminal completes: the names in all running deployments of this user."""

    def running(self) -> Mapping[str, ServiceStatus]:
        from dynamo_nb.cli.supervisor_requests import status_of

        found: dict[str, ServiceStatus] = {}
        for record in _alive():
            with suppress(DynamoError):
                found.update(status_of(record).started_services)
        return found

    def endpoints(self) -> Iterable[str]:
        from dynamo_nb.cli.supervisor_requests import request

        for record in _alive():
            with suppress(DynamoError):
                spec = Release.from_data(request(record, "release")).spec
                for name, service in spec.started.items():
                    yield from (f"{name}.{endpoint.name}" for endpoint in service.endpoints)


def _alive() -> list[Record]:
    with suppress(OSError, DynamoError):
        return [record for record in records() if record.alive]
    return []


def answer(question: str, environment: Mapping[str, str]) -> str | None:
    """Returns the answer for a shell's completion function; None for requests that typer answers.

    Args:
        question: The value of `QUESTION`.
        environment: The environment, with the command line so far.
    """
    if question == "complete_bash":
        words = environment.get("COMP_WORDS", "").split("\n")[: int(environment.get("COMP_CWORD", "0")) + 1]
        # bash splits words at `:` and `=`, and replaces only the part after them.
        line = re.sub(r"\n?([:=])\n?", r"\1", "\n".join(words)).split("\n")
        before, word = shlex.join(line[1:-1]), line[-1] if len(line) > 1 else ""
        replaced = word[: max(word.rfind(":"), word.rfind("=")) + 1]
        found = completions(before, word, ShellVocabulary())
        return "\n".join(each.removeprefix(replaced) for each in found)
    if question == "complete_zsh":
        _, _, line_text = environment.get("_TYPER_COMPLETE_ARGS", "").partition(" ")
        before, _, word = line_text.rpartition(" ")
        found = completions(before, word, ShellVocabulary())
        unfinished = [each for each in found if each.endswith(_UNFINISHED)]
        whole = [each for each in found if each not in unfinished]
        added = [("compadd -S ''", unfinished), ("compadd", whole)]
        return "; ".join(f"{command} -- {shlex.join(words)}" for command, words in added if words) or "_files"
    return None
