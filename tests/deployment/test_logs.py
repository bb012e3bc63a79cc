"""The logs of workers: rotated when they are large, and read as one file."""

import os
from contextlib import closing

import pytest
from deployed_program import until

from dynamo_nb.control.logs import LogTail, older_part
from dynamo_nb.supervisor.log_rotation import MAX_SIZE, rotate


@pytest.fixture
def log(tmp_path):
    return tmp_path / "Backend.0.log"


@pytest.fixture
def write(log):
    """Appends to the log as a worker does, which keeps it open."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    yield lambda text: os.write(descriptor, text.encode())
    os.close(descriptor)


@pytest.fixture
def tail(tmp_path):
    tails = []

    def follow(lines=None):
        tails.append(LogTail(tmp_path, lines=lines))
        return lambda: [line.removeprefix("Backend[0]: ") for line in tails[-1].read()]

    yield follow
    for tail in tails:
        tail.close()


def test_a_rotated_log_is_empty_and_its_text_is_in_the_older_part(log, write):
    write("one\n")
    rotate(log)
    write("two\n")

    assert (older_part(log).read_text(), log.read_text()) == ("one\n", "two\n")

    rotate(log)
    assert (older_part(log).read_text(), log.read_text()) == ("two\n", "")
    assert sorted(path.name for path in log.parent.iterdir()) == ["Backend.0.log", "Backend.0.log.1"]


def test_a_log_is_followed_across_its_rotation_without_lost_or_repeated_lines(log, write, tail):
    write("one\ntw")
    read = tail()
    assert read() == ["one"]

    write("o\nthree\nfo")
    rotate(log)
    write("ur\nfi")

    assert read() == ["two", "three", "four"]
    write("ve\n")
    assert read() == ["five"]
    rotate(log)
    assert read() == []
    write("six\n")
    assert read() == ["six"]


@pytest.mark.parametrize("lines", [0, 1, 2, 3, 5])
def test_the_last_lines_may_be_in_the_older_part(log, write, tail, lines):
    write("one\ntwo\nthr")
    rotate(log)
    write("ee\nfour\nfi")

    read = tail(lines)

    assert read() == ["one", "two", "three", "four"][4 - min(lines, 4) :]
    write("ve\n")
    assert read() == ["five"]


def test_the_last_lines_of_a_long_log_are_read(write, tail):
    numbers = [f"{number:>100}" for number in range(5000)]
    write("\n".join(numbers) + "\n")

    assert tail(1500)() == numbers[-1500:]


def test_the_supervisor_rotates_the_log_of_a_worker_that_prints_much(deployment):
    deployment.scale(Backend=1).result()
    log = deployment.folder / "logs" / "Backend.0.log"
    much = "x" * 2**20
    with closing(LogTail(log.parent, "Backend")) as tail:
        list(tail.read())
        for _ in range(MAX_SIZE // len(much) + 1):
            deployment.Backend.speak(much).result()
        until(lambda: older_part(log).exists() and log.stat().st_size < MAX_SIZE)
        deployment.Backend.speak("afterwards").result()

        shown = [line for line in tail.read() if line.startswith("Backend[0]: ")]
    assert sum(much in line for line in shown) == MAX_SIZE // len(much) + 1
    assert shown[-1] == "Backend[0]: afterwards"
    assert "Backend[0]: afterwards" in deployment.logs("Backend", lines=1).splitlines()
    deployment.scale(Backend=2).result()
