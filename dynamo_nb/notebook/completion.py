"""Completion in the cells of a notebook: our magics, and the services of deployments."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from IPython.core.completer import SimpleCompletion, context_matcher

from dynamo_nb.notebook.variables import Variables
from dynamo_nb.sdk.definition import definition_of
from dynamo_nb.source.first_line import SERVICE
from dynamo_nb.source.headers import CONFIG, service_parser

if TYPE_CHECKING:
    from IPython.core.completer import CompletionContext, SimpleMatcherResult

    from dynamo_nb.cli.completion import Vocabulary
    from dynamo_nb.control.status import ServiceStatus
    from dynamo_nb.deployment.deployment import Deployment

_EXEC = "%%dynamo_exec"
_LINE = re.compile(r"\s*(?:[\w.,\s]+=\s*)?%?dynamo\s+(?P<before>.*\s)?(?P<fragment>\S*)")
_CLIENT = re.compile(r"""(?P<name>\w+)(?:\.(?P<attribute>\w+)|\[["'](?P<item>[^"']+)["']\])\.(?P<fragment>\w*)""")
_KEY = re.compile(r"(?P<indent> *)(?P<key>[\w-]+):\s*$")
_PRIORITY = 1000
"""Higher than IPython's matchers: in a line of ours, nothing else is valid."""


def matcher(
    variables: Variables, deployments: Callable[[], Sequence[Deployment]]
) -> Callable[[CompletionContext], SimpleMatcherResult]:
    """Returns a matcher for `IPCompleter.custom_matchers`.

    Args:
        variables: The variables of the notebook.
        deployments: Returns the deployments of the notebook.
    """
    completer = _Completer(variables, deployments)

    @context_matcher(identifier="dynamo_nb", priority=_PRIORITY)
    def dynamo(context: CompletionContext) -> SimpleMatcherResult:
        lines = context.full_text.split("\n")
        line = lines[context.cursor_line][: context.cursor_position]
        fragment, found = completer.complete(lines[: context.cursor_line], line)
        completions = [SimpleCompletion(text, type="dynamo") for text in found]
        return {"completions": completions, "matched_fragment": fragment, "suppress": bool(completions)}

    return dynamo  # type: ignore[no-any-return]


class _Completer:
    def __init__(self, variables: Variables, deployments: Callable[[], Sequence[Deployment]]) -> None:
        self._variables, self._deployments = variables, deployments

    def complete(self, above: list[str], line: str) -> tuple[str, list[str]]:
        """(the word that is being typed, its completions). above: the lines of the cell before this one."""
        first = next((one.strip() for one in above if one.strip()), "")
        header = (first or line.strip()).partition(" ")[0]
        word = line.rpartition(" ")[2]
        if first and header == CONFIG:
            from dynamo_nb.cli.completion import config_keys

            keys = {name: config_keys(definition) for name, definition in self._vocabulary().services().items()}
            return word, _starting(_keys_below(above, line, keys), word)
        if not first and " " in line.strip() + line[-1:] and header in {_EXEC, SERVICE}:
            if header == SERVICE:
                flags = [flag for action in service_parser()._actions for flag in action.option_strings]
                return word, _starting(flags, word)
            from dynamo_nb.deployment.worker_kernels import kernel_names

            return word, _starting(kernel_names(self._vocabulary().running()), word)
        if (match := _LINE.fullmatch(line)) is not None:
            from dynamo_nb.cli.completion import completions

            return match["fragment"], completions(match["before"] or "", match["fragment"], self._vocabulary())
        if (match := _CLIENT.search(line)) is not None and match.end() == len(line):
            return match["fragment"], _starting(self._endpoints(match), match["fragment"])
        return "", []

    def _endpoints(self, match: re.Match[str]) -> Iterable[str]:
        """The endpoints of `deployment.Backend`. IPython itself does not evaluate dynamic attributes."""
        deployment: Any = self._variables.namespace.get(match["name"])
        service = match["attribute"] or match["item"]
        if any(deployment is own for own in self._deployments()) and service in deployment.spec.started:
            return dir(deployment[service])
        return ()

    def _vocabulary(self) -> Vocabulary:
        """The names of this notebook."""
        from dynamo_nb.cli.completion import Vocabulary

        variables, deployments = self._variables, self._deployments

        class Names(Vocabulary):
            def services(self) -> Mapping[str, Any]:
                return {name: definition_of(service) for name, service in variables.services.items()}

            def running(self) -> Mapping[str, ServiceStatus]:
                alive = [deployment for deployment in deployments() if not deployment.ended]
                return {name: s for deployment in alive for name, s in deployment.status.started_services.items()}

            def endpoints(self) -> Iterable[str]:
                running = self.running()
                chosen = [d for d in self.services().values() if not running or d.name in running]
                return [f"{d.name}.{e.name}" for d in chosen for e in d.endpoints.values() if e.served]

        return Names()


def _starting(words: Iterable[str], fragment: str) -> list[str]:
    return [word for word in words if word.startswith(fragment) and word != fragment]


def _keys_below(above: list[str], line: str, keys: Mapping[str, list[str]]) -> Iterable[str]:
    """The keys that are valid at this indentation of a YAML cell: services, then their keys level by level."""
    indent = len(line) - len(line.lstrip(" "))
    path: list[str] = []
    for earlier in reversed(above):
        parent = _KEY.fullmatch(earlier)
        if parent is not None and len(parent["indent"]) < indent:
            path.insert(0, parent["key"])
            indent = len(parent["indent"])
    if not path:
        return (f"{name}:" for name in keys)
    prefix = ".".join(path[1:]) + "." if path[1:] else ""
    below = (key.removeprefix(prefix) for key in keys.get(path[0], ()) if key.startswith(prefix))
    return dict.fromkeys(f"{key.partition('.')[0]}:" for key in below)
