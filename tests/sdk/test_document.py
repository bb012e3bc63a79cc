"""The documentation of the SDK: every snippet that is a program runs unchanged.

Model engines and names that a snippet leaves undefined (`initialize_model_engine`, `Router`) are stand-ins. `import
ServiceB` for a class becomes an import from the module that defines it. GPUs are configured as 0, since the machine may
have none.
"""

import argparse
import ast
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent

import pytest

from dynamo.sdk.lib.config import ServiceConfig
from dynamo_nb.errors import StartError
from dynamo_nb.runtime import DistributedRuntime

pytestmark = pytest.mark.slow

SNIPPETS = (Path(__file__).parent / "document" / "snippets.txt").read_text()
SDK = "from dynamo.sdk import async_on_shutdown, async_on_start, depends, dynamo_context, dynamo_endpoint, service"
CONFIG = "from dynamo.sdk.lib.config import ServiceConfig"


def snippet(heading, number=0):
    """The text of the snippet under a heading."""
    _, found, rest = SNIPPETS.partition(f"# {heading}\n")
    assert found
    return re.findall(r"^```\w+\n(.*?)^```", rest, re.DOTALL | re.MULTILINE)[number]


def from_module(text, cls):
    """The snippet with an import of the class instead of `import ServiceB`."""
    assert f"import {cls}\n" in text
    return text.replace(f"import {cls}\n", f"from {cls.lower()} import {cls}\n")


def with_endpoint(cls, name, expression):
    """Adds an endpoint to a class of the document, which reports the state of the instance in the worker."""
    return f"""
async def {name}(self):
    return {expression}

{cls}.{name} = dynamo_endpoint()({name})
"""


# --- Defining a Service, Writing a Service

MESSAGES = """
from pydantic import BaseModel

class ChatCompletionRequest(BaseModel):
    text: str
"""

SERVICE_B = f"""
{SDK}
from messages import ChatCompletionRequest

@service(dynamo={{"namespace": "dynamo"}})
class ServiceB:
    @dynamo_endpoint()
    async def preprocess(self, request: ChatCompletionRequest) -> ChatCompletionRequest:
        return ChatCompletionRequest(text=request.text.lower())
"""

ENGINE = """
from messages import ChatCompletionRequest

async def initialize_model_engine(model_name):
    return Engine(model_name)

class Engine:
    def __init__(self, model_name):
        self.model_name = model_name

    async def generate(self, request: ChatCompletionRequest):
        return f"{self.model_name} says {request.text}"

    async def shutdown(self):
        print("the engine's own shutdown")
"""


def test_defining_a_service(project):
    project.write("service.py", SDK, snippet("Defining a Service") + "class Worker: ...")
    settings = project.config("service:Worker").services["Worker"].args
    assert (settings.dynamo.enabled, settings.dynamo.namespace, settings.workers) == (True, "dynamo", 1)
    assert (settings.resources.gpu, settings.resources.cpu, settings.resources.memory) == (2, "10", "20Gi")


async def test_writing_a_service(project, worker_log):
    project.write("messages.py", MESSAGES)
    project.write("serviceb.py", SERVICE_B)
    project.write("service.py", SDK, ENGINE, from_module(snippet("Writing a Service"), "ServiceB"))
    deployment = await project.serve("service:ServiceA", args=["--ServiceA.ServiceArgs.resources.gpu=0"])
    try:
        model = "meta-llama/Llama-3.1-8B-Instruct"
        assert await deployment.ServiceA.generate({"text": "HELLO"}) == f"{model} says hello"
        log = worker_log("ServiceA.0")
        assert f"ServiceA initialized with model: {model}\n" in log.read()
    finally:
        await deployment.stop()
    assert log.read() == "the engine's own shutdown\nServiceA engine shut down\n"


async def test_what_depends_does_internally(project):
    """The first statement with a real runtime; test_writing_a_service runs the others."""
    project.write("messages.py", MESSAGES)
    project.write("serviceb.py", SERVICE_B)
    deployment = await project.serve("serviceb:ServiceB")
    runtime = await DistributedRuntime.connect(**vars(deployment.access))
    try:
        internally, dsl, call = snippet("Service Dependencies with `depends()`").split("\n\n")
        names = {"runtime": runtime}
        await eval(compile(internally, "document", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
        await names["service_b"].wait_for_instances(timeout=10)
        stream = await names["service_b"].generate({"text": "HELLO"})
        assert [item.data() async for item in stream] == [{"text": "hello"}]
        assert "service_b = depends(ServiceB)" in dsl
        names |= {"service_b": deployment.ServiceB, "data": {"text": "HELLO"}}
        await eval(compile(call, "document", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
        assert names["result"].text == "hello"
    finally:
        await runtime.close()
        await deployment.stop()


WORKER = f"""
{SDK}

@service(dynamo={{"namespace": "workers"}})
class VllmWorker:
    @dynamo_endpoint()
    async def generate(self, text: str):
        for letter in text:
            yield letter
"""


async def test_a_client_created_by_hand_in_a_worker(project, worker_log):
    by_hand = from_module(snippet("Service Dependencies with `depends()`", 1), "VllmWorker")
    processor = f"""
@service
class Processor:
    @async_on_start
    async def connect(self):
{indent(by_hand, " " * 8)}
    @dynamo_endpoint()
    async def generate(self, text: str):
        await self.worker_client.wait_for_instances(timeout=10)
        return [item.data() async for item in await self.worker_client.generate(text)]


@service
class Frontend:
    processor = depends(Processor)
    worker = depends("VllmWorker")
"""
    project.write("vllmworker.py", WORKER)
    project.write("service.py", SDK, "from vllmworker import VllmWorker", processor)
    async with await project.serve("service:Frontend") as deployment:
        assert await deployment.Processor.generate("abc") == ["a", "b", "c"]
        assert "[Processor] comp_ns: workers, comp_name: VllmWorker\n" in worker_log("Processor.0").read()


async def test_the_lifecycle_hooks(project, worker_log):
    hooks = f"""
class Resource:
    async def __aexit__(self, *_):
        print("left the engine's context")

async def connect_to_db(): return "db"
async def load_tokenizer(): return "tokenizer"
async def initialize_engine(model): return f"engine of {{model}}"

@service
class VllmWorkerRouterLess:
    def __init__(self):
        self.model = "m"
        self._engine_context = Resource()

{indent(snippet("`@async_on_start`"), " " * 4)}
{indent(snippet("`@async_on_shutdown`"), " " * 4)}
    @dynamo_endpoint()
    async def what(self) -> list[str]:
        return [self.db, self.tokenizer, self.engine]
"""
    project.write("service.py", SDK, hooks)
    async with await project.serve("service:VllmWorkerRouterLess") as deployment:
        assert await deployment.VllmWorkerRouterLess.what() == ["db", "tokenizer", "engine of m"]
        log = worker_log("VllmWorkerRouterLess.0")
    assert log.read() == "left the engine's context\nVllmWorkerRouterLess shutting down\n"


# --- Configuring a Service


@pytest.fixture
def my_service(project):
    report = with_endpoint("MyService", "given", "[self.model_name, self.temperature]")
    project.write("service.py", SDK, snippet("Configuration via Service Decorator"), report)
    project.write("config.yaml", snippet("Configuration via YAML"))
    return project


def test_yaml_overrides_the_decorator_and_the_constructor(my_service):
    settings = my_service.config("service:MyService", "config.yaml").services["MyService"]
    assert settings.args.workers == 4
    assert settings.args.resources.model_dump() == {"gpu": 4, "cpu": "4", "memory": "16Gi"}
    assert settings.arguments() == {"model_name": "deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "temperature": 0.8}


async def test_yaml_reaches_the_constructor_in_the_worker(my_service):
    small = ["--MyService.ServiceArgs.workers=2", "--MyService.ServiceArgs.resources.gpu=0"]
    async with await my_service.serve("service:MyService", "config.yaml", args=small) as deployment:
        assert len(deployment.status.services["MyService"].workers) == 2
        assert await deployment.MyService.given() == ["deepseek-ai/DeepSeek-R1-Distill-Llama-8B", 0.8]


def dynamo(folder, command):
    """Runs a command line of the document (and more words) with the installed command, on a machine with 64 GPUs."""
    words = command.split()
    words[0] = str(Path(sys.executable).with_name("dynamo"))
    environ = {**os.environ, "DYNAMO_GPUS": ",".join(map(str, range(64)))}
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=100, env=environ)


def shown_by(done):
    """The configuration that `--dry-run` shows."""
    assert done.returncode == 0, done.stderr
    _, marker, rest = done.stdout.partition("Service Configuration:\n")
    assert marker
    return json.JSONDecoder().raw_decode(rest)[0]


def test_loading_yaml_at_the_command_line(my_service):
    done = dynamo(my_service.folder, snippet("Loading YAML Configuration") + " --dry-run")
    shown = shown_by(done)["MyService"]
    assert shown["temperature"] == 0.8
    assert shown["ServiceArgs"]["resources"] == {"gpu": 4, "cpu": "4", "memory": "16Gi"}


@pytest.mark.parametrize(
    ("files", "args", "temperature", "workers"),
    [
        ([], [], 0.7, 2),
        (["config.yaml"], [], 0.8, 4),
        (["config.yaml"], ["--MyService.temperature=0.9", "--MyService.ServiceArgs.workers=6"], 0.9, 6),
        ([], ["--MyService.temperature=0.9"], 0.9, 2),
    ],
)
def test_the_order_of_precedence(my_service, files, args, temperature, workers):
    config = my_service.config("service:MyService", *files, args=args)
    settings = config.services["MyService"]
    assert settings.args.workers == workers
    assert config.as_json()["MyService"]["temperature"] == temperature
    assert settings.args.resources.memory == "16Gi"


ACCESS = (SDK, snippet("Accessing Configuration in Services"), "MyService = service(MyService)")


async def test_accessing_configuration(project):
    report = with_endpoint("MyService", "seen", "[self.model_name, self.temperature, self.api_key]")
    project.write("service.py", *ACCESS, report)
    args = ["--MyService.api_key=secret", "--MyService.temperature=0.1"]
    async with await project.serve("service:MyService", args=args) as deployment:
        seen = await deployment.MyService.seen()
    assert seen == ["deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", 0.1, "secret"]


async def test_a_missing_required_value_is_shown_to_the_user(project):
    project.write("service.py", *ACCESS)
    with pytest.raises(
        StartError, match=r"ValueError: MyService\.api_key must be specified in configuration"
    ) as caught:
        await project.serve("service:MyService")
    assert 'config.require("MyService", "api_key")' in caught.value.traceback


def test_parsing_configuration_as_arguments(monkeypatch):
    section = {"lib_option1": "value1", "lib_flag2": True, "other": 1, "lib_option3": "value3", "lib_off": False}
    monkeypatch.setenv("DYNAMO_SERVICE_CONFIG", json.dumps({"MyService": section}))
    parsed = []

    class MyLibArgumentParser:
        def parse_args(self, args):
            parsed.extend(args)
            return "parsed"

    names = {"MyLibArgumentParser": MyLibArgumentParser}
    exec(snippet("Parsing Configuration as CLI Arguments"), names)
    assert names["setup_my_lib"]() == "parsed"
    assert parsed == ["--option1", "value1", "--flag2", "--option3", "value3"]


def test_the_vllm_integration(monkeypatch):
    section = {
        "model": "m",
        "router": "kv",
        "remote-prefill": True,
        "max-model-len": 16384,
        "kv-transfer-config": {"kv_connector": "Nixl"},
        "ServiceArgs": {"workers": 2},
    }
    monkeypatch.setenv("DYNAMO_SERVICE_CONFIG", json.dumps({"VllmWorker": section}))

    @dataclass
    class AsyncEngineArgs:
        model: str
        max_model_len: int
        kv_transfer_config: str

        @staticmethod
        def add_cli_args(parser):
            parser.add_argument("--model")
            parser.add_argument("--max-model-len", type=int)
            parser.add_argument("--kv-transfer-config")
            return parser

        @classmethod
        def from_cli_args(cls, args):
            return cls(args.model, args.max_model_len, args.kv_transfer_config)

    names = {
        "AsyncEngineArgs": AsyncEngineArgs,
        "FlexibleArgumentParser": argparse.ArgumentParser,
        "ServiceConfig": ServiceConfig,
    }
    exec(snippet("Parsing Configuration as CLI Arguments", 1), names)
    args = names["parse_vllm_args"]("VllmWorker", "")
    assert (args.model, args.max_model_len, args.router, args.remote_prefill) == ("m", 16384, "kv", True)
    assert json.loads(args.kv_transfer_config) == {"kv_connector": "Nixl"}


def test_overriding_the_decorator(my_service):
    my_service.write("staging.yaml", snippet("Overriding Service Decorator with ServiceArgs"))
    settings = my_service.config("service:MyService", "staging.yaml").services["MyService"].args
    assert (settings.dynamo.enabled, settings.dynamo.namespace, settings.workers) == (True, "staging", 8)
    assert settings.resources.model_dump() == {"gpu": 4, "cpu": "4", "memory": "16Gi"}


async def test_workers_read_service_args_from_the_environment(my_service):
    """The document's `_get_service_args`, run in a worker of the service that the YAML moved to another namespace."""
    reader = snippet("Overriding Service Decorator with ServiceArgs", 1)
    body = f"""
import json
import os
from typing import Optional

{reader}
MyService._get_service_args = _get_service_args
"""
    report = with_endpoint("MyService", "args", '[self._get_service_args("MyService"), MyService.dynamo_address()]')
    module = my_service.folder / "service.py"
    my_service.write("service.py", module.read_text(), body, report)
    my_service.write("staging.yaml", snippet("Overriding Service Decorator with ServiceArgs"))
    small = ["--MyService.ServiceArgs.workers=1", "--MyService.ServiceArgs.resources.gpu=0"]
    async with await my_service.serve("service:MyService", "staging.yaml", args=small) as deployment:
        args, address = await deployment.MyService.args()
    assert address == ["staging", "MyService"]
    assert args["dynamo"]["namespace"] == "staging"
    assert args["resources"]["gpu"] == 0
    assert args["workers"] == 1


# --- Complete Configuration Example


@pytest.fixture
def llm_service(project):
    fields = ["model_name", "temperature", "max_tokens", "cache_size", "use_kv_cache"]
    report = with_endpoint("LLMService", "effective", f"{{name: getattr(self, name) for name in {fields}}}")
    project.write("service.py", SDK, CONFIG, snippet("Complete Configuration Example"), report)
    project.write("prod_config.yaml", snippet("Complete Configuration Example", 1))
    return project


COMMAND = snippet("Complete Configuration Example", 2).strip()
EFFECTIVE = {
    "model_name": "llama-3-70b-instruct",
    "temperature": 0.9,
    "max_tokens": 2048,
    "cache_size": 10000,
    "use_kv_cache": True,
}


def test_the_complete_example_has_the_stated_effective_configuration(llm_service):
    assert COMMAND == "dynamo serve service:LLMService -f prod_config.yaml --LLMService.temperature=0.9"
    shown = shown_by(dynamo(llm_service.folder, COMMAND + " --dry-run"))["LLMService"]
    args = shown.pop("ServiceArgs")
    assert args["dynamo"]["namespace"] == "prod"
    assert args["resources"]["gpu"] == 4
    assert args["resources"]["memory"] == "64Gi"
    assert args["workers"] == 8
    assert shown == EFFECTIVE


async def test_the_complete_example_inside_the_running_worker(llm_service):
    small = ["--LLMService.ServiceArgs.workers=1", "--LLMService.ServiceArgs.resources.gpu=0"]
    args = ["--LLMService.temperature=0.9", *small]
    async with await llm_service.serve("service:LLMService", "prod_config.yaml", args=args) as deployment:
        assert await deployment.LLMService.effective() == EFFECTIVE
        assert deployment.spec.services["LLMService"].namespace == "prod"


# --- Composing Services into a Graph

PROCESSOR = f"""
{SDK}
from vllmworker import VllmWorker

@service(dynamo={{"namespace": "routing"}})
class Router:
    @dynamo_endpoint()
    async def route(self, text: str) -> int:
        return len(text)

class ProcessMixIn:
    @dynamo_endpoint()
    async def process(self, text: str):
        return [
            self.worker is None,
            self.router is None,
            await self.router.route(text) if self.router else await self.worker.generate(text),
            VllmWorker.dynamo_address(),
        ]

@service
"""


@pytest.fixture
def processor(project):
    project.write("vllmworker.py", WORKER)
    project.write("processor.py", PROCESSOR + snippet("Understanding the `.link()` syntax"))
    link = snippet("Understanding the `.link()` syntax", 1)
    project.write("linked.py", "from processor import Processor, Router", link)
    return project


async def test_link_removes_the_other_dependency(processor):
    async with await processor.serve("linked:Processor") as deployment:
        assert set(deployment.spec.started) == {"Processor", "Router"}
        assert await deployment.Processor.process("abc") == [True, False, 3, ["workers", "VllmWorker"]]


async def test_without_a_link_both_dependencies_are_served(processor):
    async with await processor.serve("processor:Processor") as deployment:
        assert set(deployment.spec.started) == {"Processor", "Router", "VllmWorker"}
        assert await deployment.Processor.process("abc") == [False, False, 3, ["workers", "VllmWorker"]]


async def test_an_address_follows_the_graph_to_another_namespace(processor):
    async with await processor.serve("linked:Processor", namespace="copy") as deployment:
        assert (await deployment.Processor.process("abc"))[3] == ["copy", "VllmWorker"]
