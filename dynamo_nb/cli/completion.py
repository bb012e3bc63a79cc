"""What can come next in a `dynamo` command line: verbs, options, services, workers, configuration keys, files.

It follows the table of verbs, so that a new verb is completed as soon as it is there: by the type of a parameter, or by
its name, which says what it means.
"""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import typer
from pydantic import BaseModel

from dynamo_nb.cli.cli import app, split_words
from dynamo_nb.control.status import ServiceStatus
from dynamo_nb.deployment.worker_kernels import names_of
from dynamo_nb.sdk.definition import ServiceDefinition
from dynamo_nb.sdk.service_args import ServiceArgs
from dynamo_nb.sdk.service_config import SERVICE_ARGS

_YAML = (".yaml", ".yml")
_PROGRAMS = (".py", ".ipynb")
_ENDPOINTS = {("bench", "target"), ("trace", "target")}
"""Parameters (verb, name) that mean an endpoint, where others of their name mean something to serve."""


class Vocabulary:
    """The names that a person can mean where they type."""

    def services(self) -> Mapping[str, ServiceDefinition]:
        """What could be served."""
        return {}

    def running(self) -> Mapping[str, ServiceStatus]:
        """What is being served, as the supervisor reports it."""
        return {}

    def endpoints(self) -> Iterable[str]:
        """`Service.endpoint` of what can be called."""
        return ()

    def deployments(self) -> Iterable[str]:
        from dynamo_nb.control.state_dir import records

        return [record.id for record in records() if record.alive]


def completions(before: str, fragment: str, vocabulary: Vocabulary) -> list[str]:
    """What `fragment`, the word that is being typed, could become. before: the command line up to it, less `dynamo`."""
    try:
        words = shlex.split(before)
    except ValueError:  # within a quotation
        return []
    table: Any = typer.main.get_command(app)
    found = _Line(table.commands, words, fragment, vocabulary).candidates()
    typed = fragment.lower()
    return list(dict.fromkeys(one for one in found if one.lower().startswith(typed) and one != fragment))


class _Line:
    """One command line that is being typed."""

    def __init__(
        self, commands: Mapping[str, Any], words: Sequence[str], fragment: str, vocabulary: Vocabulary
    ) -> None:
        self.commands, self.fragment, self.vocabulary = commands, fragment, vocabulary
        self.words = words
        self.meanings: dict[str, Callable[[], Iterable[str]]] = {
            "target": lambda: [*vocabulary.services(), *self.files(_PROGRAMS)],
            "service": vocabulary.running,
            "services": vocabulary.running,
            "workers": lambda: (f"{name}=" for name in vocabulary.running()),
            "worker": lambda: names_of(vocabulary.running()),
            "endpoint": vocabulary.endpoints,
            "endpoints": vocabulary.endpoints,
            "which": vocabulary.deployments,
            "deployment": vocabulary.deployments,
            "verb": lambda: commands,
            "file": lambda: self.files(_YAML),
        }

    def candidates(self) -> Iterable[str]:
        if not self.words:
            return self.commands
        if (command := self.commands.get(self.words[0])) is None:
            return ()
        verb, _ = split_words(self.words[1:])
        options = {name: p for p in command.params for name in (*p.opts, *p.secondary_opts) if name.startswith("-")}
        if verb and (option := options.get(verb[-1])) is not None and not option.is_flag:
            return self.values(command, option)
        if self.fragment.startswith("-"):
            name, is_set, _ = self.fragment.partition("=")
            if is_set:
                return (f"{name}={value}" for value in self.values(command, options[name])) if name in options else ()
            return [*(name for name in options if len(name) > 2), "--help", *self.keys(command)]
        given, takes_value = 0, False
        for word in verb:
            if takes_value or word.startswith("-"):
                takes_value = not takes_value and word in options and not options[word].is_flag
            else:
                given += 1
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        if given >= len(arguments) and not (arguments and arguments[-1].nargs == -1):
            return ()
        return self.values(command, arguments[min(given, len(arguments) - 1)])

    def values(self, command: Any, parameter: Any) -> Iterable[str]:
        hint = get_type_hints(command.callback).get(parameter.name)  # how typer keeps it is another thing each year
        kinds = {hint, *get_args(hint)}
        if choices := [choice for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]:
            return [str(choice) for choice in choices]
        name = "endpoint" if (command.name, parameter.name) in _ENDPOINTS else parameter.name
        if (meaning := self.meanings.get(name)) is not None:
            return meaning()
        return self.files() if Path in kinds else ()

    def keys(self, command: Any) -> Iterable[str]:
        """`--Backend.suffix=`, for the verbs that take configuration: those about what could be served."""
        if all(parameter.name != "file" for parameter in command.params):
            return
        for name, definition in self.vocabulary.services().items():
            if self.fragment.startswith(f"--{name}."):
                yield from (f"--{name}.{key}=" for key in config_keys(definition))
            else:
                yield f"--{name}."

    def files(self, endings: tuple[str, ...] = ("",)) -> Iterable[str]:
        """The files of these endings, and the folders, in the folder that the fragment names."""
        typed = self.fragment.rpartition("=")[2] if self.fragment.startswith("-") else self.fragment
        folder = typed.rpartition("/")[0] + "/" if "/" in typed else ""
        place = Path(folder or ".").expanduser()
        for path in sorted(place.iterdir()) if place.is_dir() else ():
            if path.name.startswith(".") and not typed.removeprefix(folder).startswith("."):
                continue
            if path.is_dir():
                yield f"{folder}{path.name}/"
            elif path.name.endswith(endings):
                yield folder + path.name


def config_keys(definition: ServiceDefinition) -> list[str]:
    """The keys that configure a service: parameters of its constructor, then those of its decorator."""
    varying = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    own = [name for name, parameter in definition.parameters.items() if parameter.kind not in varying]
    return [*own, *(f"{SERVICE_ARGS}.{key}" for key in _fields(ServiceArgs))]


def _fields(model: type[BaseModel]) -> Iterable[str]:
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from (f"{name}.{key}" for key in _fields(inner))
        else:
            yield name
