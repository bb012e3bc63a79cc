"""The promises of the SDK, across processes."""

import inspect

import pytest

from dynamo_nb.errors import (
    DeadlineExceeded,
    DynamoError,
    EndpointError,
    InvalidArgument,
    NoSuchEndpoint,
    NoSuchService,
    StartError,
)
from dynamo_nb.sdk.portal import portal

pytestmark = pytest.mark.slow

GRAPH = """
import asyncio
import os
from collections.abc import AsyncIterator

from pydantic import BaseModel, Field, HttpUrl, PrivateAttr

from dynamo_nb import AbstractService, abstract_endpoint, async_on_shutdown, async_on_start, depends, dynamo_context
from dynamo_nb import dynamo_api, dynamo_endpoint, service


class Message(BaseModel):
    text: str
    count: int = 1


class Ask(BaseModel):
    max_tokens: int = Field(16, alias="maxTokens")
    site: HttpUrl | None = None
    _seen: set = PrivateAttr(default_factory=set)


@service(dynamo={"namespace": "n"}, workers=2)
class Backend:
    def __init__(self, suffix="!"):
        self.suffix = suffix

    @dynamo_endpoint()
    async def model(self, message: Message) -> Message:
        '''Returns the message, louder.'''
        return Message(text=message.text + self.suffix, count=message.count)

    @dynamo_endpoint()
    async def aliased(self, ask: Ask) -> Ask:
        ask._seen.add(ask.max_tokens)
        return ask

    @dynamo_endpoint()
    async def aliases(self, asks: list[Ask]) -> AsyncIterator[Ask]:
        for ask in asks:
            yield ask

    @dynamo_endpoint(name="words")
    async def split(self, text: str):
        for word in text.split():
            yield word + self.suffix

    @dynamo_endpoint()
    async def pid(self) -> int:
        return os.getpid()

    @dynamo_api()
    async def page(self) -> str:
        return "for browsers"

    def plain(self):
        return self.suffix

    @dynamo_endpoint()
    async def slow(self):
        yield 1
        await asyncio.Event().wait()

    @dynamo_endpoint()
    async def fails(self, fine: int):
        for number in range(fine):
            yield number
        raise KeyError("mine")

    @dynamo_endpoint()
    async def context(self) -> dict:
        known = {key: dynamo_context[key] for key in ("namespace", "worker_id", "instance_id", "endpoints")}
        return known | {"runtime": type(dynamo_context["runtime"]).__name__}

    @dynamo_endpoint()
    async def missing_context(self):
        return dynamo_context["nothing"]


class Scorer(AbstractService):
    @abstract_endpoint
    async def score(self, text: str) -> float: ...


@service(dynamo={"name": "logs"})
class Length(Scorer):
    @dynamo_endpoint()
    async def score(self, text: str) -> float:
        return len(text)


@service(dynamo={"enabled": False})
class Local:
    def __init__(self, prefix="<"):
        self.prefix = prefix

    @async_on_start
    async def begin(self):
        self.started_in = os.getpid()

    def plain(self, text):
        return self.prefix + text

    @dynamo_endpoint()
    async def generate(self, text: str):
        for letter in text:
            yield self.prefix + letter


@service
class Frontend:
    backend = depends(Backend)
    scorer = depends(Scorer)
    local = depends(Local)
    unused = depends("Unused")

    def __init__(self):
        self.at_first = self.unused is None, self.local.plain("a")

    @dynamo_endpoint()
    async def ask(self, text: str) -> list:
        answer = await self.backend.model({"text": text})
        words = await self.backend.words(text)
        again = [word async for word in self.backend.split(text)]
        one = [item async for item in self.backend.model('{"text": "json"}')]
        return [type(answer).__name__, answer, words, again, one]

    @dynamo_endpoint()
    async def inside(self) -> list:
        here = os.getpid() == self.local.started_in
        return [*self.at_first, here, await self.local.generate("ab"), await self.scorer.score("abc")]

    @dynamo_endpoint()
    async def aliases(self) -> list:
        ask = await self.backend.aliased(Ask(maxTokens=99, site="http://a.b"))
        items = [item async for item in self.backend.aliases([ask, Ask()])]
        return [ask.max_tokens, ask.site.host, ask._seen == {99}, items == [ask, Ask()]]

    @dynamo_endpoint()
    async def wrong(self):
        return await self.backend.model({"txt": "a"})

    @dynamo_endpoint()
    async def undecorated(self):
        return await self.backend.plain()


class First:
    def pick(self, instances, request):
        return min(instances, key=lambda instance: instance.instance_id)


@service
class Chooser:
    first = depends(Backend, policy=First())
    kept = depends(Backend, policy="affinity")
    backend = depends(Backend)

    @dynamo_endpoint()
    async def pids(self) -> dict:
        first = {await self.first.pid() for _ in range(4)}
        kept = {await self.kept.pid().using(key="session") for _ in range(4)}
        by_key = {await self.backend.pid().using(key="session") for _ in range(4)}
        return {"first": len(first), "kept": len(kept), "by_key": len(by_key | kept)}

    @dynamo_endpoint()
    async def instances(self) -> list:
        client = self.backend.pid.client
        ids = [instance.instance_id for instance in client.instances]
        return [client.path, len({await self.backend.pid().using(instance_id=one) for one in ids})]

    @dynamo_endpoint()
    async def late(self) -> list:
        got = []
        try:
            async for item in self.backend.slow().using(timeout=0.3):
                got.append(item)
        except TimeoutError as error:
            return [*got, type(error).__name__]


@service
class Unused:
    frontend = depends(Frontend)


Frontend.link(Backend)
Frontend.link(Length)
Frontend.link(Local)


@service
class Entry:
    frontend = depends(Frontend)
    chooser = depends(Chooser)
"""


@pytest.fixture(scope="module")
def deployment(module_project):
    module_project.write("graph.py", GRAPH)
    with module_project.serve("graph:Entry", args=["--Local.prefix=>"]).result() as deployment:
        yield deployment


def test_only_linked_and_enabled_services_are_started(deployment):
    assert set(deployment.spec.started) == {"Entry", "Chooser", "Frontend", "Backend", "logs"}


def test_a_model_with_aliases_is_read_back_equal_by_another_service(deployment):
    assert deployment.Frontend.aliases().result(timeout=30) == [99, "a.b", True, True]


def test_a_dependency_is_called_as_if_it_were_a_local_object(deployment):
    kind, answer, words, again, one = deployment.Frontend.ask("a b").result(timeout=30)
    assert kind == "Message"
    assert answer == {"text": "a b!", "count": 1}
    assert words == again == ["a!", "b!"]
    assert one == [{"text": "json!", "count": 1}]


def test_a_disabled_service_is_an_object_in_the_callers_worker(deployment):
    unused_is_none, plain, started_here, generated, score = deployment.Frontend.inside().result(timeout=30)
    assert unused_is_none
    assert plain == ">a"
    assert started_here
    assert generated == [">a", ">b"]
    assert score == 3


def items_of(call):
    """The items of a stream, read on the loop that the deployment itself runs on, and the error that ended it."""

    async def read():
        got = []
        try:
            async for item in call:
                got.append(item)  # noqa: PERF401
        except DynamoError as error:
            return got, error
        return got, None

    return portal.run(read(), timeout=30)


def test_a_deployment_has_the_same_clients_as_a_service(deployment):
    backend = deployment.Backend
    answer = backend.model({"text": "a"}).result(timeout=30)
    assert (type(answer).__name__, answer.text) == ("Message", "a!")
    assert items_of(backend.words("a b")) == (["a!", "b!"], None)
    assert list(inspect.signature(backend.model).parameters) == ["message"]
    assert backend.model.__doc__ == "Returns the message, louder."
    assert {"model", "words", "split"} <= set(dir(backend))


def test_a_deployment_can_be_indexed_by_service_name(deployment):
    assert deployment["logs"].score("abc").result(timeout=30) == 3
    with pytest.raises(NoSuchService, match=r"(?s)the deployment has no service 'lgos'.*did you mean 'logs'\?"):
        _ = deployment["lgos"]


def test_calls_take_turns_among_the_workers(deployment):
    assert len({deployment.Backend.pid().result(timeout=30) for _ in range(4)}) == 2


def test_a_dependency_or_a_call_can_choose_the_worker(deployment):
    assert deployment.Chooser.pids().result(timeout=30) == {"first": 1, "kept": 1, "by_key": 1}


def test_a_dependency_lists_its_instances(deployment):
    assert deployment.Chooser.instances().result(timeout=30) == ["n/Backend/pid", 2]
    with pytest.raises(DynamoError, match="no client of the runtime in this process"):
        _ = deployment.Backend.pid.client


def test_a_call_can_have_a_timeout(deployment):
    assert deployment.Chooser.late().result(timeout=30) == [1, "DeadlineExceeded"]
    with pytest.raises(DeadlineExceeded):
        deployment.Backend.slow().using(timeout=0.3).result(timeout=30)


def test_a_wrong_argument_is_not_sent(deployment):
    with pytest.raises(InvalidArgument, match=r"Backend\.model: the argument 'message' does not fit: .*Field required"):
        deployment.Backend.model({"txt": "a"})


def test_the_error_of_an_unknown_endpoint_suggests_a_similar_one(deployment):
    with pytest.raises(NoSuchEndpoint, match=r"Backend has no endpoint 'modle'[\s\S]*did you mean 'model'\?"):
        deployment.Backend.modle("a")
    with pytest.raises(AttributeError, match=r"(?s)the deployment has no service 'Backed'.*did you mean 'Backend'\?"):
        _ = deployment.Backed


def test_the_error_of_a_plain_method_names_the_decorator(deployment):
    with pytest.raises(
        NoSuchEndpoint, match=r"Backend\.plain is a method.*\n.*\n.*decorate it with @dynamo_endpoint\(\)"
    ):
        deployment.Backend.plain()
    with pytest.raises(DynamoError, match=r"Backend\.plain is a method.*\n.*\n.*decorate it with @dynamo_endpoint\(\)"):
        deployment.Frontend.undecorated().result()


def test_a_call_of_an_http_endpoint_by_a_service_is_an_error(deployment):
    with pytest.raises(NoSuchEndpoint, match=r"Backend\.page is an endpoint for HTTP only"):
        deployment.Backend.page()


def test_an_exception_reaches_the_caller_with_its_class_and_the_users_lines(deployment):
    with pytest.raises(EndpointError) as caught:
        deployment.Backend.fails(0).result(timeout=30)
    assert caught.value.kind == "KeyError"
    assert 'raise KeyError("mine")' in caught.value.traceback
    assert "dynamo_nb" not in caught.value.traceback


def test_items_before_an_exception_arrive(deployment):
    got, error = items_of(deployment.Backend.fails(2))
    assert got == [0, 1]
    assert error.kind == "KeyError"


def test_an_error_between_two_workers_reaches_the_caller_unchanged(deployment):
    with pytest.raises(InvalidArgument, match="'message' does not fit"):
        deployment.Frontend.wrong().result(timeout=30)


def test_the_context_of_a_worker(deployment):
    context = deployment.Backend.context().result(timeout=30)
    assert context["namespace"] == "n"
    assert context["worker_id"].startswith("Backend.")
    assert context["runtime"] == "DistributedRuntime"
    assert context["endpoints"] == [
        "model",
        "aliased",
        "aliases",
        "words",
        "pid",
        "slow",
        "fails",
        "context",
        "missing_context",
    ]
    assert isinstance(context["instance_id"], int)
    with pytest.raises(DynamoError, match=r"dynamo_context\['nothing'\] is not set[\s\S]*this worker"):
        deployment.Backend.missing_context().result(timeout=30)


# --- hooks in a worker

HOOKS = """
from dynamo_nb import async_on_shutdown, async_on_start, dynamo_endpoint, service

class Base:
    @async_on_start
    def open_base(self):
        print("base starts")

    @async_on_shutdown
    async def close_base(self):
        print("base stops")
        raise RuntimeError("cannot close")

@service
class Hooked(Base):
    @async_on_start
    async def open(self):
        print("starts")

    @async_on_shutdown
    def close(self):
        print("stops")

    @dynamo_endpoint()
    async def work(self):
        print("works")

@service
class Broken:
    @async_on_start
    async def load(self):
        raise MemoryError("no room for the weights")
"""


async def test_each_hook_runs_once_around_the_traffic(project, worker_log):
    project.write("hooks.py", HOOKS)
    async with await project.serve("hooks:Hooked") as deployment:
        await deployment.Hooked.work()
        log = worker_log("Hooked.0")
    lines = [line for line in log.read().splitlines() if line.split()[-1] in {"starts", "works", "stops", "close"}]
    assert lines == ["base starts", "starts", "works", "base stops", "RuntimeError: cannot close", "stops"]


async def test_a_failed_start_hook_is_shown_with_the_users_lines(project):
    project.write("hooks.py", HOOKS)
    with pytest.raises(StartError, match="Broken did not start: MemoryError: no room for the weights") as caught:
        await project.serve("hooks:Broken")
    assert 'raise MemoryError("no room for the weights")' in caught.value.traceback
    assert "hooks.py" in caught.value.traceback


# --- graphs

LLM = """
from dynamo_nb import depends, dynamo_context, dynamo_endpoint, async_on_start, service

@service(dynamo={"namespace": "dynamo"})
class VllmWorker:
    @dynamo_endpoint()
    async def generate(self, text: str):
        for letter in text:
            yield letter

    @dynamo_endpoint()
    async def load(self) -> int:
        return 1

@service(dynamo={"namespace": "dynamo"})
class Router:
    worker = depends(VllmWorker)

    @dynamo_endpoint()
    async def route(self, text: str) -> int:
        return await self.worker.load()

@service(dynamo={"namespace": "dynamo"})
class Processor:
    worker = depends(VllmWorker)
    router = depends(Router)

    @async_on_start
    async def connect(self):
        namespace, name = VllmWorker.dynamo_address()
        component = dynamo_context["runtime"].namespace(namespace).component(name)
        self.client = await component.endpoint("generate").client()

    @dynamo_endpoint()
    async def process(self, text: str):
        if self.router:
            yield f"routed {await self.router.route(text)}"
        if self.worker:
            yield "direct"
        async for item in await self.client.generate(text):
            yield item.data()

@service(dynamo={"namespace": "dynamo"})
class Frontend:
    processor = depends(Processor)

    @dynamo_endpoint()
    async def chat(self, text: str):
        async for item in self.processor.process(text):
            yield item
"""


@pytest.mark.parametrize(
    ("links", "started", "answer"),
    [
        (
            "Frontend.link(Processor).link(Router).link(VllmWorker)",
            {"Frontend", "Processor", "Router", "VllmWorker"},
            ["routed 1", "a", "b"],
        ),
        ("Frontend.link(Processor).link(VllmWorker)", {"Frontend", "Processor", "VllmWorker"}, ["direct", "a", "b"]),
    ],
)
async def test_upstreams_graphs(project, links, started, answer):
    project.write("components.py", LLM)
    project.write("agg.py", "from components import *", links)
    async with await project.serve("agg:Frontend", namespace="moved") as deployment:
        assert set(deployment.spec.started) == started
        assert await deployment.Frontend.chat("ab") == answer


CYCLE = """
from dynamo_nb import depends, dynamo_endpoint, service

@service
class Ping:
    pong = depends("Pong")

    @dynamo_endpoint()
    async def down(self, number: int) -> int:
        return number if number <= 0 else await self.pong.down(number - 1)

@service
class Pong:
    ping = depends(Ping)

    @dynamo_endpoint()
    async def down(self, number: int) -> int:
        return number if number <= 0 else await self.ping.down(number - 1)
"""


async def test_services_may_call_each_other(project):
    project.write("cycle.py", CYCLE)
    async with await project.serve("cycle:Ping") as deployment:
        assert await deployment.Ping.down(5) == 0
