import pytest

from dynamo_nb import depends, dynamo_endpoint, service
from dynamo_nb.errors import DefinitionError, DynamoError
from dynamo_nb.sdk import definition_of, dynamo_context, is_service


@service
class Bare:
    """Docs of Bare."""

    def __init__(self, suffix="!"):
        self.suffix = suffix

    @dynamo_endpoint()
    async def generate(self, text: str) -> str:
        return text + self.suffix


@service(
    dynamo={"enabled": True, "namespace": "dynamo"},
    resources={"gpu": 2, "cpu": "10", "memory": "20Gi"},
    workers=1,
)
class Full: ...


@service()
class Empty: ...


def test_the_defaults_without_parentheses():
    definition = definition_of(Bare)
    assert (definition.name, definition.namespace, definition.enabled) == ("Bare", "default", True)
    assert definition.args == {}
    assert Bare.dynamo_address() == ("default", "Bare")
    assert definition_of(Empty).args == {}


def test_the_parameters_of_the_decorator():
    assert Full.dynamo_address() == ("dynamo", "Full")
    assert Full.config == {
        "dynamo": {"enabled": True, "namespace": "dynamo"},
        "resources": {"gpu": 2, "cpu": "10", "memory": "20Gi"},
        "workers": 1,
    }
    assert (Full.name, Full.inner, Full.dependencies) == ("Full", Full, {})


def test_a_service_can_have_another_name_than_its_class():
    @service(dynamo={"name": "tokens", "namespace": "n"})
    class Tokenizer: ...

    assert Tokenizer.dynamo_address() == ("n", "tokens")
    assert Tokenizer.name == "tokens"


@pytest.mark.parametrize("gpu", [2, "2", 2.0])
def test_gpu_as_number_or_text(gpu):
    @service(resources={"gpu": gpu, "cpu": "500m", "memory": "20Gi"})
    class Sized: ...

    assert Sized.config["resources"] == {"gpu": 2, "cpu": "500m", "memory": "20Gi"}


def test_envs_as_a_list_and_as_a_mapping_are_the_same():
    @service(envs=[{"name": "A", "value": "1"}, {"name": "B", "value": 2}])
    class WithEnvs: ...

    assert WithEnvs.config["envs"] == {"A": "1", "B": "2"}


async def test_a_decorated_class_stays_a_class():
    assert isinstance(Bare, type)
    assert Bare.__name__ == "Bare"
    assert Bare.__doc__ == "Docs of Bare."
    bare = Bare(suffix="?")
    assert isinstance(bare, Bare)
    assert await bare.generate("what") == "what?"


async def test_a_decorated_subclass_is_another_service():
    @service(dynamo={"namespace": "sub"})
    class Loud(Bare):
        @dynamo_endpoint()
        async def shout(self, text: str) -> str:
            return (await self.generate(text)).upper()

    assert isinstance(Loud(), Bare)
    assert await Loud().shout("a") == "A!"
    assert set(definition_of(Loud).endpoints) == {"generate", "shout"}
    assert (Loud.name, Loud.dynamo_address(), Bare.name) == ("Loud", ("sub", "Loud"), "Bare")


def test_an_undecorated_subclass_is_not_a_service():
    class Plain(Bare): ...

    assert is_service(Bare)
    assert not is_service(Plain)
    with pytest.raises(DefinitionError, match="Plain is not a service"):
        Plain.dynamo_address()


async def test_endpoints_and_dependencies_are_inherited_from_a_mixin():
    class Mixin:
        bare = depends(Bare)

        @dynamo_endpoint()
        async def mixed(self) -> int:
            return 1

    @service
    class Mixed(Mixin): ...

    assert list(Mixed.dependencies) == ["bare"]
    assert await Mixed().mixed() == 1
    assert set(definition_of(Mixed).endpoints) == {"mixed"}


def test_members_of_the_class_have_priority_over_those_of_the_decorator():
    @service
    class Own:
        name = "mine"

        @dynamo_endpoint()
        async def config(self) -> int:
            return 1

    @service
    class Child(Own): ...

    assert (Own.name, Child.name) == ("mine", "mine")
    assert set(definition_of(Child).endpoints) == {"config"}
    assert definition_of(Child).name == "Child"


def test_the_second_of_two_decorators_counts():
    twice = service(dynamo={"namespace": "b"})(service(dynamo={"namespace": "a", "name": "First"})(type("T", (), {})))
    assert (twice.name, twice.dynamo_address()) == ("T", ("b", "T"))


def test_the_constructors_parameters_are_known():
    assert list(definition_of(Bare).parameters) == ["suffix"]
    assert definition_of(Empty).parameters == {}


def test_the_error_of_an_unknown_parameter_suggests_a_similar_one():
    with pytest.raises(DefinitionError, match=r"no parameter 'worker'[\s\S]*did you mean 'workers'\?"):
        service(worker=2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dynamo": {"namespce": "x"}}, "dynamo.namespce: unknown field 'namespce': did you mean 'namespace'"),
        ({"resources": {"gpus": 1}}, "resources.gpus: unknown field 'gpus': did you mean 'gpu'"),
        ({"resources": {"gpu": 1.5}}, "resources.gpu: .*whole number of GPUs"),
        ({"resources": {"memory": "20 gigs"}}, "resources.memory: .*quantity"),
        ({"workers": -1}, "workers: "),
        ({"workers": "many"}, "workers: "),
    ],
)
def test_the_error_of_a_wrong_parameter_has_its_path(given, message):
    with pytest.raises(DefinitionError, match=message) as caught:

        @service(**given)
        class Wrong: ...

    assert "Wrong" in caught.value.where
    assert "test_service_class.py" in caught.value.where


def test_only_classes_are_decorated():
    with pytest.raises(DefinitionError, match="decorates a class"):
        service(lambda: None)


# --- dependencies


def test_a_dependency_on_a_class_that_is_not_a_service_is_an_error():
    class Plain: ...

    with pytest.raises(DefinitionError, match=r"depends\(Plain\): not a service[\s\S]*decorate Plain"):
        depends(Plain)
    with pytest.raises(DefinitionError, match="not a service"):
        depends(3)


def test_a_dependency_can_name_a_service_that_is_defined_later():
    @service
    class Early:
        late = depends("Late")

    assert Early.dependencies["late"].target_name == "Late"


def test_the_error_of_an_unconnected_dependency_has_a_remedy():
    @service
    class Front:
        bare = depends(Bare)

    with pytest.raises(DynamoError, match=r"Front.bare is not connected[\s\S]*instance.bare = Bare\(\)"):
        _ = Front().bare


async def test_a_stand_in_replaces_a_dependency_in_a_unit_test():
    @service
    class Front:
        bare = depends(Bare)

        @dynamo_endpoint()
        async def generate(self, text: str) -> str:
            return await self.bare.generate(text)

    front = Front()
    front.bare = Bare("?")
    assert await front.generate("a") == "a?"


def test_an_attribute_of_a_subclass_hides_a_dependency():
    @service
    class Base:
        bare = depends(Bare)

    @service
    class Without(Base):
        bare = None

    assert Without.dependencies == {}


# --- the worker's context


def test_the_context_cannot_be_read_outside_a_worker():
    with pytest.raises(DynamoError, match=r"dynamo_context\['runtime'\] is not set[\s\S]*a service in a worker"):
        dynamo_context["runtime"]
    assert "runtime" not in dynamo_context
    assert dynamo_context.get("runtime") is None


def test_an_asynchronous_constructor_is_an_error():
    with pytest.raises(DefinitionError, match="__init__ is asynchronous"):

        @service
        class Backend:
            async def __init__(self):
                pass


def test_an_endpoint_method_named_link_is_an_error():
    with pytest.raises(DefinitionError, match="services use for links"):

        @service
        class Backend:
            @dynamo_endpoint()
            async def link(self):
                return 1
