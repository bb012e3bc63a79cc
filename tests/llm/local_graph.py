"""An LLM graph in the test's own process: a frontend, a processor and a worker with a real engine."""

from contextlib import asynccontextmanager

import httpx
from starlette.applications import Starlette
from starlette.routing import Route

from dynamo_nb.llm import EchoEngine
from dynamo_nb.llm.engines.echo.options import EchoOptions
from dynamo_nb.llm.frontend import Frontend
from dynamo_nb.llm.processor import Processor
from dynamo_nb.llm.tiny import tiny_model
from dynamo_nb.llm.workers.worker import EngineWorker
from dynamo_nb.sdk import service

MODEL = "tiny"


@service
class Holder(EngineWorker):
    """A worker with a given engine."""

    def __init__(self, engine):
        self.engine, self._queue = engine, None


def connected(kind, **dependencies):
    """A service that is not initialised yet, with its dependencies."""
    one = object.__new__(kind)
    for attribute, dependency in dependencies.items():
        setattr(one, attribute, dependency)
    return one


@asynccontextmanager
async def client_of(engine, **options):
    """An HTTP client of a graph with a started engine.

    options: of the Processor.
    """
    processor = connected(Processor, worker=Holder(engine), router=None)
    processor.__init__(served_model_name=MODEL, **options)
    await processor.load()
    frontend = connected(Frontend, processor=processor)
    frontend.__init__()

    async def chat(request):
        return await frontend.chat_completions(request)

    async def completion(request):
        return await frontend.completions(request)

    routes = [
        Route("/v1/chat/completions", chat, methods=["POST"]),
        Route("/v1/completions", completion, methods=["POST"]),
    ]
    transport = httpx.ASGITransport(Starlette(routes=routes))
    async with httpx.AsyncClient(transport=transport, base_url="http://local") as client:
        yield client
    await processor.end()


@asynccontextmanager
async def echo_client(**options):
    """An HTTP client of a graph with an EchoEngine.

    options: of the engine.
    """
    engine = EchoEngine(EchoOptions(model=str(tiny_model()), **options))
    await engine.start()
    async with client_of(engine) as client:
        yield client
    await engine.stop()
