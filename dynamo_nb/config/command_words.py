"""Separates the configuration on a command line from the words of the verb."""

from __future__ import annotations

from collections.abc import Sequence


def split_words(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Splits a command line into the words of the verb and the words that set configuration values.

    Args:
        argv: The words after `dynamo`.

    Returns:
        The words of the verb, and the words of configuration: `--Service.key value` or `--Service.key=value`. An
        option sets configuration if its name has a dot or begins with a capital letter.
    """
    from dynamo_nb.config.arguments import is_value  # late: it imports YAML, which few command lines need

    verb, config, rest = [], [], list(argv)
    while rest:
        word = rest.pop(0)
        key = word.removeprefix("--").partition("=")[0]
        if not word.startswith("--") or not ("." in key or key[:1].isupper()):
            verb.append(word)
            continue
        config.append(word)
        if "=" not in word and rest and is_value(rest[0]):
            config.append(rest.pop(0))
    return verb, config
