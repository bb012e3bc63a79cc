"""Completion of `dynamo` command lines: verbs, options, services, workers, configuration keys and files.

The candidates follow from the table of verbs: from the type of a parameter, or from its name. A new verb is completed
without any change here.
"""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, get_args, get_origin, get_type_hints

from pydantic import BaseModel

import dynamo_nb.cli.verbs  # noqa: F401  (registers the verbs)
from dynamo_nb.cli.services_of_file import services_of_file
from dynamo_nb.cli.verb_table import commands
from dynamo_nb.config.command_words import split_words
from dynamo_nb.control.status import ServiceStatus
from dynamo_nb.deployment.worker_kernels import kernel_names
from dynamo_nb.sdk.service_args import ServiceArgs
from dynamo_nb.sdk.service_config import SERVICE_ARGS

_YAML = (".yaml", ".yml")
_PROGRAMS = (".py", ".ipynb")
_ENDPOINTS = {("bench", "target"), ("trace", "target")}
"""Parameters (verb, name) that mean an endpoint. Other parameters of this name mean a target to serve."""


class Configurable(Protocol):
    """A service whose configuration keys are completed."""

    @property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """The parameters of its constructor."""


class Vocabulary:
    """The names that a user can mean. A notebook knows more of them than a terminal."""

    def services(self) -> Mapping[str, Configurable]:
        """Returns the services that could be served."""
        return {}

    def running(self) -> Mapping[str, ServiceStatus]:
        """Returns the services that are being served."""
        return {}

    def endpoints(self) -> Iterable[str]:
        """Returns the endpoints that can be called, as `Service.endpoint`."""
        return ()

    def deployments(self) -> Iterable[str]:
        """Returns the ids of the running deployments."""
        from dynamo_nb.control.record import records

        return [record.id for record in records() if record.alive]


def completions(before: str, fragment: str, vocabulary: Vocabulary) -> list[str]:
    """Returns the completions of a word.

    Args:
        before: The command line up to the word, without `dynamo`.
        fragment: Typed part of the word; may be empty.
        vocabulary: The names that a user can mean.

    Returns:
        Whole words that begin with the fragment, in any case of letters. Empty inside a quotation.
    """
    try:
        words = shlex.split(before)
    except ValueError:  # an open quotation
        return []
    found = _Line(commands(), words, fragment, vocabulary).candidates()
    typed = fragment.lower()
    return list(dict.fromkeys(word for word in found if word.lower().startswith(typed) and word != fragment))


class _Line:
    """A command line that is being typed."""

    def __init__(
        self, commands: Mapping[str, Any], words: Sequence[str], fragment: str, vocabulary: Vocabulary
    ) -> None:
        self.commands, self.fragment, self.vocabulary = commands, fragment, vocabulary
        self.words = words
        self.by_parameter: dict[str, Callable[[], Iterable[str]]] = {
            "target": lambda: [*vocabulary.services(), *self.files(_PROGRAMS), *self.in_file()],
            "service": vocabulary.running,
            "services": vocabulary.running,
            "workers": lambda: (f"{name}=" for name in vocabulary.running()),
            "worker": lambda: kernel_names(vocabulary.running()),
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
        words, _ = split_words(self.words[1:])
        options = {name: p for p in command.params for name in (*p.opts, *p.secondary_opts) if name.startswith("-")}
        if words and (option := options.get(words[-1])) is not None and not option.is_flag:
            return self.values(command, option)
        if self.fragment.startswith("-"):
            name, is_set, _ = self.fragment.partition("=")
            if is_set:
                return (f"{name}={value}" for value in self.values(command, options[name])) if name in options else ()
            return [*(name for name in options if len(name) > 2), "--help", *self.config_options(command)]
        given, takes_value = 0, False
        for word in words:
            if takes_value or word.startswith("-"):
                takes_value = not takes_value and word in options and not options[word].is_flag
            else:
                given += 1
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        if given >= len(arguments) and not (arguments and arguments[-1].nargs == -1):
            return ()
        return self.values(command, arguments[min(given, len(arguments) - 1)])

    def values(self, command: Any, parameter: Any) -> Iterable[str]:
        hint = get_type_hints(command.callback).get(parameter.name)  # typer's own record differs between versions
        kinds = {hint, *get_args(hint)}
        if choices := [choice for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]:
            return [str(choice) for choice in choices]
        name = "endpoint" if (command.name, parameter.name) in _ENDPOINTS else parameter.name
        if (candidates := self.by_parameter.get(name)) is not None:
            return candidates()
        return self.files() if Path in kinds else ()

    def config_options(self, command: Any) -> Iterable[str]:
        """`--Backend.suffix=`, for the verbs that plan a target."""
        if all(parameter.name != "file" for parameter in command.params):
            return
        known: dict[str, Configurable] = {}
        for word in self.words[1:]:
            known.update({} if word.startswith("-") else services_of_file(word))
        known.update(self.vocabulary.services())
        for name, definition in known.items():
            if self.fragment.startswith(f"--{name}."):
                yield from (f"--{name}.{key}=" for key in config_keys(definition))
            else:
                yield f"--{name}."

    def in_file(self) -> Iterable[str]:
        """`graph.ipynb:Frontend`, after the name of a file was typed."""
        place = self.fragment.partition(":")[0]
        return (f"{place}:{name}" for name in services_of_file(place)) if place else ()

    def files(self, endings: tuple[str, ...] = ("",)) -> Iterable[str]:
        """The files with these endings and all folders, in the folder that the fragment names."""
        typed = self.fragment.rpartition("=")[2] if self.fragment.startswith("-") else self.fragment
        prefix = typed.rpartition("/")[0] + "/" if "/" in typed else ""
        folder = Path(prefix or ".").expanduser()
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.name.startswith(".") and not typed.removeprefix(prefix).startswith("."):
                continue
            if path.is_dir():
                yield f"{prefix}{path.name}/"
            elif path.name.endswith(endings):
                yield prefix + path.name


def config_keys(definition: Configurable) -> list[str]:
    """Returns the keys that configure a service: parameters of its constructor, then those of its decorator."""
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
