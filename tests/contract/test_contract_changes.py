"""Changes of a called service, as one table: which of them certainly break its caller, and which do not."""

import pytest

from dynamo_nb.contract import ServiceEdges, mismatches
from dynamo_nb.source import Cell, slice_services

IMPORTS = """\
from collections.abc import AsyncIterator
from dataclasses import dataclass
import msgspec
from pydantic import BaseModel, ConfigDict, Field
from dynamo_nb import AbstractService, depends, dynamo_api, dynamo_endpoint, service
"""


def embedder(
    signature="self, text: str", body="return [0.5]", returns="", name="embed", decorator="@dynamo_endpoint()"
):
    arrow = f" -> {returns}" if returns else ""
    return f"@service\nclass Embedder:\n    {decorator}\n    async def {name}({signature}){arrow}:\n        {body}\n"


def retriever(body, signature="self, text: str", returns=""):
    lines = "\n".join(f"        {line}" for line in body.splitlines())
    arrow = f" -> {returns}" if returns else ""
    return (
        "@service\nclass Retriever:\n    embedder = depends(Embedder)\n\n"
        f"    @dynamo_endpoint()\n    async def retrieve({signature}){arrow}:\n{lines}\n"
    )


def found(*cells, edges=None):
    """The mismatches of cells: the certain ones, and the others with `?`."""
    book = [Cell(text, f"cell {n}", n) for n, text in enumerate([IMPORTS, *cells], start=1)]
    code = slice_services(book, ["Embedder", "Retriever"])
    targets = edges or {"Retriever": {"embedder": "Embedder"}, "Embedder": {}}
    return [("" if one.certain else "? ") + one.message for one in mismatches(code, ServiceEdges(targets))]


CALL = "return await self.embedder.embed(text)"
REQUEST = "class Request(BaseModel):\n    text: str\n    top_k: int = 3\n"
ANSWER = "class Answer(BaseModel):\n    vector: list[float]\n"
TAKES, GIVES = "self, request: Request", "Answer"

BREAKS = {
    "a renamed endpoint": (
        [embedder(name="encode"), retriever(CALL)],
        "Retriever calls Embedder.embed, which this version does not have; it has encode",
    ),
    "an endpoint under another name for callers": (
        [embedder(decorator='@dynamo_endpoint(name="encode")', name="encoded"), retriever(CALL)],
        "Retriever calls Embedder.embed, which this version does not have; it has encoded",
    ),
    "an endpoint that became a plain method": (
        [embedder(name="other") + "\n    async def embed(self, text):\n        return text\n", retriever(CALL)],
        "Retriever calls Embedder.embed, which is not an endpoint in this version; it has other",
    ),
    "an endpoint for HTTP only": (
        [embedder(decorator="@dynamo_api()"), retriever(CALL)],
        "Retriever calls Embedder.embed, which this version serves over HTTP only",
    ),
    "another required argument": (
        [embedder("self, text: str, model: str"), retriever(CALL)],
        "Retriever calls Embedder.embed without 'model', which this version requires",
    ),
    "an argument that is required by name": (
        [embedder("self, text: str, *, model: str"), retriever(CALL)],
        "Retriever calls Embedder.embed without 'model', which this version requires",
    ),
    "a removed argument": (
        [embedder("self"), retriever(CALL)],
        "Retriever calls Embedder.embed with 1 argument by position: this version takes none",
    ),
    "a renamed argument that callers name": (
        [embedder("self, query: str"), retriever("return await self.embedder.embed(text=text)")],
        ("Retriever calls Embedder.embed with 'text', which this version does not take "
        "and without 'query', which this version requires"),
    ),
    "an argument that is taken by name only": (
        [embedder("self, *, text: str"), retriever(CALL)],
        "Retriever calls Embedder.embed with 1 argument by position: this version takes none and text by name",
    ),
    "a literal of another type": (
        [embedder("self, text: str, top_k: int"), retriever('return await self.embedder.embed(text, "many")')],
        "Retriever calls Embedder.embed with 'top_k', an int in this version: 'many' is a str",
    ),
    "a stream in place of one answer": (
        [embedder(body="yield 'a'", returns="AsyncIterator[str]"), retriever("a = " + CALL[7:] + "\nreturn a.upper()")],
        "Retriever reads 'upper' of the answer of Embedder.embed (a stream), which is a list in this version",
    ),
    "a stream where the caller answers with text": (
        [embedder(body="yield 'a'"), retriever(CALL, returns="str")],
        "Retriever returns a str from retrieve, and the answer of Embedder.embed (a stream) is a list in this version",
    ),
    "one answer in place of a stream": (
        [
            embedder(body="return ['a']", returns="list[str]"),
            retriever("async for word in self.embedder.embed(text):\n    yield word.upper()"),
        ],
        "Retriever reads 'upper' of the answer of Embedder.embed, which is a list in this version",
    ),
    "a field that callers read is renamed": (
        [ANSWER.replace("vector", "values"), embedder(returns=GIVES), retriever("a = " + CALL[7:] + "\nreturn a.vector")],
        "Retriever reads Answer.vector, which this version does not have",
    ),
    "a field of the items of a stream is renamed": (
        [
            ANSWER.replace("vector", "values"),
            embedder(body="yield 1", returns="AsyncIterator[Answer]"),
            retriever("async for item in self.embedder.embed(text):\n    yield item.vector"),
        ],
        "Retriever reads Answer.vector, which this version does not have",
    ),
    "a field of a nested model is renamed": (
        [
            "class Part(BaseModel):\n    words: str\n",
            "class Answer(BaseModel):\n    parts: list[Part]\n",
            embedder(returns=GIVES),
            retriever("return [part.text for part in (" + CALL[7:] + ").parts]"),
        ],
        "Retriever reads Part.text, which this version does not have",
    ),
    "text in place of a model": (
        [embedder(returns="str"), retriever("a = " + CALL[7:] + "\nreturn a.vector")],
        "Retriever reads 'vector' of the answer of Embedder.embed, which is a str in this version",
    ),
    "a field that callers set is renamed": (
        [REQUEST.replace("text", "query"), embedder(TAKES), retriever("return await self.embedder.embed(Request(text=text, top_k=1))")],
        "Retriever creates a Request without 'query', which this version requires",
    ),
    "another required field": (
        [REQUEST + "    model: str\n", embedder(TAKES), retriever("return await self.embedder.embed(Request(text=text))")],
        "Retriever creates a Request without 'model', which this version requires",
    ),
    "a field that a strict model does not know": (
        [
            "class Request(BaseModel):\n    model_config = ConfigDict(extra='forbid')\n    text: str\n",
            embedder(TAKES),
            retriever("return await self.embedder.embed(Request(text=text, top_k=3))"),
        ],
        "Retriever creates a Request with 'top_k', which this version does not take",
    ),
    "a removed field of a msgspec struct": (
        [
            "class Request(msgspec.Struct):\n    text: str\n",
            embedder(TAKES),
            retriever("return await self.embedder.embed(Request(text=text, top_k=3))"),
        ],
        "Retriever creates a Request with 'top_k', which this version does not take",
    ),
    "a required field of a dataclass": (
        [
            "@dataclass\nclass Request:\n    text: str\n    model: str\n",
            embedder(TAKES),
            retriever("return await self.embedder.embed(Request(text))"),
        ],
        "Retriever creates a Request without 'model', which this version requires",
    ),
    "a dict without a required field": (
        [REQUEST + "    model: str\n", embedder(TAKES), retriever("return await self.embedder.embed({'text': text})")],
        ("Retriever calls Embedder.embed with 'request', a Request in this version: "
        "it has no 'model', which Request requires in this version"),
    ),
    "a caller's own model that lacks a required field": (
        [
            REQUEST + "    model: str\n",
            "class Query(BaseModel):\n    text: str\n",
            embedder(TAKES),
            retriever("return await self.embedder.embed(Query(text=text))"),
        ],
        ("Retriever calls Embedder.embed with 'request', a Request in this version: "
        "Query has no 'model', which Request requires in this version"),
    ),
    "a model where the caller passes a list": (
        [REQUEST, "class Parts(BaseModel):\n    texts: list[str]\n", embedder(TAKES), retriever("return await self.embedder.embed(parts.texts)", "self, parts: Parts")],
        "Retriever calls Embedder.embed with 'request', a Request in this version: Parts.texts is a list",
    ),
    "a field of the caller's own argument is renamed": (
        [REQUEST.replace("text", "query"), embedder(), retriever("return await self.embedder.embed(request.text)", TAKES)],
        "Retriever reads Request.text, which this version does not have",
    ),
    "a call through a name, with options": (
        [
            embedder("self, text: str, model: str"),
            retriever("embed = self.embedder.embed\nreturn await embed(text).using(timeout=2)"),
        ],
        "Retriever calls Embedder.embed without 'model', which this version requires",
    ),
    "a dependency under another name": (
        [embedder(name="encode"), retriever("e = self.embedder\nreturn [await e.embed(word) for word in text.split()]")],
        "Retriever calls Embedder.embed, which this version does not have; it has encode",
    ),
    "an inherited endpoint": (
        [
            "class Base:\n    @dynamo_endpoint()\n    async def embed(self, text: str, model: str):\n        return 1\n",
            "@service\nclass Embedder(Base):\n    pass\n",
            retriever(CALL),
        ],
        "Retriever calls Embedder.embed without 'model', which this version requires",
    ),
}  # fmt: skip

KEEPS = {
    "the same endpoint": [embedder(), retriever(CALL)],
    "an argument with a default": [embedder("self, text: str, model: str = 'small'"), retriever(CALL)],
    "an argument by name with a default": [embedder("self, text: str, *, model: str = 'small'"), retriever(CALL)],
    "a renamed argument that callers pass by position": [embedder("self, query: str"), retriever(CALL)],
    "any arguments": [embedder("self, *args, **kwargs"), retriever("return await self.embedder.embed(text, k=1)")],
    "another endpoint": [embedder() + "    @dynamo_endpoint()\n    async def more(self): ...\n", retriever(CALL)],
    "a new endpoint with the old name for callers": [
        embedder(decorator='@dynamo_endpoint(name="embed")', name="encode"),
        retriever(CALL),
    ],
    "arguments that are spread": [
        embedder("self, text: str, model: str"),
        retriever("given = [text, text]\nreturn await self.embedder.embed(*given)"),
    ],
    "names that are computed": [embedder(name="encode"), retriever("return await getattr(self.embedder, text)(text)")],
    "a stream that is collected": [
        embedder(body="yield 'a'", returns="AsyncIterator[str]"),
        retriever("words = " + CALL[7:] + "\nreturn ' '.join(words)"),
    ],
    "one answer that is iterated": [
        embedder(returns="str"),
        retriever("async for word in self.embedder.embed(text):\n    yield word.upper()"),
    ],
    "text with digits for a number": [
        embedder("self, text: str, top_k: int"),
        retriever('return await self.embedder.embed(text, "3")'),
    ],
    "a value of an unknown type": [embedder("self, text: int"), retriever(CALL, "self, text")],
    "a name that is bound twice": [
        embedder(returns="str"),
        retriever("a = " + CALL[7:] + "\na = object()\nreturn a.vector"),
    ],
    "a field with a default": [
        REQUEST + "    model: str = 'small'\n",
        embedder(TAKES),
        retriever("return await self.embedder.embed(Request(text=text))"),
    ],
    "a field with a default factory": [
        REQUEST + "    tags: list[str] = Field(default_factory=list)\n",
        embedder(TAKES),
        retriever("return await self.embedder.embed(Request(text=text))"),
    ],
    "a model with a constructor of its own": [
        "class Request(BaseModel):\n    model: str\n    def __init__(self, **given):\n        super().__init__(model='a')\n",
        embedder(TAKES),
        retriever("return await self.embedder.embed(Request(text=text))"),
    ],
    "a field with an alias": [
        "class Request(BaseModel):\n    query: str = Field(alias='text')\n",
        embedder(TAKES),
        retriever("return await self.embedder.embed(Request(text=text))"),
    ],
    "a validator that fills fields": [
        "from pydantic import model_validator",
        (
            "class Request(BaseModel):\n    model: str\n    @model_validator(mode='before')\n    @classmethod\n"
            "    def fill(cls, data):\n        return {'model': 'a', **data}\n"
        ),
        embedder(TAKES),
        retriever("return await self.embedder.embed(Request(text=text))"),
    ],
    "a property and a method of a model": [
        ANSWER + "    @property\n    def size(self):\n        return 1\n    def norm(self):\n        return 2\n",
        embedder(returns=GIVES),
        retriever("a = " + CALL[7:] + "\nreturn a.size, a.norm(), a.model_dump(), a.vector"),
    ],
    "a model that allows more fields": [
        "class Answer(BaseModel, extra='allow'):\n    values: list[float]\n",
        embedder(returns=GIVES),
        retriever("a = " + CALL[7:] + "\nreturn a.vector"),
    ],
    "an answer that may be None": [
        ANSWER,
        embedder(returns="Answer | None"),
        retriever("a = " + CALL[7:] + "\nreturn a.other"),
    ],
    "an attribute that is replaced in the constructor": [
        embedder(name="encode"),
        retriever(CALL) + "    def __init__(self):\n        self.embedder = Local()\n",
        "class Local:\n    async def embed(self, text):\n        return text\n",
    ],
    "endpoints of a base class from a library": [
        "from somewhere import Library",
        "@service\nclass Embedder(Library):\n    pass\n",
        retriever(CALL),
    ],
    "a caller that catches the missing endpoint": [
        embedder(name="encode"),
        retriever(f"try:\n    {CALL}\nexcept AttributeError:\n    return None"),
    ],
    "a caller that asks first": [
        embedder(name="encode"),
        retriever(f"if hasattr(self.embedder, 'embed'):\n    {CALL}"),
    ],
    "a decorated endpoint": [
        "def cached(function):\n    return function\n",
        embedder("self, text: str, model: str", decorator="@dynamo_endpoint()\n    @cached"),
        retriever(CALL),
    ],
}


@pytest.mark.parametrize(("cells", "message"), BREAKS.values(), ids=BREAKS)
def test_a_certain_break_is_found(cells, message):
    assert found(*cells) == [message]


@pytest.mark.parametrize("cells", KEEPS.values(), ids=KEEPS)
def test_a_compatible_change_is_passed(cells):
    assert found(*cells) == []


def test_a_field_that_a_model_passes_over_is_noted():
    request = "class Request(BaseModel):\n    text: str\n"
    call = "return await self.embedder.embed(Request(text=text, top_k=3))"
    assert found(request, embedder(TAKES), retriever(call)) == [
        "? Retriever creates a Request with 'top_k', which this version ignores"
    ]
