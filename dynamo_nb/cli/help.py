"""The help of verbs: examples under the help text, and the whole table as data for documentation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

import dynamo_nb.cli.verbs  # noqa: F401  (registers the verbs)
from dynamo_nb.cli.verb_table import EXAMPLES, Example, commands


@dataclass(frozen=True)
class Parameter:
    """An argument or an option of a verb.

    Attributes:
        names: All spellings of an option, such as `-f` and `--file`, or the name of an argument.
        help: Its meaning.
        value: The type of its value, such as `int`, or the possible values joined by `|`. "" for a switch.
        default: The value that is used without it, as text. "" if there is none.
        required: True if the verb fails without it.
        repeatable: True if it may be given several times.
    """

    names: tuple[str, ...]
    help: str
    value: str
    default: str
    required: bool
    repeatable: bool

    @property
    def is_option(self) -> bool:
        """True for an option, False for an argument, which has its place among the words."""
        return self.names[0].startswith("-")


@dataclass(frozen=True)
class VerbHelp:
    """The help of a verb.

    Attributes:
        name: The verb.
        help: Its purpose.
        parameters: Its arguments and options.
        examples: Lines to copy, in full, such as `dynamo serve hello.py:Frontend`.
    """

    name: str
    help: str
    parameters: tuple[Parameter, ...]
    examples: tuple[Example, ...]


def verb_help(prefix: str = "dynamo", target: str = "hello.py:Frontend") -> list[VerbHelp]:
    """Returns the table of verbs as data, in the order of `dynamo --help`.

    Args:
        prefix: The word before a verb in examples.
        target: The target in examples.
    """
    return [
        VerbHelp(name, command.help, tuple(_parameters(command)), tuple(_examples(name, prefix, target)))
        for name, command in commands().items()
    ]


def _examples(verb: str, prefix: str, target: str) -> list[Example]:
    return [Example(f"{prefix} {line.line.format(target=target)}", line.comment) for line in EXAMPLES[verb]]


def _parameters(command: Any) -> Iterator[Parameter]:
    hints = get_type_hints(command.callback)
    for parameter in command.params:
        is_switch = getattr(parameter, "is_flag", False)
        negative = parameter.secondary_opts
        yield Parameter(
            names=(*parameter.opts, *negative),
            help=parameter.help,
            value="" if is_switch else _value(hints[parameter.name]),
            default=_default(parameter.default) if not is_switch else parameter.opts[0] if negative else "",
            required=parameter.required,
            repeatable=get_origin(_without_none(hints[parameter.name])) is list,
        )


def _default(value: Any) -> str:
    return "" if value is None else str(value)


def _value(hint: Any) -> str:
    kind = _without_none(hint)
    if get_origin(kind) is Literal:
        return "|".join(get_args(kind))
    return str((get_args(kind) or (kind,))[0].__name__).lower()


def _without_none(hint: Any) -> Any:
    """`int` of `int | None`."""
    kinds = [kind for kind in get_args(hint) if kind is not type(None)]
    return kinds[0] if type(None) in get_args(hint) else hint


def add_examples(commands: Mapping[str, Any], prefix: str, target: str) -> None:
    """Adds the examples to the help text of each verb.

    Args:
        commands: Verb name to click command.
        prefix: The word before a verb: `dynamo`, or `%dynamo` in a notebook.
        target: A target that can be served.
    """
    for verb, command in commands.items():
        examples = _examples(verb, prefix, target)
        width = max(len(example.line) for example in examples)
        # "\b" keeps click from filling the lines.
        command.epilog = "\b\n" + "\n".join(
            ["Examples:", *(f"  {example.line:<{width}}  {example.comment}" for example in examples)]
        )
