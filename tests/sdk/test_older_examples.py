"""The example programs of the Dynamo SDK's releases 0.1 to 0.3.2, retold, and really served.

Each program uses what the example of its release uses: import paths, decorators and their parameters, clients, hooks.
"""

import asyncio
import contextlib
import json
import socket
import urllib.request

import pytest

from dynamo_nb.runtime import NatsServer

pytestmark = pytest.mark.slow

BOUND = 60

MODELS = """
from pydantic import BaseModel

class Ask(BaseModel):
    text: str
"""

HELLO_BACK = """
@service({back})
class Backend:
    def __init__(self) -> None:
        self.message = ServiceConfig.get_instance().get("Backend", {{}}).get("message", "back")

    @{endpoint}()
    async def generate(self, req: Ask):
        for token in f"{{req.text}}-{{self.message}}".split():
            yield f"Backend: {{token}}"


@service({middle})
class Middle:
    backend = depends(Backend)

    def __init__(self) -> None:
        self.message = ServiceConfig.get_instance().get("Middle", {{}}).get("message", "mid")

    @{endpoint}()
    async def generate(self, req: Ask):
        request = Ask(text=f"{{req.text}}-{{self.message}}").model_dump_json()
        async for answer in self.backend.generate(request):
            yield f"Middle: {{answer}}"
"""

RESPONSE = """
    async def generate(self, request: Ask):
        async def content():
            async for answer in self.middle.generate(request.model_dump_json()):
                yield f"Frontend: {answer}"

        return StreamingResponse(content())
"""

BODY = {"text": "a b"}
HELLO_ANSWER = "Frontend: Middle: Backend: aFrontend: Middle: Backend: b-{middle}-{back}"
HELLO_WORLDS = {
    "0.1": (
        """
from dynamo.sdk import DYNAMO_IMAGE, api, depends, dynamo_endpoint, service
from dynamo.sdk.lib.config import ServiceConfig
""",
        HELLO_BACK.format(
            back='resources={"cpu": "2"}, traffic={"timeout": 30}, workers=2, image=DYNAMO_IMAGE,\n'
            '    dynamo={"enabled": True, "namespace": "inference"}',
            middle='resources={"cpu": "2"}, traffic={"timeout": 30},\n'
            '    dynamo={"enabled": True, "namespace": "inference"}, image=DYNAMO_IMAGE',
            endpoint="dynamo_endpoint",
        ),
        """
@service(resources={"cpu": "1"}, traffic={"timeout": 60}, image=DYNAMO_IMAGE)
class Frontend:
    middle = depends(Middle)

    @api
    async def generate(self, text):
        assert isinstance(text, str)
        async for answer in self.middle.generate(Ask(text=text).model_dump_json()):
            yield f"Frontend: {answer}"
""",
    ),
    "0.2": (
        """
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from dynamo.runtime.logging import configure_dynamo_logging
from dynamo.sdk import DYNAMO_IMAGE, depends, dynamo_endpoint, service
from dynamo.sdk.lib.config import ServiceConfig

app = FastAPI(title="Hello")
""",
        HELLO_BACK.format(
            back='dynamo={"enabled": True, "namespace": "inference"}, image=DYNAMO_IMAGE',
            middle='dynamo={"enabled": True, "namespace": "inference"}, image=DYNAMO_IMAGE',
            endpoint="dynamo_endpoint",
        ),
        """
@service(dynamo={"enabled": True, "namespace": "inference"}, image=DYNAMO_IMAGE, app=app)
class Frontend:
    middle = depends(Middle)

    def __init__(self) -> None:
        configure_dynamo_logging(service_name="Frontend")

    @dynamo_endpoint(is_api=True)
"""
        + RESPONSE.lstrip("\n"),
    ),
    "0.3": (
        """
from fastapi.responses import StreamingResponse
from dynamo.runtime.logging import configure_dynamo_logging
from dynamo.sdk import DYNAMO_IMAGE, depends, dynamo_endpoint as endpoint, service
from dynamo.sdk.core.protocol.interface import DynamoTransport
from dynamo.sdk.lib.config import ServiceConfig
""",
        HELLO_BACK.format(
            back='dynamo={"namespace": "inference"}, image=DYNAMO_IMAGE',
            middle='dynamo={"namespace": "inference"}, image=DYNAMO_IMAGE',
            endpoint="endpoint",
        ),
        """
@service(dynamo={"namespace": "inference"}, image=DYNAMO_IMAGE)
class Frontend:
    middle = depends(Middle)

    def __init__(self) -> None:
        configure_dynamo_logging(service_name="Frontend")

    @endpoint(transports=[DynamoTransport.HTTP])
"""
        + RESPONSE.lstrip("\n"),
    ),
    "0.3.2": (
        """
import logging
from fastapi.responses import StreamingResponse
from dynamo.runtime.logging import configure_dynamo_logging
from dynamo.sdk import DYNAMO_IMAGE, api, depends, endpoint, service
from dynamo.sdk.lib.config import ServiceConfig

logger = logging.getLogger(__name__)
""",
        HELLO_BACK.format(
            back='dynamo={"namespace": "inference"}, resource={"cpu": 1, "memory": "500Mi"}, workers=2,\n'
            "    image=DYNAMO_IMAGE",
            middle='dynamo={"namespace": "inference"}, image=DYNAMO_IMAGE',
            endpoint="endpoint",
        ),
        """
@service(dynamo={"namespace": "inference"}, image=DYNAMO_IMAGE)
class Frontend:
    \"\"\"The HTTP side.\"\"\"

    middle = depends(Middle)

    def __init__(self) -> None:
        configure_dynamo_logging(service_name="Frontend")
        config = ServiceConfig.get_instance()
        self.port = config.get("Frontend", {}).get("port", 8000)
        logger.info(f"port: {self.port}")

    @api()
"""
        + RESPONSE.lstrip("\n"),
    ),
}
HELLO_CONFIG = """
Frontend:
  message: "0"
  port: 8000
  ServiceArgs:
    workers: 1
    resources:
      cpu: "1"
Middle:
  message: "1"
  ServiceArgs:
    workers: 1
    resources:
      cpu: "1"
Backend:
  message: "2"
  ServiceArgs:
    workers: 2
    resources:
      cpu: "1"
"""


async def ask(url, body=None, path="generate"):
    def read():
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{url}/{path}", data, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=BOUND) as reply:
            return reply.read().decode()

    return await asyncio.to_thread(read)


@pytest.mark.parametrize("release", HELLO_WORLDS)
@pytest.mark.filterwarnings("ignore::FutureWarning")
async def test_hello_world(project, release):
    head, services, frontend = HELLO_WORLDS[release]
    project.write("hello_world.py", head, MODELS, services, frontend)
    async with await project.serve("hello_world:Frontend") as deployment:
        assert await ask(deployment.urls["Frontend"], BODY) == HELLO_ANSWER.format(middle="mid", back="back")


@pytest.mark.filterwarnings("ignore::FutureWarning")
async def test_hello_world_with_its_configuration_file(project):
    head, services, frontend = HELLO_WORLDS["0.3.2"]
    project.write("hello_world.py", head, MODELS, services, frontend)
    project.write("config.yaml", HELLO_CONFIG)
    assert project.config("hello_world:Frontend", "config.yaml").services["Backend"].args.workers == 2
    async with await project.serve("hello_world:Frontend", "config.yaml") as deployment:
        assert await ask(deployment.urls["Frontend"], BODY) == HELLO_ANSWER.format(middle="1", back="2")


# --- the example of several machines: each command is a deployment of its own, and all share one NATS server

TALK = {
    "components/__init__.py": "",
    "components/models.py": """
from pydantic import BaseModel

class GeneralRequest(BaseModel):
    prompt: str = "nothing said"
    request_id: str = None

class GeneralResponse(BaseModel):
    worker_output: str = "nothing made"
    request_id: str = None
""",
    "components/worker.py": """
import logging
import socket

from components.models import GeneralRequest, GeneralResponse
from dynamo.sdk import dynamo_endpoint, service

logger = logging.getLogger(__name__)

@service(
    dynamo={"enabled": True, "namespace": "dynamo-demo"},
    resources={"cpu": "10", "memory": "20Gi"},
    workers=1,
)
class DummyWorker:
    def __init__(self):
        self.hostname = socket.gethostname()

    @dynamo_endpoint()
    async def generate(self, request: GeneralRequest):
        yield GeneralResponse(
            request_id=request.request_id, worker_output=f"{request.prompt}_GeneratedBy_{self.hostname}"
        ).model_dump_json()
""",
    "components/processor.py": """
import asyncio
import socket
from typing import Protocol

from components.models import GeneralRequest, GeneralResponse
from components.worker import DummyWorker
from dynamo.sdk import async_on_start, depends, dynamo_context, dynamo_endpoint, service
from dynamo.sdk.lib.config import ServiceConfig

@service(dynamo={"enabled": True, "namespace": "dynamo-demo"})
class Processor(Protocol):
    worker = depends(DummyWorker)

    def __init__(self):
        config = ServiceConfig.get_instance().get("Processor", {})
        self.hostname = socket.gethostname()
        self.least = config.get("min_worker", 1)
        self.router = config.get("router", "round-robin")

    @async_on_start
    async def async_init(self):
        namespace, component = DummyWorker.dynamo_address()
        endpoint = dynamo_context["runtime"].namespace(namespace).component(component).endpoint("generate")
        self.workers = await endpoint.client()
        while len(self.workers.endpoint_ids()) < self.least:
            print(f"{len(self.workers.endpoint_ids())} of {self.least}")
            await asyncio.sleep(0.05)

    async def _answers(self, request):
        request.prompt = f"{request.prompt}_ProcessedBy_{self.hostname}"
        if self.router == "random":
            found = await self.workers.random(request.model_dump_json())
        elif self.router == "round-robin":
            found = await self.workers.round_robin(request.model_dump_json())
        async for one in found:
            yield GeneralResponse.model_validate_json(one.data())

    @dynamo_endpoint()
    async def generate(self, request: GeneralRequest):
        async for answer in self._answers(request):
            yield answer.model_dump_json()
""",
    "components/frontend.py": """
from components.models import GeneralRequest
from components.processor import Processor
from dynamo.sdk import api, depends, service
from dynamo.sdk.lib.image import DYNAMO_IMAGE

@service(image=DYNAMO_IMAGE)
class Frontend:
    processor = depends(Processor)

    @api
    async def generate(self, prompt, request_id):
        request = GeneralRequest(prompt=prompt, request_id=request_id).model_dump_json()
        async for answer in self.processor.generate(request):
            yield f"Response: {answer}\\n"
""",
    "components/graph.py": """
from components.frontend import Frontend
from components.processor import Processor

Frontend.link(Processor)
""",
    "one.yaml": "Processor:\n  min_worker: 1\n  router: random\n",
    "several.yaml": "Processor:\n  min_worker: 3\n  router: round-robin\n",
}


@pytest.fixture
async def nats_url(tmp_path):
    server = NatsServer()
    (tmp_path / "nats").mkdir()
    await server.start(tmp_path / "nats")
    yield server.url
    await server.stop()


def write(project, files):
    for name, text in files.items():
        (project.folder / name).parent.mkdir(exist_ok=True)
        project.write(name, text)


@pytest.mark.parametrize(("config", "others"), [("one.yaml", 0), ("several.yaml", 2)])
async def test_several_machines(project, nats_url, config, others):
    write(project, TALK)
    host = socket.gethostname()
    async with contextlib.AsyncExitStack() as stack:
        machine = {"nats": nats_url, "only": "DummyWorker"}  # dynamo serve … --service-name DummyWorker
        started = [project.serve("components.worker:DummyWorker", **machine) for _ in range(others)]
        for one in started:
            await stack.enter_async_context(await one)
        front = await stack.enter_async_context(await project.serve("components.graph:Frontend", config, nats=nats_url))
        answer = await ask(front.urls["Frontend"], {"prompt": "say", "request_id": "7"})
        said = {"worker_output": f"say_ProcessedBy_{host}_GeneratedBy_{host}", "request_id": "7"}
        assert json.loads(answer.removeprefix("Response: ")) == said


# --- the skeleton of disaggregated serving: a router, a queue of prefill requests in JetStream, direct calls

SKELETON = {
    "components/__init__.py": "",
    "components/shared.py": """
import asyncio
from contextlib import asynccontextmanager
from typing import ClassVar, Optional

import msgspec
from nats.aio.client import Client as NATS
from nats.js.errors import NotFoundError
from pydantic import BaseModel

from dynamo._core import Client
from dynamo.runtime import DistributedRuntime

class GeneralRequest(BaseModel):
    prompt: str = "nothing said"
    request_id: str = None

class GeneralResponse(BaseModel):
    worker_output: str = "nothing made"
    request_id: str = None

class RemotePrefillRequest(msgspec.Struct, omit_defaults=True, dict=True):
    engine_id: str = "an engine"
    request_id: str = None

class PrefillQueue:
    _instance: ClassVar[Optional["PrefillQueue"]] = None
    _lock: ClassVar[asyncio.Lock] = asyncio.Lock()

    def __init__(self, stream_name, nats_server, timeout=1):
        self.url, self.name, self.timeout, self.connection = nats_server, stream_name, timeout, None

    @classmethod
    @asynccontextmanager
    async def get_instance(cls, *, stream_name, nats_server):
        async with cls._lock:
            if cls._instance is None:
                cls._instance = cls(stream_name, nats_server)
                await cls._instance.connect()
            yield cls._instance

    async def connect(self):
        self.connection = NATS()
        await self.connection.connect(self.url)
        self.stream = self.connection.jetstream()
        try:
            await self.stream.stream_info(self.name)
        except NotFoundError:
            await self.stream.add_stream(name=self.name, subjects=[f"{self.name}.*"])
        self.subscription = await self.stream.pull_subscribe(f"{self.name}.queue", durable="worker-group")

    async def put(self, request: RemotePrefillRequest):
        await self.stream.publish(f"{self.name}.queue", msgspec.json.encode(request))

    async def take(self):
        try:
            message, = await self.subscription.fetch(1, timeout=self.timeout)
        except asyncio.TimeoutError:
            return None
        await message.ack()
        return msgspec.json.decode(message.data, type=RemotePrefillRequest)

async def check_required_workers(workers_client: Client, least: int, tag=""):
    while len(found := workers_client.endpoint_ids()) < least:
        print(f"{tag}: {len(found)} of {least}")
        await asyncio.sleep(0.05)
    return found
""",
    "components/worker.py": """
import os
import socket

from components.shared import GeneralRequest, GeneralResponse, PrefillQueue, RemotePrefillRequest
from dynamo.sdk import async_on_start, dynamo_context, dynamo_endpoint, service

@service(
    dynamo={"enabled": True, "namespace": "dynamo-demo"},
    resources={"cpu": "10", "memory": "20Gi"},
    workers=1,
)
class DummyWorker:
    def __init__(self):
        self.hostname = socket.gethostname()
        self.server = os.getenv("NATS_SERVER", "nats://localhost:4222")

    @async_on_start
    async def async_init(self):
        self.id = dynamo_context["endpoints"][0].lease_id()

    @dynamo_endpoint()
    async def begenerate(self, request: GeneralRequest):
        async with PrefillQueue.get_instance(nats_server=self.server, stream_name="DummyLLM") as queue:
            await queue.put(RemotePrefillRequest(engine_id=self.hostname, request_id=request.request_id))
        yield GeneralResponse(
            request_id=request.request_id, worker_output=f"{request.prompt}_GeneratedBy_{self.id}"
        ).model_dump_json()
""",
    "components/prefill_worker.py": """
import asyncio
import os
import sys

from components.shared import PrefillQueue, RemotePrefillRequest
from dynamo.sdk import async_on_start, dynamo_endpoint, service

@service(
    dynamo={"enabled": True, "namespace": "dynamo-demo"},
    resources={"cpu": "10", "memory": "20Gi"},
    workers=1,
)
class PrefillWorker:
    def __init__(self):
        self.done = []

    @async_on_start
    async def async_init(self):
        def ended(task):
            try:
                task.result()
            except Exception as error:
                print(f"the handler of the queue failed: {error!r}")
                sys.exit(1)

        self.task = asyncio.create_task(self.handle_queue())
        self.task.add_done_callback(ended)

    async def handle_queue(self):
        server = os.getenv("NATS_SERVER", "nats://localhost:4222")
        async with PrefillQueue.get_instance(nats_server=server, stream_name="DummyLLM") as queue:
            while True:
                if (request := await queue.take()) is not None:
                    async for _ in self.pfgenerate(request):
                        pass

    async def pfgenerate(self, request: RemotePrefillRequest):
        self.done.append(request.request_id)
        yield "computed"

    @dynamo_endpoint()
    async def mock(self, req):
        while req not in self.done:
            await asyncio.sleep(0.05)
        yield f"mock_response: {req}"
""",
    "components/kv_router.py": """
from difflib import SequenceMatcher
from typing import AsyncIterator

from components.shared import check_required_workers
from components.worker import DummyWorker
from dynamo.sdk import async_on_start, depends, dynamo_context, dynamo_endpoint, service

WorkerId = str

@service(
    dynamo={"enabled": True, "namespace": "dynamo-demo"},
    resources={"cpu": "10", "memory": "20Gi"},
    workers=1,
)
class Router:
    kv_cache = {}
    threshold = 0.6
    worker = depends(DummyWorker)

    def __init__(self):
        self.min_workers = 2

    @async_on_start
    async def async_init(self):
        self.runtime = dynamo_context["runtime"]
        component = self.runtime.namespace("dynamo-demo").component("DummyWorker")
        self.workers_client = await component.endpoint("begenerate").client()
        await check_required_workers(self.workers_client, self.min_workers, "router")

    @dynamo_endpoint()
    async def check_hit_rate(self, request_prompt: str) -> AsyncIterator[WorkerId]:
        rates = {
            key: SequenceMatcher(None, known, request_prompt).ratio() for key, known in self.kv_cache.items()
        }
        best = max(rates, key=rates.get, default=None)
        ids = self.workers_client.endpoint_ids()
        if best is not None and (rates[best] > self.threshold or len(rates) == len(ids)):
            yield f"{best}_{rates[best]}"
        else:
            chosen = next(one for one in ids if one not in self.kv_cache)
            self.kv_cache[chosen] = request_prompt
            yield f"{chosen}_-1.00"
""",
    "components/processor.py": """
from typing import Protocol

from components.kv_router import Router
from components.shared import GeneralRequest, GeneralResponse, check_required_workers
from components.worker import DummyWorker
from dynamo.sdk import async_on_start, depends, dynamo_context, dynamo_endpoint, service

@service(dynamo={"enabled": True, "namespace": "dynamo-demo"}, workers=1)
class Processor(Protocol):
    router = depends(Router)

    def __init__(self):
        self.min_workers = 2

    @async_on_start
    async def async_init(self):
        namespace, component = DummyWorker.dynamo_address()
        endpoint = dynamo_context["runtime"].namespace(namespace).component(component).endpoint("begenerate")
        self.worker_client = await endpoint.client()
        await check_required_workers(self.worker_client, self.min_workers, tag="processor")

    async def _generate(self, request: GeneralRequest):
        async for answer in self.router.check_hit_rate(request.prompt):
            worker_id, hit_rate = answer.split("_")
            self.hit_rate = float(hit_rate)
            break
        if worker_id == "":
            found = await self.worker_client.random(request.model_dump_json())
        else:
            found = await self.worker_client.direct(request.model_dump_json(), int(worker_id))
        async for one in found:
            yield GeneralResponse.model_validate_json(one.data())

    @dynamo_endpoint()
    async def processor_generate(self, raw_request: GeneralRequest):
        async for answer in self._generate(raw_request):
            yield answer.model_dump_json()
""",
    "components/frontend.py": """
import signal
import sys
from typing import Dict

from components.processor import Processor
from components.shared import GeneralRequest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from dynamo.sdk import DYNAMO_IMAGE, api, depends, service

app = FastAPI(title="Skeleton")

@service(dynamo={"namespace": "dynamo-demo"}, image=DYNAMO_IMAGE, app=app)
class Frontend:
    processor = depends(Processor)

    def __init__(self):
        signal.signal(signal.SIGTERM, self.handle_exit)
        signal.signal(signal.SIGINT, self.handle_exit)

    def handle_exit(self, signum, frame):
        sys.exit(0)

    @api(http_method="GET")
    async def ping(self) -> Dict[str, str]:
        return {"status": "healthy"}

    @api()
    async def generate(self, prompt, request_id):
        async def content():
            request = GeneralRequest(prompt=prompt, request_id=request_id).model_dump_json()
            async for answer in self.processor.processor_generate(request):
                yield f"Response: {answer}\\n"

        return StreamingResponse(content())
""",
    "components/graph.py": """
from components.frontend import Frontend
from components.kv_router import Router
from components.processor import Processor
from components.worker import DummyWorker

Frontend.link(Processor).link(Router).link(DummyWorker)
""",
}


async def test_the_skeleton_of_disaggregated_serving(project, nats_url, monkeypatch):
    """Two decode workers, one of them served apart; the prefill worker is served apart too."""
    write(project, SKELETON)
    monkeypatch.setenv("NATS_SERVER", nats_url)
    other = project.serve("components.worker:DummyWorker", only="DummyWorker")
    front = project.serve("components.graph:Frontend")
    prefill = project.serve("components.prefill_worker:PrefillWorker")
    async with await other, await front as deployment, await prefill as third:
        url = deployment.urls["Frontend"]
        assert json.loads(await ask(url, path="ping")) == {"status": "healthy"}
        prompts = ["the quick brown fox", "0123456789", "the quick brown dog"]
        workers = []
        for number, prompt in enumerate(prompts):
            body = {"prompt": prompt, "request_id": f"r{number}"}
            answer = json.loads((await ask(url, body)).removeprefix("Response: "))
            assert answer["request_id"] == f"r{number}"
            said, _, worker = answer["worker_output"].partition("_GeneratedBy_")
            assert said == prompt
            workers.append(worker)
            assert await third["PrefillWorker"].mock(f"r{number}") == [f"mock_response: r{number}"]
        assert workers[0] == workers[2] != workers[1]
