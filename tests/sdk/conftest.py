import pytest


@pytest.fixture
def worker_log(dynamo_home):
    """Opens the log of a worker, to be read also after the deployment and its folder are gone."""
    opened = []

    def open_log(worker):
        opened.append(next(dynamo_home.glob(f"*/logs/{worker}.log")).open())
        return opened[-1]

    yield open_log
    for log in opened:
        log.close()
