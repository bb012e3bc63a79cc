"""The limit for tensors: blocking sockets, `sendall` at one end, `recv_into` at the other, nothing else.

Each tensor arrives in memory of its own, as a program that keeps it needs; a received one is acknowledged by a byte.
Larger socket buffers were tried, and made it no faster.
Usage: raw_tensor.py
"""

import socket
import statistics
import sys
import time

import numpy as np
from arrays import BYTES, ROUNDS, WARM_UP, make
from place import child, short_folder, tell


def receive(connection):
    tensor = np.empty(BYTES // 4, dtype=np.float32)
    view, at = memoryview(tensor).cast("B"), 0
    while at < BYTES:
        at += connection.recv_into(view[at:])
    return tensor


def serve(path):
    """`t` takes a tensor, `g` gives one."""
    tensor = make("numpy")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        while verb := connection.recv(1):
            if verb == b"t":
                received = receive(connection)
                connection.sendall(b"." if received[-1] == 1 else b"!")
            else:
                connection.sendall(memoryview(tensor).cast("B"))


def run(folder):
    path = str(folder / "s")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        listening.settimeout(20)
        with child(__file__, path):
            connection, _ = listening.accept()
            with connection:
                return {"take": rate(lambda: take(connection)), "give": rate(lambda: give(connection))}


def rate(work):
    """Bytes in a second, by the median transfer."""
    times = []
    for _ in range(WARM_UP + ROUNDS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return BYTES / statistics.median(times[WARM_UP:])


TENSOR = make("numpy")


def take(connection):
    connection.sendall(b"t")
    connection.sendall(memoryview(TENSOR).cast("B"))
    assert connection.recv(1) == b"."


def give(connection):
    connection.sendall(b"g")
    assert receive(connection)[-1] == 1


if __name__ == "__main__":
    if len(sys.argv) > 1:
        serve(sys.argv[1])
    else:
        with short_folder() as folder:
            tell(run(folder))
