import pytest

from dynamo_nb.control.log_lines import without_stamp


class Log:
    """An open log of a worker, read without the times of its lines."""

    def __init__(self, path):
        self._file = path.open()

    def read(self):
        return "".join(map(without_stamp, self._file))

    def close(self):
        self._file.close()


@pytest.fixture
def worker_log(dynamo_home):
    """Opens the log of a worker, to be read also after the deployment and its folder are gone."""
    opened = []

    def open_log(worker):
        opened.append(Log(next(dynamo_home.glob(f"*/logs/{worker}.log"))))
        return opened[-1]

    yield open_log
    for log in opened:
        log.close()
