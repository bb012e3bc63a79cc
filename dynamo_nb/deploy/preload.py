"""What every worker needs, imported once in the process that they are forked from."""

import fastapi  # noqa: F401
import nats.aio.client
import nats.js.api  # noqa: F401
import uvicorn  # noqa: F401
import uvloop  # noqa: F401

import dynamo_nb.deploy.kernel
import dynamo_nb.deploy.process
import dynamo_nb.sdk  # noqa: F401
