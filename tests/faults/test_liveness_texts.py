"""What a liveness hook raises or returns is reported as bounded, readable text."""

import pytest

from dynamo_nb.errors import LONGEST_TEXT
from dynamo_nb.sdk import liveness
from dynamo_nb.worker.worker import Worker


class BrokenText(Exception):
    def __str__(self):
        raise ZeroDivisionError

    __repr__ = __str__

    def __bool__(self):
        return False


class FalseForever:
    def __bool__(self):
        raise ValueError("bad \ud800")


class LongRepr(list):
    def __repr__(self):
        return "x\udcff" * 10_000_000


ERRORS = [
    ValueError("bad \ud800"),
    ValueError("x" * 140_000_000),
    ExceptionGroup("\ud800", [ValueError()]),
    BrokenText(),
]


@pytest.mark.parametrize("error", ERRORS, ids=["surrogate", "140 MB", "group", "broken"])
async def test_the_error_of_a_liveness_hook_is_readable(error):
    class Checked:
        @liveness
        async def check(self):
            raise error

    await check(Checked(), "raised")


@pytest.mark.parametrize(
    ("result", "what"),
    [(BrokenText(), "raised"), (FalseForever(), "raised"), (LongRepr(), "returned"), (None, "returned")],
)
async def test_the_result_of_a_liveness_hook_is_readable(result, what):
    class Checked:
        @liveness
        def check(self):
            return result

    await check(Checked(), what)


async def check(service, what):
    worker = Worker(None)
    worker.service = service
    fault = await worker.liveness_fault()
    assert fault.encode()
    assert fault.startswith(f"Checked.check {what} ")
    assert len(fault) < LONGEST_TEXT + 100
