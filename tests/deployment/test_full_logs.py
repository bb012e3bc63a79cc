"""A log that cannot be written fails no call, and a log is made smaller where there is no space."""

import os
import resource
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from deployed_program import workers

from dynamo_nb.control import log_writer
from dynamo_nb.control.log_writer import log_stream
from dynamo_nb.control.logs import LogTail, older_part
from dynamo_nb.supervisor import log_rotation
from dynamo_nb.supervisor.log_rotation import KEPT_BYTES, rotate

SMALL = 4 * 2**20
PROGRAM = """
import logging
import os
import subprocess
import sys
import warnings

from dynamo_nb import async_on_start, dynamo_endpoint, service


@service
class Backend:
    @dynamo_endpoint()
    async def speak(self, how: str, text: str) -> str:
        match how:
            case "print":
                print(text)
            case "print to stderr":
                print(text, file=sys.stderr)
            case "print and flush":
                print(text, flush=True)
            case "write without a line break":
                sys.stdout.write(text)
                sys.stdout.flush()
            case "write bytes":
                stream = sys.__stdout__.buffer
                stream.write(text.encode())
                stream.flush()
            case "original stream":
                print(text, file=sys.__stdout__, flush=True)
            case "log":
                logging.getLogger().error(text)
            case "warn":
                warnings.warn(text, stacklevel=1)
            case "child":
                subprocess.run(["sh", "-c", "echo from a child"], check=False)
            case "surrogate":
                print("\\ud800" + text)
        return "answer"
"""
WAYS = [
    "print",
    "print to stderr",
    "print and flush",
    "write without a line break",
    "write bytes",
    "original stream",
    "log",
    "warn",
    "child",
    "surrogate",
]


@pytest.fixture
def small_disk():
    """A folder on a file system of 4 MiB, with a path that is short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="d", dir="/tmp"))
    command = ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
    folder.rmdir()


def fill(folder):
    """Takes all the space of a file system. Returns the file."""
    path = folder / "filling"
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return path


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "kernel"])
def served(request, module_project):
    module_project.write("program.py", PROGRAM)
    with module_project.serve("program:Backend", kernels=request.param).result() as deployment:
        yield deployment


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_call_that_prints_succeeds_while_its_log_cannot_be_written(served, way):
    (worker,) = workers(served).values()
    before = resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    try:
        assert served.Backend.speak(way, "lost " * 2000).result(timeout=30) == "answer"
    finally:
        resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, before)

    assert served.Backend.speak("print", "afterwards").result(timeout=30) == "answer"

    text = (served.folder / "logs" / "Backend.0.log").read_text()
    assert text.endswith("afterwards\n")
    assert ("bytes of output are missing here" in text) or way in {"child", "log"}
    assert workers(served)[worker.index].pid == worker.pid


@pytest.mark.slow
def test_a_deployment_works_on_a_full_disk_and_writes_its_logs_when_there_is_space(project, small_disk, monkeypatch):
    project.write("program.py", PROGRAM)
    monkeypatch.setenv("DYNAMO_HOME", str(small_disk))
    small_disk.chmod(0o700)
    with project.serve("program:Backend").result() as deployment:
        log = deployment.folder / "logs" / "Backend.0.log"
        filling = fill(small_disk)
        for _ in range(3):
            assert deployment.Backend.speak("print", "x" * 5000).result(timeout=30) == "answer"
        filling.unlink()
        deployment.Backend.speak("print", "afterwards").result(timeout=30)
        assert "bytes of output are missing here" in log.read_text()
        assert log.read_text().endswith("afterwards\n")


def lines_of(count):
    return "".join(f"{number:>99}\n" for number in range(count))


ROTATED = {"an older part": True, "no older part": False}


@pytest.mark.parametrize("name", ROTATED)
def test_a_log_on_a_full_disk_becomes_smaller_and_its_end_is_kept(small_disk, capsys, name):
    log = small_disk / "Backend.0.log"
    text = lines_of(10_000)
    if ROTATED[name]:
        older_part(log).write_text(text)
    log.write_text(text)
    with closing(LogTail(small_disk)) as tail:
        list(tail.read())
        fill(small_disk)

        rotate(log)

        assert log.read_text() == ""
        kept = older_part(log).read_text()
        assert text.endswith(kept)
        assert KEPT_BYTES - 200 < len(kept) <= KEPT_BYTES
        assert "Backend.0.log was shortened" in capsys.readouterr().out
        assert list(tail.read()) == []
        with log.open("a") as file:
            file.write("afterwards\n")
        assert list(tail.read()) == ["Backend[0]: afterwards"]
    assert not log.with_name("Backend.0.log.new").exists()


@pytest.mark.parametrize("read", [1, 500, 6_000, 10_000])
def test_a_log_that_has_grown_too_fast_is_cut(tmp_path, monkeypatch, read):
    """read: lines that a reader has read before."""
    monkeypatch.setattr(log_rotation, "MOST_BYTES", 2**18)
    log = tmp_path / "Backend.0.log"
    text = lines_of(10_000)
    log.write_text(text[: 100 * read])
    with closing(LogTail(tmp_path)) as tail:
        list(tail.read())
        log.write_text(text)

        rotate(log)

        assert log.read_text() == ""
        kept = older_part(log)
        assert kept.stat().st_blocks * 512 < 2**18 + 2**13
        assert text.endswith(kept.read_text().lstrip("\0"))
        lines = [line.removeprefix("Backend[0]: ") for line in tail.read()]
    assert (
        "".join(f"{line}\n" for line in lines[1:]) == text[-100 * (len(lines) - 1) :] if len(lines) > 1 else not lines
    )
    assert len(lines) == min(10_000 - read, 2**18 // 100 + 1)


def test_a_rotation_does_not_take_the_last_space(small_disk):
    log = small_disk / "Backend.0.log"
    log.write_text(lines_of(25_000))

    rotate(log)

    assert older_part(log).stat().st_size <= KEPT_BYTES


@pytest.fixture
def log(tmp_path):
    """A log and a stream that appends to it."""
    path = tmp_path / "log"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    stream = log_stream(descriptor)
    yield path, stream
    stream.close()
    os.close(descriptor)


@pytest.mark.parametrize("size", [1, 100, 9_000, 200_000])
def test_a_burst_of_output_does_not_grow_a_log_beyond_its_bound(log, monkeypatch, size):
    monkeypatch.setattr(log_writer, "MOST_BYTES", 50_000)
    path, stream = log
    for _ in range(1_000_000 // size if size > 1 else 60_000):
        print("x" * size, file=stream)

    bound = path.stat().st_size
    assert bound < 50_000 + max(size, 2**17) + 1
    os.truncate(path, 0)
    print("afterwards", file=stream)

    assert path.read_text().endswith("bytes of output are missing here]\nafterwards\n")


LOGS = {"a folder": "", "a missing folder": "none/log", "a device without space": "/dev/full"}


@pytest.mark.parametrize("name", LOGS)
def test_a_process_whose_log_cannot_be_opened_or_written_goes_on(tmp_path, name):
    code = (
        "import sys; from pathlib import Path; from dynamo_nb.control.log_writer import write_to\n"
        "write_to(Path(sys.argv[1])); print('x', flush=True); sys.stderr.write('y' * 10**6)\n"
        "sys.stdout.flush(); sys.exit(7)"
    )
    found = subprocess.run([sys.executable, "-c", code, str(tmp_path / LOGS[name])], capture_output=True)
    assert (found.returncode, found.stdout, found.stderr) == (7, b"", b"")
