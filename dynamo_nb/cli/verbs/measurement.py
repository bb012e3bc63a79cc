"""Verbs that make calls and measure them: bench, trace."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer

from dynamo_nb.cli.options import DeploymentOption
from dynamo_nb.cli.verb_table import host_of, verb
from dynamo_nb.errors import DynamoError

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def with_one_target(words: Sequence[str]) -> list[str]:
    """Joins the words of a route without quotation marks: `bench POST /generate`.

    Args:
        words: The verb and the words after it.

    Returns:
        The words, with the route as one word.
    """
    for at in (1, 2):  # a service may precede the method
        if len(words) > at + 1 and words[at].upper() in _METHODS and words[at + 1].startswith(("/", "http")):
            return [words[0], " ".join(words[1 : at + 2]), *words[at + 2 :]]
    return list(words)


@verb(
    ("bench Frontend.generate -c 64 --duration 10 --payload '\"hello\"'", "64 callers for ten seconds"),
    ("bench Frontend.generate --rate 200 --payload @lines.jsonl", "200 calls a second, payloads in turn"),
    ("""bench "POST /generate" -c 64 --payload '{{"text": "hello"}}'""", "requests over HTTP; streams count items"),
)
def bench(
    context: typer.Context,
    target: Annotated[
        str, typer.Argument(help="the endpoint, such as Frontend.generate, or the HTTP route, such as POST /generate")
    ],
    payload: Annotated[
        str | None,
        typer.Option(
            "-p",
            "--payload",
            help="arguments as JSON: an object with their names, or the only argument; over HTTP the body, or the "
            "query of a GET; @file.json reads a file, @lines.jsonl takes its lines in turn",
        ),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(
            "-c",
            "--concurrency",
            help="number of callers (default: 1); with --rate, limit of open calls (1000)",
        ),
    ] = None,
    rate: Annotated[float | None, typer.Option(help="calls a second, however long each of them takes")] = None,
    duration: Annotated[float | None, typer.Option(help="seconds to measure (default: 10)")] = None,
    requests: Annotated[
        int | None, typer.Option("-n", "--requests", help="number of calls, instead of a duration")
    ] = None,
    warmup: Annotated[float, typer.Option(help="seconds of load before the measurement")] = 0.0,
    timeout: Annotated[float | None, typer.Option(help="seconds allowed for each call")] = None,
    background: Annotated[bool, typer.Option("--background", help="in a notebook: run while other cells run")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the result as JSON")] = False,
    deployment: DeploymentOption = None,
) -> Any:
    """Measure an endpoint or HTTP route under load: `dynamo bench Frontend.generate -c 64 --payload '"hello"'`."""
    from dynamo_nb.observe.load_shape import LoadShape

    shape = LoadShape(concurrency, rate, duration, requests, warmup, timeout)
    host = host_of(context)
    if background and host.is_terminal:
        raise DynamoError("--background works only in a notebook", remedy="in a shell, end the line with `&`")
    result = host.bench(deployment, target, payload, shape, background=background)
    if as_json and not background:
        host.show(json.dumps(result.as_dict()))
        return None
    return host.result(result)


@verb(
    ("""trace Frontend.generate --payload '{{"text": "hello"}}'""", "one call, and where its time went"),
    ("""trace "POST /generate" --payload '{{"text": "hello"}}'""", "one request over HTTP"),
)
def trace(
    context: typer.Context,
    target: Annotated[
        str, typer.Argument(help='the endpoint, such as Frontend.generate, or the HTTP route, such as "POST /generate"')
    ],
    payload: Annotated[
        str | None, typer.Option(help="""arguments as JSON, such as '{"text": "hi"}', or @file.json""")
    ] = None,
    deployment: DeploymentOption = None,
) -> Any:
    """Make one call and show where its time went, as a waterfall of the calls between services."""
    from dynamo_nb.observe.request import Request

    host = host_of(context)
    served = host.deployment(deployment)
    return host.result(served.trace(Request.parse(served, target, payload).call()).result())
