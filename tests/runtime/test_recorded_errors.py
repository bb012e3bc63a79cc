"""Errors that endpoints end with: distinct, counted, bounded, and logged once."""

import asyncio
import gc
import logging
import tracemalloc

import pytest

from dynamo_nb.errors import EndpointError, InvalidArgument, NoInstances
from dynamo_nb.runtime.call_errors import to_dynamo_error
from dynamo_nb.runtime.recorded_errors import (
    LONGEST_MESSAGE,
    LONGEST_TRACEBACK,
    MOST_ERRORS,
    MOST_LINES,
    MOST_OF_A_LINE,
    RecordedErrors,
)
from dynamo_nb.sdk.endpoint import Endpoint

PATH = "space/Backend/say"


def record(errors, raised, path=PATH, handler="Backend.say"):
    """Raises an exception as an endpoint would, and records it."""

    def say():
        raise raised

    try:
        say()
    except Exception as error:
        return errors.record(path, to_dynamo_error(error, say), error, handler=handler)


def other_line(errors, raised):
    try:
        raise raised
    except Exception as error:
        return errors.record(PATH, to_dynamo_error(error, record), error, handler="Backend.say")


def test_equal_exceptions_are_one_error_with_a_count_and_a_traceback():
    errors = RecordedErrors()
    for _ in range(3):
        record(errors, ValueError("no suffix"))
    other_line(errors, ValueError("no suffix"))

    first, second = errors.take()

    assert (first.kind, first.message, first.new, first.path) == ("ValueError", "no suffix", 3, PATH)
    assert first.line.startswith("test_recorded_errors.py:")
    assert "raise raised" in first.traceback
    assert first.traceback.endswith("ValueError: no suffix\n")
    assert 0 < first.first <= first.last
    assert second.new == 1
    assert second.line != first.line


def test_messages_that_differ_in_numbers_and_ids_are_one_error():
    errors = RecordedErrors()
    for message in ("user 17 at 0x7f3a", "user 4 at 0xfe", "user 5 at 1"):
        record(errors, ValueError(message))
    for message in ("no 6f1d2c3b-9a8b-4c5d", "no 00112233aabb"):
        record(errors, ValueError(message))
    assert [(error.message, error.new) for error in errors.take()] == [("user 5 at 1", 3), ("no 00112233aabb", 2)]


def test_errors_are_taken_once():
    errors = RecordedErrors()
    record(errors, ValueError("once"))
    assert [error.new for error in errors.take()] == [1]
    assert errors.take() == []
    record(errors, ValueError("once"))
    assert [error.new for error in errors.take()] == [1]


def test_ten_thousand_messages_stay_few_errors_and_leave_room_for_others():
    errors = RecordedErrors()
    other_line(errors, KeyError("rare"))
    for i in range(10_000):
        record(errors, ValueError(f"no document {chr(97 + i % 26)}{chr(97 + i // 26 % 26)}{chr(97 + i // 676)}x"))
    taken = errors.take()
    assert len(taken) == 1 + MOST_OF_A_LINE + 1
    assert sum(error.new for error in taken) == 10_001
    assert taken[0].kind == "KeyError"


def test_ten_thousand_endpoints_keep_only_the_latest_errors():
    errors = RecordedErrors()
    for i in range(10_000):
        record(errors, ValueError("x"), path=f"space/Backend/end{i}")
    taken = errors.take()
    assert len(taken) == MOST_ERRORS
    assert taken[-1].path.endswith("end9999")


def test_a_message_of_140_megabytes_is_kept_shortened(caplog):
    errors = RecordedErrors()
    record(errors, ValueError("a" * 140_000_000))
    tracemalloc.start()
    record(errors, ValueError("b" * 140_000_000))
    gc.collect()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 1_000_000
    for error in errors.take():
        assert len(error.message) < LONGEST_MESSAGE + 100
        assert len(error.traceback) < LONGEST_TRACEBACK + 100
    assert all(len(line.getMessage()) < 2 * LONGEST_MESSAGE for line in caplog.records)


def test_each_distinct_error_is_logged_once(caplog):
    errors = RecordedErrors()
    repeated = [record(errors, ValueError("no suffix\nat all")) for _ in range(50)]
    (line,) = caplog.records
    assert line.levelno == logging.ERROR
    assert line.getMessage().startswith("Backend.say failed: ValueError: no suffix at all, at test_recorded_errors.py:")
    assert repeated == [False] + [True] * 49


def test_many_distinct_errors_are_logged_up_to_a_limit(caplog):
    errors = RecordedErrors()
    for i in range(1000):
        record(errors, ValueError("x"), path=f"space/Backend/end{i}")
    assert len(caplog.records) == MOST_LINES


def test_an_error_that_goes_on_is_logged_again_with_its_number(caplog, monkeypatch):
    monkeypatch.setattr("dynamo_nb.runtime.recorded_errors.LOG_AGAIN", 0.0)
    errors = RecordedErrors()
    record(errors, ValueError("x"))
    next(iter(errors._errors.values())).not_logged = 1233
    record(errors, ValueError("x"))
    assert caplog.records[-1].getMessage().endswith("(1,234 times)")


def test_an_error_of_a_called_service_is_counted_without_its_traceback():
    errors = RecordedErrors()
    received = EndpointError("ValueError: deep", where="Retriever.search", kind="ValueError", traceback="Traceback…")
    record(errors, received)
    record(errors, received)
    (error,) = errors.take()
    assert (error.kind, error.message, error.raised_by, error.new) == ("ValueError", "deep", "Retriever.search", 2)
    assert error.line.startswith("test_recorded_errors.py:")
    assert error.traceback == ""


def test_a_call_that_reached_no_worker_is_an_error_of_the_caller():
    errors = RecordedErrors()
    record(errors, NoInstances("no worker serves it"))
    (error,) = errors.take()
    assert (error.kind, error.raised_by) == ("NoInstances", "")
    assert "record" not in error.traceback.splitlines()[0]


async def embed(self, text: str) -> int:
    return len(text)


def test_wrong_arguments_are_an_error_of_the_service_that_passed_them_only():
    errors, endpoint = RecordedErrors(), Endpoint(embed)
    try:  # as the server of the endpoint sees it: no code of a service has run
        endpoint.bind([1, 2], {})
    except InvalidArgument as error:
        bound = error.with_traceback(error.__traceback__.tb_next)
        errors.record(PATH, bound, bound)
    assert errors.take() == []
    try:  # as the caller sees it
        endpoint.bind([1, 2], {})
    except InvalidArgument as error:
        errors.record(PATH, error, error)
    (error,) = errors.take()
    assert error.kind == "InvalidArgument"


def test_an_argument_that_a_service_rejects_is_the_mistake_of_its_client():
    errors = RecordedErrors()
    record(errors, InvalidArgument("the prompt is too long"))
    assert errors.take() == []


async def test_a_burst_of_errors_is_reported_once_at_first():
    errors, reports = RecordedErrors(), asyncio.Queue()
    errors.on_errors = lambda: reports.put_nowait(errors.take())
    for _ in range(100):
        record(errors, ValueError("x"))
    async with asyncio.timeout(5):
        (first,) = await reports.get()
    assert first.new == 100
    record(errors, ValueError("x"))
    async with asyncio.timeout(5):
        (second,) = await reports.get()
    assert second.new == 1
    assert second.traceback == first.traceback


@pytest.mark.parametrize("text", ["\ud800", "", "é" * 5000])
def test_any_text_can_be_a_message(text):
    errors = RecordedErrors()
    record(errors, ValueError(text))
    assert errors.take()[0].new == 1
