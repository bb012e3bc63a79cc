"""Every exception of a handler reaches its caller as an error, bounded and readable, whatever its text and its class."""

import asyncio

import pytest

from dynamo_nb.errors import LONGEST_TEXT, ConfigError, DynamoError, EndpointError, Problem
from dynamo_nb.runtime.spans import TRACED, new_trace

TIMEOUT = 20  # seconds; the slowest row makes and cuts a text of 140 MB


class BrokenStr(Exception):
    def __str__(self):
        raise ZeroDivisionError("in __str__")


class ExitInStr(Exception):
    def __str__(self):
        raise SystemExit(3)


class NoText(Exception):
    def __str__(self):
        return 5  # noqa: PLE0307


class BrokenRepr(Exception):
    def __repr__(self):
        raise ZeroDivisionError("in __repr__")


class BrokenNotes(Exception):
    @property
    def __notes__(self):
        raise ZeroDivisionError("in __notes__")


class BrokenGroup(ExceptionGroup):
    @property
    def exceptions(self):
        raise ZeroDivisionError("in exceptions")


class NeedsArguments(Exception):
    def __init__(self, one, *, two):
        super().__init__(f"{one} and {two}")


class Unprepared(EndpointError):
    def __init__(self):
        pass


class StrangeFields(EndpointError):
    def __init__(self):
        super().__init__("strange")
        self.what, self.where, self.remedy, self.traceback, self.kind = 5, b"\xff", object(), "\ud800", None


class BrokenName(type):
    @property
    def __name__(cls):
        raise ZeroDivisionError("in __name__")


class NamelessError(Exception, metaclass=BrokenName):
    pass


class NamelessInStr(Exception):
    def __str__(self):
        raise NamelessError


class StrangeProblems(ConfigError):
    def __init__(self, problems):
        super().__init__([])
        self.problems = problems


class BrokenProblems(EndpointError):
    @property
    def problems(self):
        raise SystemExit(3)


class BrokenCode(EndpointError):
    @property
    def code(self):
        raise ZeroDivisionError("in code")


def with_note():
    error = ValueError("noted")
    error.add_note("a note \ud800")
    return error


def with_cause():
    error = ValueError("outer")
    error.__cause__ = BrokenStr()
    return error


ERRORS = {
    "surrogate": lambda: ValueError("bad \ud800"),
    "surrogate in a group's message": lambda: ExceptionGroup("bad \ud800", [ValueError("inner")]),
    "surrogate in a group's exception": lambda: ExceptionGroup("group", [ValueError("bad \udfff")]),
    "surrogate in a note": with_note,
    "surrogate in the name of a file": lambda: FileNotFoundError(2, "no such file", "a\udcff"),
    "140 MB": lambda: ValueError("x" * 140_000_000),
    "140 MB of lines": lambda: RuntimeError("line\n" * 28_000_000),
    "broken __str__": BrokenStr,
    "exit in __str__": ExitInStr,
    "__str__ without text": NoText,
    "broken __repr__": lambda: BrokenRepr(BrokenRepr()),
    "broken __notes__": BrokenNotes,
    "broken group": lambda: BrokenGroup("group", [ValueError()]),
    "broken cause": with_cause,
    "arguments": lambda: NeedsArguments(1, two=2),
    "bytes": lambda: UnicodeDecodeError("utf-8", b"\xff" * 1000, 0, 1, "\ud800"),
    "error without its constructor": Unprepared,
    "error with strange fields": StrangeFields,
    "error with a surrogate": lambda: DynamoError("bad \ud800", remedy="\udc00"),
    "error of 140 MB": lambda: EndpointError("x" * 140_000_000, traceback="y" * 140_000_000),
    "many problems": lambda: ConfigError([Problem("bad \ud800" * 1000, "path")] * 20_000),
    "class without a name": NamelessError,
    "class without a name in __str__": NamelessInStr,
    "surrogate in the name of a class": lambda: type("Bad", (Exception,), {"__qualname__": "\ud800"})(),
    "problems that are no list": lambda: StrangeProblems(5),
    "problems of other types": lambda: StrangeProblems([Problem(5, b"\xff"), 5]),
    "broken problems": lambda: BrokenProblems("x"),
    "broken code": lambda: BrokenCode("x"),
    "exit": lambda: SystemExit("bad \ud800"),
}


STRANGE = ["error without its constructor", "error with strange fields", "broken code", "class without a name"]


@pytest.mark.parametrize(("kind", "traced"), [*((kind, False) for kind in ERRORS), *((kind, True) for kind in STRANGE)])
async def test_an_exception_reaches_the_caller(connect, space, tmp_path, kind, traced):
    async def single(args, kwargs, context):
        error = ERRORS[kind]()
        raise error

    async def stream(args, kwargs, context):
        yield 1
        error = ERRORS[kind]()
        raise error

    worker = await connect(socket_dir=tmp_path)
    await worker.namespace(space).component("Bad").serve({"single": single, "stream": stream})
    caller = await connect()
    headers = {TRACED: new_trace()} if traced else {}
    for endpoint in ("single", "stream"):
        client = await caller.namespace(space).component("Bad").endpoint(endpoint).client()
        await client.wait_for_instances(5)
        with pytest.raises(DynamoError) as caught:
            await asyncio.wait_for(client.call([], headers=headers), TIMEOUT)
        shown = str(caught.value)
        assert shown.encode()
        for text in (
            caught.value.what,
            caught.value.where,
            caught.value.remedy,
            getattr(caught.value, "traceback", ""),
        ):
            assert len(text) < LONGEST_TEXT + 100


@pytest.mark.parametrize("place", ["what", "traceback"])
async def test_the_ends_of_a_long_text_are_kept(connect, space, tmp_path, place):
    async def single(args, kwargs, context):
        raise ValueError("begin" + "x" * 1_000_000 + "end")

    worker = await connect(socket_dir=tmp_path)
    await worker.namespace(space).component("Long").serve({"single": single})
    client = await (await connect()).namespace(space).component("Long").endpoint("single").client()
    await client.wait_for_instances(5)
    with pytest.raises(EndpointError) as caught:
        await client.call([])
    text = getattr(caught.value, place).strip()
    assert "begin" in text
    assert text.endswith("end")
    assert "characters left out" in text
