"""Where a program runs: a folder and a DYNAMO_HOME of its own, and children that end with it."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

LOOPBACK = {"DYN_TCP_RPC_HOST": "127.0.0.1", "DYN_TCP_RESPONSE_STREAM_HOST": "127.0.0.1"}
MEGABYTE = 1e6


def tell(figures):
    """The one line that a program gives to whoever runs it."""
    print("\n" + json.dumps(figures), flush=True)


def skip(reason):
    """Says that this cannot be measured here, and ends the program."""
    tell({"skipped": reason})
    sys.exit(0)


@contextmanager
def short_folder():
    """A folder with a name short enough for the paths of sockets."""
    folder = tempfile.mkdtemp(prefix="d", dir="/tmp")
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def own_home():
    """A DYNAMO_HOME for this program alone."""
    with short_folder() as folder:
        os.environ["DYNAMO_HOME"] = str(folder)
        yield folder


@contextmanager
def child(*command, **options):
    """A Python program beside this one, killed when the block ends."""
    process = subprocess.Popen([sys.executable, *command], **options)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def proportional_memory(pid):
    """Proportional set size of a process, in MB: pages that several share count in parts."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024 / MEGABYTE
    raise LookupError(pid)
