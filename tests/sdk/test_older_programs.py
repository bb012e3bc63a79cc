"""Programs of the Dynamo SDK's releases 0.1 to 0.3.2: their names and parameters, through `dynamo.sdk`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dynamo.sdk import (
    AbstractDynamoService,
    ComponentType,
    DynamoTransport,
    LeaseConfig,
    ServiceConfig,
    abstract_dynamo_endpoint,
    depends,
    dynamo_endpoint,
    service,
)
from dynamo.sdk.core.protocol.interface import ComponentType as LaterComponentType
from dynamo_nb.errors import DefinitionError
from dynamo_nb.runtime.client import Client
from dynamo_nb.sdk import definition_of
from dynamo_nb.sdk.service_config import VARIABLE

EXTENSION = Path(__file__).parents[2] / "extensions" / "dynamo_sdk"


@pytest.mark.parametrize("gpu", [0, 2, "1"])
def test_resource_is_resources(gpu):
    with pytest.warns(FutureWarning, match=r"called `resources` today \(.*test_older_programs.py") as caught:
        cls = service(resource={"gpu": gpu, "cpu": "1"}, traffic={"timeout": 30})(type("Old", (), {}))
    assert caught[0].filename == __file__
    assert definition_of(cls).args["resources"] == {"gpu": int(gpu), "cpu": "1"}


def test_resource_and_resources_are_an_error():
    with pytest.raises(DefinitionError, match="both `resource` and `resources`"):
        service(resource={"gpu": 1}, resources={"gpu": 1})


def test_a_wrong_resource_is_still_an_error():
    with (
        pytest.warns(FutureWarning),
        pytest.raises(DefinitionError, match=r"resources\.gpus: unknown field"),
    ):
        service(resource={"gpus": 1})(type("Old", (), {}))


def test_system_app_is_remarked():
    with pytest.warns(FutureWarning, match=r"system_app=…\) has no effect"):
        service(system_app=object())(type("Old", (), {}))


def test_an_endpoint_that_is_an_api():
    with pytest.warns(FutureWarning, match=r"written @dynamo_api\(\) today \(.*test_older_programs.py") as caught:

        class Old:
            @dynamo_endpoint(is_api=True)
            async def generate(self, text: str): ...

            @dynamo_endpoint(name="v1/chat", is_api=True, http_method="PUT")
            def chat(self, text: str): ...

            @dynamo_endpoint(is_api=False)
            async def other(self, text: str): ...

    assert {one.filename for one in caught} == {__file__}
    assert Old.generate.transports == Old.chat.transports == {DynamoTransport.HTTP}
    assert (Old.chat.name, Old.chat.http_method) == ("v1/chat", "PUT")
    assert Old.other.transports == {DynamoTransport.DEFAULT}


def test_an_interface_by_its_older_names():
    class Interface(AbstractDynamoService):
        @abstract_dynamo_endpoint
        async def count(self, text: str) -> int: ...

    with pytest.raises(DefinitionError, match="count"):
        service(type("Incomplete", (Interface,), {}))

    @service
    class Complete(Interface):
        @dynamo_endpoint()
        async def count(self, text: str) -> int:
            return len(text)

    assert set(definition_of(Complete).endpoints) == {"count"}


@pytest.mark.parametrize("lease", [LeaseConfig(ttl=3), {"ttl": 3}])
@pytest.mark.parametrize("kind", [ComponentType.PLANNER, "planner", LaterComponentType.PLANNER])
def test_parameters_of_dynamo(kind, lease):
    cls = service(dynamo={"namespace": "x", "component_type": kind, "custom_lease": lease})(type("Old", (), {}))
    args = json.loads(json.dumps(definition_of(cls).args))
    assert args == {"dynamo": {"namespace": "x", "component_type": "planner", "custom_lease": {"ttl": 3}}}


@pytest.mark.parametrize("lease", [{"ttl": 0}, {"tll": 1}, 3])
def test_a_wrong_lease_is_an_error(lease):
    with pytest.raises(DefinitionError, match="custom_lease"):
        service(dynamo={"custom_lease": lease})(type("Old", (), {}))


def test_the_target_of_a_dependency_is_on():
    @service
    class Backend: ...

    @service
    class Frontend:
        backend = depends(Backend)

    assert Frontend.dependencies["backend"].on is Backend


def test_the_parsed_config_of_a_service(monkeypatch):
    data = {"Common": {"model": "m"}, "Planner": {"common-configs": ["model"], "interval": 3}}
    monkeypatch.setenv(VARIABLE, json.dumps(data))
    found = ServiceConfig.get_parsed_config("Planner")
    assert (found["model"], found["interval"]) == ("m", 3)
    assert ServiceConfig.get_parsed_config("Absent") == {}


@pytest.mark.parametrize(
    ("old", "today"), [("endpoint_ids", "instance_ids"), ("wait_for_endpoints", "wait_for_instances")]
)
def test_older_names_of_the_methods_of_a_client(old, today):
    assert getattr(Client, old) is getattr(Client, today)


@pytest.mark.parametrize(
    ("level", "expected"), [("", "INFO"), ("debug", "DEBUG"), ("error", "ERROR"), ("odd=x", "INFO")]
)
def test_logging_can_be_configured_without_the_runtime_package(level, expected):
    code = (
        "from dynamo.runtime.logging import configure_dynamo_logging as configure; import logging; "
        "configure(service_name='A', worker_id=1); print(logging.getLevelName(logging.getLogger().level))"
    )
    environ = {"PYTHONPATH": str(EXTENSION)} | ({"DYN_LOG": level} if level else {})
    command = [sys.executable, "-S", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    assert (done.stdout.strip(), done.stderr) == (expected, "")


def test_the_runtime_package_comes_first_where_it_is_installed():
    code = "import dynamo.runtime; print(dynamo.runtime.DistributedRuntime.__module__)"
    environ = {"PYTHONPATH": str(EXTENSION)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environ)
    assert done.returncode == 0, done.stderr
