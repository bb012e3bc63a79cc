"""Completion in a notebook's cells: our magics, and what a deployment has."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from IPython.core.completer import SimpleCompletion, context_matcher

from dynamo_nb.control.status import ServiceStatus
from dynamo_nb.notebook.session import Session
from dynamo_nb.sdk.definition import definition_of
from dynamo_nb.source.first_line import SERVICE
from dynamo_nb.source.headers import CONFIG, service_parser

if TYPE_CHECKING:
    from IPython.core.completer import CompletionContext, SimpleMatcherResult

    from dynamo_nb.cli.completion import Vocabulary

_EXEC = "%%dynamo_exec"
_LINE = re.compile(r"\s*(?:[\w.,\s]+=\s*)?%?dynamo\s+(?P<before>.*\s)?(?P<fragment>\S*)")
_CLIENT = re.compile(r"""(?P<name>\w+)(?:\.(?P<attribute>\w+)|\[["'](?P<item>[^"']+)["']\])\.(?P<fragment>\w*)""")
_KEY = re.compile(r"(?P<indent> *)(?P<key>[\w-]+):\s*$")
_PRIORITY = 1000
"""Above all of IPython's own: what we know of a line of ours is all that can stand there."""


def matcher(session: Session) -> Callable[[CompletionContext], SimpleMatcherResult]:
    """A matcher for `IPCompleter.custom_matchers`."""

    @context_matcher(identifier="dynamo_nb", priority=_PRIORITY)
    def dynamo(context: CompletionContext) -> SimpleMatcherResult:
        lines = context.full_text.split("\n")
        line = lines[context.cursor_line][: context.cursor_position]
        fragment, found = _found(session, lines[: context.cursor_line], line)
        shown = [SimpleCompletion(text, type="dynamo") for text in found]
        return {"completions": shown, "matched_fragment": fragment, "suppress": bool(shown)}

    return dynamo  # type: ignore[no-any-return]


def _found(session: Session, above: list[str], line: str) -> tuple[str, list[str]]:
    """(the word that is being typed, what it could become)."""
    first = next((one.strip() for one in above if one.strip()), "")
    header = (first or line.strip()).partition(" ")[0]
    typed = line.rpartition(" ")[2]
    if first and header == CONFIG:
        from dynamo_nb.cli.completion import config_keys

        services = vocabulary(session).services()
        return typed, _starting(_keys_below(above, line, {n: config_keys(d) for n, d in services.items()}), typed)
    if not first and " " in line.strip() + line[-1:] and header in {_EXEC, SERVICE}:
        if header == SERVICE:
            flags = [flag for action in service_parser()._actions for flag in action.option_strings]
            return typed, _starting(flags, typed)
        from dynamo_nb.deployment.worker_kernels import names_of

        return typed, _starting(names_of(vocabulary(session).running()), typed)
    if (asked := _LINE.fullmatch(line)) is not None:
        from dynamo_nb.cli.completion import completions

        return asked["fragment"], completions(asked["before"] or "", asked["fragment"], vocabulary(session))
    if (asked := _CLIENT.search(line)) is not None and asked.end() == len(line):
        return asked["fragment"], _starting(_endpoints(session, asked), asked["fragment"])
    return "", []


def _starting(words: Iterable[str], fragment: str) -> list[str]:
    return [word for word in words if word.startswith(fragment) and word != fragment]


def _endpoints(session: Session, asked: re.Match[str]) -> Iterable[str]:
    """Those of `deployment.Backend`: IPython itself evaluates no attribute that an object makes up."""
    deployment = session.shell.user_ns.get(asked["name"])
    service = asked["attribute"] or asked["item"]
    if any(deployment is own for own in session.deployments) and service in deployment.spec.started:
        return dir(deployment[service])
    return ()


def _keys_below(above: list[str], line: str, keys: Mapping[str, list[str]]) -> Iterable[str]:
    """What can stand at this indentation of a YAML cell: services, then their keys level by level."""
    indent = len(line) - len(line.lstrip(" "))
    path: list[str] = []
    for earlier in reversed(above):
        parent = _KEY.fullmatch(earlier)
        if parent is not None and len(parent["indent"]) < indent:
            path.insert(0, parent["key"])
            indent = len(parent["indent"])
    if not path:
        return (f"{name}:" for name in keys)
    below = ".".join(path[1:]) + "." if path[1:] else ""
    there = (key.removeprefix(below) for key in keys.get(path[0], ()) if key.startswith(below))
    return dict.fromkeys(f"{key.partition('.')[0]}:" for key in there)


def vocabulary(session: Session) -> Vocabulary:
    """The names of this notebook."""
    from dynamo_nb.cli.completion import Vocabulary

    class Names(Vocabulary):
        def services(self) -> Mapping[str, Any]:
            return {name: definition_of(service) for name, service in session.services.items()}

        def running(self) -> Mapping[str, ServiceStatus]:
            alive = [deployment for deployment in session.deployments if not deployment.ended]
            return {name: s for deployment in alive for name, s in deployment.status.started_services.items()}

        def endpoints(self) -> Iterable[str]:
            running = self.running()
            chosen = [d for d in self.services().values() if not running or d.name in running]
            return [f"{d.name}.{e.name}" for d in chosen for e in d.endpoints.values() if e.served]

    return Names()
