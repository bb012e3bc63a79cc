import sys
from collections.abc import AsyncIterator
from types import ModuleType

import pytest

from dynamo_nb import AbstractService, Graph, abstract_endpoint, depends, dynamo_endpoint, service
from dynamo_nb.errors import DefinitionError, LinkError
from dynamo_nb.sdk import definition_of, is_service


class Generator(AbstractService):
    @abstract_endpoint
    async def generate(self, text: str) -> str: ...

    @abstract_endpoint
    async def count(self) -> int: ...


@service
class Real(Generator):
    @dynamo_endpoint()
    async def generate(self, text: str) -> str:
        return text

    @dynamo_endpoint()
    async def count(self) -> int:
        return 1


@service
class Other:
    @dynamo_endpoint()
    async def generate(self, text: str) -> str:
        return text


@service
class User:
    generator = depends(Generator)


@service
class Choosy:
    generator = depends(Generator, optional=True)
    other = depends(Other, optional=True)


class Streaming(AbstractService):
    @abstract_endpoint
    async def generate(self, many: int) -> AsyncIterator[int]: ...


def test_an_implementation_without_annotations_inherits_those_of_the_interface():
    @service
    class Bare(Streaming):
        async def generate(self, many):
            yield many

    endpoint = definition_of(Bare).endpoints["generate"]
    assert endpoint.stream
    assert (endpoint.inputs["many"].annotation, endpoint.output.annotation) == (int, int)


def test_the_error_of_an_unfilled_interface_names_an_imported_module_that_fills_it():
    module = ModuleType("linked_elsewhere")
    vars(module).update(User=User, Real=Real)
    exec("User.link(Real)", vars(module))
    sys.modules[module.__name__] = module
    try:
        with pytest.raises(LinkError, match="no link fills it") as raised:
            Graph.of(User, {"User": User})
    finally:
        del sys.modules[module.__name__]
    assert "dynamo serve linked_elsewhere" in raised.value.remedy
    assert "User.link(Real)" in raised.value.remedy


def test_an_optional_dependency_is_inactive_without_a_link():
    graph = Graph.of(Choosy, {})
    assert graph.running == ("Choosy",)
    assert graph.bindings("Choosy") == {"generator": None, "other": None}
    namespace = {"Choosy": Choosy, "Real": Real}
    exec("Choosy.link(Real)", namespace)
    assert Graph.of(Choosy, namespace).bindings("Choosy") == {"generator": "Real", "other": None}


async def test_an_implementation_has_the_endpoints_of_the_interface():
    assert set(definition_of(Real).endpoints) == {"generate", "count"}
    assert not any(e.abstract for e in definition_of(Real).endpoints.values())
    assert await Real().generate("a") == "a"
    assert not is_service(Generator)


def test_a_missing_endpoint_is_an_error_when_the_class_is_defined():
    with pytest.raises(DefinitionError, match="Half does not implement count of its interface"):

        @service
        class Half(Generator):
            @dynamo_endpoint()
            async def generate(self, text: str) -> str:
                return text


def test_plain_methods_implement_an_interface():
    @service
    class Plain(Generator):
        async def generate(self, text: str) -> str:
            return text

        async def count(self) -> int:
            return 1

    assert set(definition_of(Plain).endpoints) == {"generate", "count"}


def test_a_method_of_another_name_can_implement_an_endpoint():
    @service
    class Renamed(Generator):
        @dynamo_endpoint(name="generate")
        async def make(self, text: str) -> str:
            return text

        @dynamo_endpoint()
        async def count(self) -> int:
            return 1

    assert set(definition_of(Renamed).endpoints) == {"generate", "count"}


def test_a_link_fills_an_interface():
    namespace = {"User": User, "Real": Real}
    exec("User.link(Real)", namespace)
    graph = Graph.of(User, namespace)
    assert graph.running == ("Real", "User")
    assert graph.bindings("User") == {"generator": "Real"}


def test_an_interface_without_an_implementation_is_an_error():
    with pytest.raises(LinkError, match=r"User.generator depends on the interface Generator[\s\S]*User.link\(…\)"):
        Graph.of(User, {})


def test_a_service_that_does_not_implement_the_interface_cannot_be_linked():
    with pytest.raises(LinkError, match=r"User does not depend on Other; its dependencies: Generator \(as generator\)"):
        exec("User.link(Other)", {"User": User, "Other": Other})


def test_the_error_of_a_link_names_the_service_between():
    @service
    class Between(Generator):
        real = depends(Other)

        async def generate(self, text):
            return text

        async def count(self):
            return 1

    with pytest.raises(LinkError) as raised:
        exec("User.link(Other)", {"User": User, "Other": Other})
    assert "User.link(Between).link(Other)" in raised.value.remedy
