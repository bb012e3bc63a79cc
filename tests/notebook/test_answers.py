"""Every request of a graph widget gets an answer, whatever its action raises."""

import asyncio

import pytest

from dynamo_nb.errors import TargetError
from dynamo_nb.notebook.actions import answered
from dynamo_nb.notebook.answer import Answer


class Widget:
    """The side of the kernel: what is sent to the browser."""

    def __init__(self):
        self.sent = []

    def send(self, content):
        self.sent.append(content)


class Silent(Exception):
    def __str__(self):
        raise RuntimeError("no text")


class Unwritable:
    def __repr__(self):
        raise SystemExit(3)


def raising(error):
    async def action(answer):
        raise error

    return action


async def cancelled_sibling(answer):
    other = asyncio.ensure_future(asyncio.sleep(600))
    other.cancel()
    await other


async def unwritable(answer):
    return Unwritable()


async def no_arguments(answer): ...


ACTIONS = {
    "an error of ours": (raising(TargetError("no such service", remedy="look")), {}, "no such service"),
    "another error": (raising(ValueError("bad")), {}, "ValueError: bad"),
    "a message that cannot be written": (raising(Silent()), {}, "Silent: (no message"),
    "a message that cannot be encoded": (raising(ValueError("bad \ud800")), {}, "ValueError: bad \\ud800"),
    "the end of the process": (raising(SystemExit(3)), {}, "SystemExit: 3"),
    "an interrupt": (raising(KeyboardInterrupt()), {}, "KeyboardInterrupt"),
    "the end of a generator": (raising(GeneratorExit()), {}, "GeneratorExit"),
    "a group of errors": (raising(BaseExceptionGroup("two", [SystemExit(1)])), {}, "BaseExceptionGroup: two"),
    "a cancellation": (raising(asyncio.CancelledError()), {}, "cancelled"),
    "the cancellation of another task": (cancelled_sibling, {}, "cancelled"),
    "a value that cannot be written": (unwritable, {}, "PydanticSerializationError: "),
    "an argument that the action does not take": (no_arguments, {"service": "A"}, "TypeError: no_arguments() got"),
}


@pytest.mark.parametrize("title", ACTIONS)
async def test_an_action_that_fails_is_answered(title):
    action, arguments, expected = ACTIONS[title]
    widget = Widget()
    await answered(Answer(widget, 7), action, **arguments)
    (answer,) = widget.sent
    assert (answer["id"], answer["error"][: len(expected)]) == (7, expected)
