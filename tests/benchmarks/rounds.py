"""Runs the programs of a benchmark in turns, so that what else the machine does falls on all of them alike."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

PROGRAMS = Path(__file__).parent / "programs"
PATIENCE = 180  # seconds for one program; the longest takes 20
ENDING = 20  # seconds that an interrupted program has to stop what it started
LEFT = 10  # seconds for processes that end after the program that started them
LOOK = 0.5  # seconds that others are watched for before a program starts
MARK = "DYNAMO_BENCHMARK"


@dataclass
class Measured:
    """What the rounds of one program gave: one entry a round, None where it failed. skipped: why it was not run.

    disturbed: cores that others kept busy just before each round.
    """

    figures: list[dict[str, float] | None] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    disturbed: list[float] = field(default_factory=list)
    skipped: str = ""

    def of(self, figure: str) -> list[float]:
        return [entry[figure] for entry in self.figures if entry is not None and figure in entry]


def alternate(programs: Mapping[str, Sequence[str]], rounds: int, say: Callable[[str], None]) -> dict[str, Measured]:
    """Each round runs every program once; every second one in reverse, so that none is always the first."""
    measured = {who: Measured() for who in programs}
    for number in range(rounds):
        for who in list(programs)[:: 1 if number % 2 == 0 else -1]:
            one = measured[who]
            if one.skipped:
                continue
            say(f"round {number + 1} of {rounds}: {who}")
            one.disturbed.append(busy_cores())
            try:
                told = run(programs[who])
            except ProgramError as error:
                one.figures.append(None)
                one.errors.append(str(error))
                continue
            if "skipped" in told:
                one.skipped = told["skipped"]
            else:
                one.figures.append(told)
    return measured


def busy_cores() -> float:
    """How many cores are in use now, when nothing of ours runs."""
    return psutil.cpu_percent(LOOK) / 100 * psutil.cpu_count()


class ProgramError(Exception):
    """A program failed, hung, or left processes behind."""


def run(command: Sequence[str]) -> dict[str, float]:
    """What a program told in the last line of its output. Nothing that it started lives on afterwards."""
    mark = uuid.uuid4().hex
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=PROGRAMS,
            env=environment(mark),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )
        try:
            code = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            interrupt(process)
            left = end_all(mark)
        output.seek(0)
        errors.seek(0)
        said, complaint = output.read().strip(), errors.read().strip()
    name = " ".join(command)
    if code is None:
        raise ProgramError(f"{name} was not done within {PATIENCE} s")
    if code:
        raise ProgramError(f"{name} failed: {error_in(complaint or said) or f'exit status {code}'}")
    if left:
        raise ProgramError(f"{name} left processes behind: {', '.join(left)}")
    return json.loads(said.splitlines()[-1])


def error_in(output: str) -> str:
    """The error at the end of a traceback: its last line that is not indented, and what follows."""
    lines = output.splitlines()
    starts = [number for number, line in enumerate(lines) if line and not line[0].isspace()]
    return " ".join(line.strip() for line in lines[starts[-1] :]) if starts else output


def interrupt(process: subprocess.Popen) -> None:
    """Ends a program that still runs; asked first, so that it can stop what it started."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGINT)
    try:
        process.wait(ENDING)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def end_all(mark: str) -> list[str]:
    """Kills what was started under this mark and has not ended by itself; says what that was."""
    started = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark:
                started.append(process)
        except psutil.Error:
            continue
    _, left = psutil.wait_procs(started, timeout=LEFT)
    names = []
    for process in left:
        try:
            names.append(f"{process.pid} {' '.join(process.cmdline())[:60]}")
            process.kill()
        except psutil.Error:
            continue
    return names


def environment(mark: str) -> dict[str, str]:
    """Ours, less what would keep a checkout from caching its bytecode: installed packages, the peers, have theirs."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, MARK: mark}
