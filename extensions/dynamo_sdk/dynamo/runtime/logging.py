"""`configure_dynamo_logging`, for programs without ai-dynamo-runtime. That package has its own, which comes first."""

import logging
import os


def configure_dynamo_logging(service_name: str | None = None, worker_id: int | None = None) -> None:
    """Sets the level of the root logger to the environment variable `DYN_LOG`, by default `info`.

    Workers send what is logged to the deployment's logs.

    Args:
        service_name: Accepted as in the Dynamo SDK; a deployment's logs have the service in each line.
        worker_id: Accepted in the same way.
    """
    del service_name, worker_id
    level = logging.getLevelNamesMapping().get(os.environ.get("DYN_LOG", "info").upper(), logging.INFO)
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger().setLevel(level)
