"""What programs write to their standard streams arrives in the log of their worker, in their order, or in their cell."""

import pytest
from deployed_program import until, workers
from jupyter_client import BlockingKernelClient

from dynamo_nb.control.logs import LogTail

pytestmark = pytest.mark.slow

BOUND = 30
PROGRAM = """
import contextlib, csv, io, json, logging, os, shutil, subprocess, sys

from dynamo_nb import dynamo_endpoint, service


@service
class Backend:
    @dynamo_endpoint()
    async def do(self, code: str) -> str:
        exec(code, globals())
        return "done"
"""
WAYS = {
    "bytes": r"sys.stdout.buffer.write(b'one\ntwo\n')",
    "bytes to stderr": r"sys.stderr.buffer.write(b'one\ntwo\n')",
    "bytes after text": r"sys.stdout.write('one'); sys.stdout.buffer.write(b'\n'); print('two')",
    "text after bytes": r"sys.stdout.buffer.write(b'one\ntw'); sys.stdout.buffer.flush(); print('o')",
    "a bytearray and a memoryview": r"[sys.stdout.buffer.write(x) for x in (bytearray(b'one\n'), memoryview(b'two\n'))]",
    "several lines": r"sys.stdout.buffer.writelines([b'one\n', b'two\n'])",
    "raw bytes": r"print('one'); sys.stdout.buffer.raw.write(b'two\n')",
    "a copied file": r"shutil.copyfileobj(io.BytesIO(b'one\ntwo\n'), sys.stdout.buffer)",
    "a wrapper that ends": r"io.TextIOWrapper(sys.stdout.buffer, encoding='utf-8').write('one\n'); print('two')",
    "a closed stream": r"print('one'); sys.stdout.close(); print('two')",
    "a wrapper around stderr": r"print('one'); io.TextIOWrapper(sys.stderr.buffer).write('two\n')",
    "a writer of CSV": (
        "w = io.TextIOWrapper(sys.stdout.buffer, newline=''); csv.writer(w).writerows([['one'], ['two']]); w.flush()"
    ),
    "a changed encoding": r"sys.stdout.reconfigure(encoding='utf-8', line_buffering=True); print('one\ntwo')",
    "a child with the same output": (
        "print('one', flush=True); subprocess.run(['echo', 'two'], stdout=sys.stdout, check=True)"
    ),
    "another handler of logs": (
        "l = logging.Logger('x'); l.addHandler(logging.StreamHandler(sys.stdout)); l.error('one\\ntwo')"
    ),
    "bytes that are no text": r"sys.stdout.buffer.write(b'one\n\xff\xfe two\n')",
}


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "kernel"])
def deployment(request, module_project):
    module_project.write("program.py", PROGRAM)
    with module_project.serve("program:Backend", kernels=request.param).result() as deployment:
        yield deployment


@pytest.mark.parametrize("way", WAYS)
def test_what_a_service_writes_is_in_its_log(deployment, way):
    mark = f"-- {way} --"
    deployment.Backend.do(f"print({mark!r})").result(timeout=BOUND)

    assert deployment.Backend.do(WAYS[way]).result(timeout=BOUND) == "done"

    deployment.Backend.do("print('after')").result(timeout=BOUND)
    lines = deployment.logs("Backend").partition(mark)[2].splitlines()[1:]
    assert [line.removeprefix("Backend[0]: ").lstrip("\ufffd ").rstrip("\r") for line in lines] == [
        "one",
        "two",
        "after",
    ]


CELLS = {
    "bytes": (r"sys.stdout.buffer.write(b'one\n'); None", "one\n"),
    "text and bytes": (r"print('a', end=''); sys.stdout.buffer.write(b'b'); print('c')", "abc\n"),
    "a letter in two parts": (r"[sys.stdout.buffer.write(x) for x in (b'\xc3', b'\xa9\n')]; None", "é\n"),
    "a wrapper that ends": (r"io.TextIOWrapper(sys.stdout.buffer).write('one\n'); print('two')", "one\ntwo\n"),
}


@pytest.mark.parametrize("way", CELLS)
def test_what_a_cell_writes_as_bytes_is_in_the_cell(deployment, way):
    code, expected = CELLS[way]
    file = workers(deployment)[0].connection_file
    if not file:
        pytest.skip("a plain worker runs no cells")
    client = BlockingKernelClient(connection_file=file)
    client.load_connection_file()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=BOUND)
        shown = []
        client.execute_interactive(f"import io, sys\n{code}", timeout=BOUND, output_hook=shown.append)
    finally:
        client.stop_channels()

    assert "".join(m["content"].get("text", "") for m in shown if m["msg_type"] == "stream") == expected


def delete(log):
    log.unlink()


def move(log):
    log.rename(log.with_suffix(".moved"))


def replace(log):
    log.unlink()
    log.write_text("by somebody else\n")


@pytest.mark.parametrize("change", [delete, move, replace])
def test_a_log_that_was_removed_is_made_again(deployment, change):
    log, followed = deployment.folder / "logs" / "Backend.0.log", []
    tail = LogTail(log.parent)
    list(tail.read())
    change(log)

    deployment.Backend.do("print('one'); print('two', file=sys.stderr); os.system('echo three')").result(timeout=BOUND)

    assert log.read_text().splitlines()[-1].endswith("three")
    assert deployment.logs("Backend").splitlines()[-3:] == [f"Backend[0]: {word}" for word in ("one", "two", "three")]
    until(lambda: followed.extend(tail.read()) or "Backend[0]: three" in followed)
    assert [line for line in followed if "somebody" not in line][-3:] == [
        f"Backend[0]: {word}" for word in ("one", "two", "three")
    ]
    assert log.stat().st_mode & 0o077 == 0 or change is replace
    tail.close()
