"""Lines of logs: their times, their levels, and the filter."""

import os
import re
import time
from contextlib import closing

import pytest

from dynamo_nb.control.log_lines import LineReader, LogFilter, LogLine, stamp, without_escapes
from dynamo_nb.control.log_writer import Stamps, log_stream
from dynamo_nb.control.logs import LogTail, log_tail
from dynamo_nb.errors import InvalidArgument


@pytest.fixture
def log(tmp_path):
    """The path of a log, and two streams that append to it with times."""
    path, stamps = tmp_path / "Backend.0.log", Stamps()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    streams = [log_stream(descriptor, stamps), log_stream(descriptor, stamps)]
    yield path, *streams
    for stream in streams:
        stream.close()
    os.close(descriptor)


def test_each_line_of_a_log_has_its_time(log):
    path, out, err = log
    before = time.time()
    print("one\n\ntwo", file=out)
    print("three", file=err)
    with closing(LogTail(path.parent)) as tail:
        lines = list(tail.read_lines())

    assert [(line.worker, line.text) for line in lines] == [
        ("Backend[0]", "one"),
        ("Backend[0]", ""),
        ("Backend[0]", "two"),
        ("Backend[0]", "three"),
    ]
    assert all(before - 0.001 <= line.at <= time.time() for line in lines)
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3}", lines[0].time)


def test_a_line_that_two_streams_write_has_one_time(log):
    path, out, err = log
    print("begun, ", end="", file=out, flush=True)
    print("ended", file=err)
    assert re.fullmatch(r"\S+Z begun, ended\n", path.read_text())


def test_lines_of_child_processes_have_the_time_of_the_line_before_or_of_their_reading(log):
    path, out, _ = log
    print("mine", file=out)
    with path.open("a") as child:
        child.write("of a child\n")
        child.flush()
        with closing(LogTail(path.parent)) as tail:
            mine, theirs = tail.read_lines()
            child.write("later\n")
            child.flush()
            (later,) = tail.read_lines()
    assert mine.at == theirs.at < later.at


def test_the_last_lines_of_a_log_are_read_without_times(log):
    path, out, _ = log
    print("one\ntwo", file=out)
    assert log_tail(path) == "one\ntwo"
    print("\x1b[1m50 %\x1b[0m", end="", file=out, flush=True)
    with closing(LogTail(path.parent)) as tail:
        list(tail.read())
        print("\r80 %", end="", file=out, flush=True)
        assert list(tail.read()) == []
        assert tail.latest == {"Backend.0": "80 %"}


@pytest.mark.parametrize(
    ("printed", "text"),
    [
        ("\x1b[1;31mred\x1b[0m and plain", "red and plain"),
        ("\x1b]8;;https://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b[2K\x1b[1Gagain", "again"),
        ("bell\x07, tab\tstays", "bell, tab\tstays"),
        ("[31m is text", "[31m is text"),
    ],
)
def test_escape_codes_are_removed(printed, text):
    assert without_escapes(printed) == text


@pytest.mark.parametrize(
    ("lines", "levels"),
    [
        (["hello"], [""]),
        (["INFO 11-29 18:32:27 [core.py:12] loaded"], ["info"]),
        (["(EngineCore pid=3) WARNING 11-29 18:32:27 slow"], ["warning"]),
        (["WARNING:root:slow"], ["warning"]),
        (["[2026-11-29 18:32:27] ERROR in app: no"], ["error"]),
        (["2026-11-29 18:32:27,123 - DEBUG - x"], ["debug"]),
        (["/a/b.py:3: UserWarning: old", "  f()"], ["warning", "warning"]),
        (["INFORMATION", "no ERROR here"], ["", ""]),
        (
            ["Traceback (most recent call last):", '  File "x"', "    f()", "ValueError: no", "next"],
            ["error", "error", "error", "error", ""],
        ),
        (
            [
                "Traceback (most recent call last):",
                "KeyError: 1",
                "",
                "During handling of the above exception, another exception occurred:",
                "",
                "Traceback (most recent call last):",
                "  f()",
                "ValueError: no",
                "INFO: on",
            ],
            ["error"] * 8 + ["info"],
        ),
        (["ERROR: many", "    lines", "\tof it", "other"], ["error", "error", "error", ""]),
    ],
)
def test_the_level_of_a_line_is_the_one_that_it_names(lines, levels):
    assert [line.level for line in LineReader("Backend[0]").read(lines, None)] == levels


BACKEND, OTHER = LogLine("Backend[0]", "plain"), LogLine("Backend[1]", "no weights", level="error")


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ((None,), [BACKEND, OTHER]),
        (("Backend",), [BACKEND, OTHER]),
        (("Backend[1]",), [OTHER]),
        (("Backend[*]",), [BACKEND, OTHER]),
        ((None, "info"), [BACKEND, OTHER]),
        ((None, "warning"), [OTHER]),
        ((None, "", "pla|nothing"), [BACKEND]),
        ((None, "", r"Backend\[1\]"), [OTHER]),
    ],
)
def test_a_filter_shows_lines_by_worker_level_and_text(words, shown):
    assert [line for line in (BACKEND, OTHER) if LogFilter.of(*words).shows(line)] == shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("Backend[x]",), r"'Backend\[x\]' is not a worker\n  hint: write Backend\[0\]"),
        ((None, "loud"), "'loud' is not a level"),
        ((None, "", "("), r"--grep '\(' is not a regular expression"),
    ],
)
def test_a_filter_that_means_nothing_is_an_error(words, message):
    with pytest.raises(InvalidArgument, match=message):
        LogFilter.of(*words)


def test_a_time_in_a_file_is_in_utc():
    assert stamp(0.25) == "1970-01-01T00:00:00.250Z "
