"""What the help of each verb shows: lines to copy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

EXAMPLES: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "serve": (
        ("serve {target}", "with the configuration in the code"),
        ("serve {target} -f config.yaml --Backend.workers=2", "a file, and one value over it"),
        ("serve {target} --dry-run", "what would run, and on which GPUs"),
        ("serve bundle/ --detach", "what was exported; it outlives this process"),
    ),
    "config": (
        ("config {target}", "each value with its origin"),
        ("config {target} -f config.yaml --json", "values only"),
        ("config", "of what is being served"),
    ),
    "graph": (
        ("graph {target}", "draw it"),
        ("graph {target} --format svg -o graph.svg", "write it to a file"),
    ),
    "export": (("export {target} bundle/", "code, configuration and manifests"),),
    "ps": (("ps", "all deployments of this user"), ("ps --json", "for programs")),
    "attach": (("attach", "the one that runs"), ("attach frontend-1a2b3c4d", "this one, of several")),
    "detach": (("detach", "it outlives what serves it"),),
    "stop": (("stop", "the one that runs"), ("stop frontend-1a2b3c4d", "this one, of several")),
    "scale": (("scale Backend=4", "four workers"), ("scale Backend=0 Router=2", "several services at once")),
    "logs": (
        ("logs", "the last lines of every worker"),
        ("logs Backend -n 20", "fewer, of one service"),
        ("logs Backend -f", "and go on as lines come"),
        ("logs -f --grep error", "those that matter"),
    ),
    "console": (
        ("console Backend[0]", "how to attach to the first worker of Backend"),
        ("console Backend[0] --open", "attach this terminal"),
    ),
    "trace": (("""trace Frontend.generate --payload '{{"text": "hello"}}'""", "one call, and where its time went"),),
    "bench": (
        ("bench frontend.generate -c 64 --duration 10 --payload '\"hello\"'", "64 callers for ten seconds"),
        ("bench frontend.generate --rate 200 --payload @lines.jsonl", "200 calls a second, payloads in turn"),
    ),
    "top": (("top", "live"), ("top --once", "one table")),
    "clean": (("clean", "after a crash"),),
    "help": (("help serve", "the same as `serve --help`"),),
}
"""Verb to (command line, what it does). `{target}` is a service, as it is named there."""


def with_examples(commands: Mapping[str, Any], prefix: str, target: str) -> None:
    """Puts the examples under the help of each verb. prefix: `dynamo`, or `%dynamo` in a notebook."""
    for verb, examples in EXAMPLES.items():
        shown = [(f"{prefix} {line.format(target=target)}", what) for line, what in examples]
        width = max(len(line) for line, _ in shown)
        # "\b" keeps click from filling the lines.
        commands[verb].epilog = "\b\n" + "\n".join(
            ["Examples:", *(f"  {line:<{width}}  {what}" for line, what in shown)]
        )
