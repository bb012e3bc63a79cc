"""The chat template and its variables, from the body of a request and from the configuration of the processor."""

import json
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from chat_templates import TEMPLATES
from local_graph import client_of

from dynamo_nb.errors import DynamoError, InvalidArgument
from dynamo_nb.llm import EchoEngine
from dynamo_nb.llm.api.bodies import ChatBody, read
from dynamo_nb.llm.api.errors import ApiError
from dynamo_nb.llm.api.request_checks import requests_of
from dynamo_nb.llm.engines.echo.options import EchoOptions
from dynamo_nb.llm.messages import ModelInfo
from dynamo_nb.llm.text.tokenizer import Tokenizer
from dynamo_nb.llm.tiny import tiny_model

SHOWING = "{{ tone or 'plain' }}|{{ enable_thinking }}|{{ reasoning_effort }}|{% for m in messages %}{{ m.content }};{% endfor %}{% if add_generation_prompt %}>{% endif %}"
USER = {"role": "user", "content": "u"}
BODIES = {
    # id: (body, variables of the configuration, prompt)
    "nothing": ({}, {}, "plain|||u;>"),
    "a variable": ({"chat_template_kwargs": {"tone": "kind"}}, {}, "kind|||u;>"),
    "a variable of the configuration": ({}, {"tone": "kind"}, "kind|||u;>"),
    "a variable of both": ({"chat_template_kwargs": {"tone": "rude"}}, {"tone": "kind"}, "rude|||u;>"),
    "a variable that is null": ({"chat_template_kwargs": {"tone": None}}, {"tone": "kind"}, "kind|||u;>"),
    "a variable that is false": ({"chat_template_kwargs": {"enable_thinking": False}}, {"enable_thinking": True}, "plain|False||u;>"),
    "an effort": ({"reasoning_effort": "low"}, {}, "plain|True|low|u;>"),
    "no effort": ({"reasoning_effort": "none"}, {"enable_thinking": True}, "plain|False|none|u;>"),
    "an effort of the configuration": ({}, {"reasoning_effort": "high"}, "plain||high|u;>"),
    "no beginning of an answer": ({"add_generation_prompt": False}, {}, "plain|||u;"),
    "no beginning of an answer in the configuration": ({}, {"add_generation_prompt": False}, "plain|||u;"),
    "a message that is continued": ({"continue_final_message": True}, {}, "plain|||u"),
    "a message that is continued, and its other half": ({"continue_final_message": True, "add_generation_prompt": False}, {}, "plain|||u"),
    "a message that is continued in spite of the configuration": ({"continue_final_message": True}, {"add_generation_prompt": True}, "plain|||u"),
    "a message that is not continued": ({"continue_final_message": False, "add_generation_prompt": True}, {}, "plain|||u;>"),
    "an empty message that is continued": ({"continue_final_message": True, "messages": [USER, {"role": "assistant", "content": ""}]}, {}, "plain|||u;"),
    "blanks that are continued": ({"continue_final_message": True, "messages": [{"role": "assistant", "content": "a \n"}]}, {}, "plain|||a \n"),
}  # fmt: skip
REFUSED = {
    # id: (body, param)
    "both": ({"continue_final_message": True, "add_generation_prompt": True}, "continue_final_message"),
    "a template": ({"chat_template": "x"}, "chat_template"),
    "a template among the variables": ({"chat_template_kwargs": {"chat_template": "x"}}, "chat_template_kwargs.chat_template"),
    "messages among the variables": ({"chat_template_kwargs": {"messages": []}}, "chat_template_kwargs.messages"),
    "tools among the variables": ({"chat_template_kwargs": {"tools": []}}, "chat_template_kwargs.tools"),
    "tokenize": ({"chat_template_kwargs": {"tokenize": True}}, "chat_template_kwargs.tokenize"),
    "variables that are a list": ({"chat_template_kwargs": []}, "chat_template_kwargs"),
    "variables that are nested too deeply": ({"chat_template_kwargs": {"a": json.loads("[" * 99 + "]" * 99)}}, "chat_template_kwargs"),
    "an unknown effort": ({"reasoning_effort": "much"}, "reasoning_effort"),
    "a text for true": ({"continue_final_message": "content"}, "continue_final_message"),
    "documents that are texts": ({"documents": ["x"]}, "documents[0]"),
}  # fmt: skip


@pytest_asyncio.fixture
async def engine():
    engine = EchoEngine(EchoOptions(model=str(tiny_model())))
    await engine.start()
    yield engine
    await engine.stop()


@asynccontextmanager
async def asked(engine, body, **options):
    """The response to a chat. The engine answers with the prompt."""
    body = {"model": "tiny", "messages": [USER], **body}
    async with client_of(engine, **options) as client:
        yield await client.post("/v1/chat/completions", json=body)


@pytest.mark.parametrize(("body", "configured", "prompt"), BODIES.values(), ids=BODIES)
async def test_variables_reach_the_template(engine, body, configured, prompt):
    size = len(Tokenizer(str(tiny_model())).encode(prompt))
    options = {"chat_template": SHOWING, "chat_template_kwargs": configured}
    async with asked(engine, body | {"max_tokens": size}, **options) as response:
        answer = response.json()
    assert answer["choices"][0]["message"]["content"] == prompt
    assert answer["usage"]["prompt_tokens"] == size


@pytest.mark.parametrize(("body", "param"), REFUSED.values(), ids=REFUSED)
async def test_a_variable_that_cannot_be_used_is_refused_by_name(engine, body, param):
    async with asked(engine, body) as response:
        assert (response.status_code, response.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize("given", ["text", "file"])
async def test_a_template_of_ones_own_replaces_that_of_the_model(engine, tmp_path, given):
    path = tmp_path / "own.jinja"
    path.write_text(SHOWING)
    async with asked(engine, {"max_tokens": 8}, chat_template=SHOWING if given == "text" else str(path)) as response:
        assert response.json()["choices"][0]["message"]["content"].startswith("plain|||")


async def test_a_template_of_ones_own_has_the_form_that_it_expects(engine):
    async with asked(engine, {"max_tokens": 40}, chat_template=TEMPLATES["parts"]) as response:
        assert response.json()["choices"][0]["message"]["content"].startswith("User:u<end>")


@pytest.mark.parametrize("template", ["no/such/file.jinja", "no-such-file", "{% if %}", "{{ message", "{% endfor %}\n"])
async def test_a_template_that_cannot_be_used_ends_the_start(engine, template):
    with pytest.raises(DynamoError, match="the chat template"):
        async with asked(engine, {}, chat_template=template):
            pass


@pytest.mark.parametrize("name", ["messages", "tokenize", "chat_template"])
async def test_a_reserved_variable_of_the_configuration_ends_the_start(engine, name):
    with pytest.raises(InvalidArgument, match=name):
        async with asked(engine, {}, chat_template_kwargs={name: 1}):
            pass


def test_each_choice_has_the_variables():
    body = read(ChatBody, json.dumps({"model": "m", "messages": [USER], "n": 2, "reasoning_effort": "low"}).encode())
    requests = requests_of(body, "id", "m", ModelInfo(model="m", context=100, block_size=16))
    expected = {"reasoning_effort": "low", "enable_thinking": True}
    assert [request.chat_template_kwargs for request in requests] == [expected] * 2


def test_an_effort_that_is_misspelt_is_refused():
    with pytest.raises(ApiError):
        read(ChatBody, json.dumps({"model": "m", "messages": [USER], "reasoning_efort": "low"}).encode())


GRAPH = "from dynamo_nb.llm import EchoWorker, Frontend, Processor\n\nFrontend.link(Processor).link(EchoWorker)\n"
FILE = """\
Processor:
  served_model_name: tiny
  chat-template: own.jinja
  chat_template_kwargs:
    tone: "007"
    enable_thinking: false
"""


@pytest.mark.slow
def test_files_and_arguments_configure_a_served_graph(project, tmp_path):
    import httpx

    project.write("graph.py", GRAPH)
    (own := tmp_path / "own.jinja").write_text(SHOWING)
    project.write("config.yaml", FILE.replace("own.jinja", str(own)))
    args = ["--Processor.chat_template_kwargs.reasoning_effort=low"]
    with project.serve("graph:Frontend", "config.yaml", args=args).result(timeout=60) as deployment:
        body = {"model": "tiny", "messages": [USER], "max_tokens": 40}
        response = httpx.post(deployment.urls["Frontend"] + "/v1/chat/completions", json=body, timeout=60)
    assert response.json()["choices"][0]["message"]["content"].startswith("007|False|low|u;>")
