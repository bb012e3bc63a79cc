from collections.abc import AsyncIterator

import pytest

from dynamo_nb import DynamoTransport, abstract_endpoint, api, dynamo_api, dynamo_endpoint, endpoint, service
from dynamo_nb.errors import DefinitionError
from dynamo_nb.sdk import definition_of


def names(cls):
    return {e.name: e.attribute for e in definition_of(cls).endpoints.values()}


def test_an_endpoint_has_the_name_of_its_method_or_its_own():
    @service
    class Named:
        @dynamo_endpoint()
        async def a(self): ...

        @dynamo_endpoint
        async def b(self): ...

        @dynamo_endpoint(name="see")
        async def c(self): ...

        @dynamo_endpoint("dee")
        async def d(self): ...

        async def helper(self): ...

    assert names(Named) == {"a": "a", "b": "b", "see": "c", "dee": "d"}


def test_the_aliases_are_the_same_function():
    assert endpoint is dynamo_endpoint
    assert api is dynamo_api


def test_transports():
    @service
    class Both:
        @api()
        def web(self): ...

        @api
        async def bare(self): ...

        @api(http_method="get")
        async def read(self): ...

        @endpoint(transports=[DynamoTransport.HTTP])
        async def long(self): ...

        @endpoint(transports=[DynamoTransport.DEFAULT, DynamoTransport.HTTP])
        async def everywhere(self): ...

        @endpoint()
        async def inner(self): ...

    endpoints = definition_of(Both).endpoints
    assert {n for n, e in endpoints.items() if e.served} == {"everywhere", "inner"}
    assert {n for n, e in endpoints.items() if DynamoTransport.HTTP in e.transports} == set(endpoints) - {"inner"}
    assert {n: e.http_method for n, e in endpoints.items() if e.http_method != "POST"} == {"read": "GET"}


def test_a_method_with_yield_is_a_stream():
    @service
    class Kinds:
        @endpoint()
        async def one(self):
            return 1

        @endpoint()
        async def several(self):
            yield 1

    assert {n: e.stream for n, e in definition_of(Kinds).endpoints.items()} == {"one": False, "several": True}


def test_an_endpoint_has_to_be_asynchronous():
    with pytest.raises(
        DefinitionError, match=r"generate is not asynchronous[\s\S]*test_endpoints.py:\d+[\s\S]*async def"
    ):

        class Wrong:
            @endpoint()
            def generate(self): ...


def test_an_endpoint_is_decorated_once():
    with pytest.raises(
        DefinitionError, match=r"say is decorated twice\n  where: .*test_endpoints.py:\d+\n  hint: decorate it once"
    ):

        class Twice:
            @dynamo_api()
            @endpoint()
            async def say(self): ...


def test_two_endpoints_with_the_same_name_are_an_error():
    with pytest.raises(DefinitionError, match="two endpoints of Twice are named 'generate': generate and again"):

        @service
        class Twice:
            @endpoint()
            async def generate(self): ...

            @endpoint(name="generate")
            async def again(self): ...


class Base:
    @endpoint(name="gen", retry=False)
    async def generate(self):
        return "base"


async def test_a_plain_override_is_the_same_endpoint():
    @service
    class Derived(Base):
        async def generate(self):
            return "derived of " + await super().generate()

    assert names(Derived) == {"gen": "generate"}
    assert definition_of(Derived).endpoints["gen"].retry is False
    assert await Derived().generate() == "derived of base"


async def test_an_override_in_an_intermediate_class_is_the_same_endpoint():
    class Between(Base):
        async def generate(self):
            return "between"

    @service
    class Derived(Between): ...

    assert names(Derived) == {"gen": "generate"}
    assert await Derived().generate() == "between"
    assert await Between().generate() == "between"


def test_the_nearest_base_determines_what_an_override_is():
    @service
    class Nearer(Base):
        @endpoint(name="near")
        async def generate(self): ...

    @service
    class Derived(Nearer):
        async def generate(self): ...

    assert names(Derived) == {"near": "generate"}


def test_an_override_can_take_another_name():
    @service
    class Derived(Base):
        @endpoint(name="other")
        async def generate(self): ...

    assert names(Derived) == {"other": "generate"}


def test_an_override_without_annotations_inherits_them():
    class Typed:
        @endpoint()
        async def items(self, many: int, word: str = "") -> AsyncIterator[list[int]]:
            yield [many]

        @endpoint()
        async def one(self, many: int) -> list[int]:
            return [many]

    @service
    class Derived(Typed):
        async def items(self, many, word: bytes = b""):
            async for item in super().items(many):
                yield item

        @endpoint()
        async def one(self, many):
            yield "an item of a stream is not the answer that was"

    items, one = (definition_of(Derived).endpoints[name] for name in ("items", "one"))
    assert (items.inputs["many"].annotation, items.inputs["word"].annotation) == (int, bytes)
    assert items.output.annotation == list[int]
    assert one.inputs["many"].annotation is int
    assert one.output.free


def test_an_endpoint_can_be_removed():
    @service
    class Without(Base):
        generate = None

    assert names(Without) == {}


def test_an_abstract_endpoint_must_be_asynchronous():
    with pytest.raises(DefinitionError, match="not asynchronous"):
        abstract_endpoint(lambda self: None)


def test_the_schema_of_an_endpoint():
    @service
    class Described:
        @endpoint()
        async def generate(self, text: str, count: int = 1, *rest: int) -> list[str]: ...

    assert definition_of(Described).endpoints["generate"].schema() == {
        "input": {
            "type": "object",
            "properties": {"text": {"type": "string"}, "count": {"type": "integer"}, "rest": {"type": "integer"}},
            "required": ["text"],
        },
        "output": {"type": "array", "items": {"type": "string"}},
    }
