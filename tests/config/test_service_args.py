import inspect
from typing import get_overloads

import pytest
from pydantic import ValidationError

from dynamo_nb.errors import DefinitionError
from dynamo_nb.sdk.service import service
from dynamo_nb.sdk.service_args import ServiceArgs, checked_args


def test_the_fields_are_the_parameters_of_the_decorator():
    _, with_parameters = get_overloads(service)
    assert set(inspect.signature(with_parameters).parameters) == {*ServiceArgs.model_fields, "app", "unknown"}


@pytest.mark.parametrize(
    ("given", "gpu"), [(2, 2), ("2", 2), (2.0, 2), (0, 0), (0.5, 0.5), ("0.5", 0.5)], ids=lambda v: repr(v)
)
def test_gpus_are_whole_or_a_share_below_one(given, gpu):
    found = ServiceArgs.model_validate({"resources": {"gpu": given}}).resources.gpu
    assert (found, type(found)) == (gpu, type(gpu))


@pytest.mark.parametrize("given", [-1, 1.5, "two", True, None, [1]], ids=repr)
def test_other_gpus_are_rejected(given):
    with pytest.raises(ValidationError, match="whole number of GPUs, or a share below 1"):
        ServiceArgs.model_validate({"resources": {"gpu": given}})


QUANTITIES = {2: "2", 0.5: "0.5"} | {text: text for text in ["10", "500m", "0.5", "20Gi", "1k", "1.5G", "2e3", " 3 "]}


@pytest.mark.parametrize("given", QUANTITIES, ids=repr)
def test_quantities_of_kubernetes_become_text(given):
    resources = ServiceArgs.model_validate({"resources": {"cpu": given, "memory": given}}).resources
    assert (resources.cpu, resources.memory) == (QUANTITIES[given].strip(), QUANTITIES[given].strip())


@pytest.mark.parametrize("given", ["", "20GB", "-1", "1 Gi", "Gi", "nan", "inf", float("nan"), True, [1]], ids=repr)
@pytest.mark.parametrize("field", ["cpu", "memory"])
def test_other_quantities_are_rejected(given, field):
    with pytest.raises(ValidationError, match="should be a quantity such as 2, '500m' or '20Gi'"):
        ServiceArgs.model_validate({"resources": {field: given}})


def test_quantities_are_optional():
    assert (ServiceArgs().resources.cpu, ServiceArgs().resources.memory) == (None, None)


@pytest.mark.parametrize("envs", [{"A": 1, "B": True}, [{"name": "A", "value": 1}, {"name": "B", "value": True}]])
def test_envs_are_texts_by_name(envs):
    assert checked_args({"envs": envs}, "here") == {"envs": {"A": "1", "B": "true"}}


def test_only_the_given_parameters_are_returned():
    assert checked_args({"dynamo": {"namespace": "x"}}, "here") == {"dynamo": {"namespace": "x"}}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"wrkers": 1}, "wrkers: unknown field 'wrkers': did you mean 'workers'?"),
        ({"dynamo": {"namespce": "x"}}, "dynamo.namespce: unknown field 'namespce': did you mean 'namespace'?"),
        ({"resources": {"gpus": 1}}, "resources.gpus: unknown field 'gpus': did you mean 'gpu'?"),
        ({"resources": 3}, "resources: should be a mapping, not 3"),
        ({"workers": -1}, "workers: should be greater than or equal to 0, not -1"),
        ({"workers": True}, "workers: should be a whole number, not True"),
        ({"workers": "many"}, "workers: should be a valid integer"),
        ({"resources": {"memory": "20GB"}}, "resources.memory: should be a quantity"),
        ({"resources": {"cpu": True}}, "resources.cpu: should be a quantity"),
        ({"envs": {"A": None}}, "envs.A: should be a valid string, not None"),
        ({"envs": "A=1"}, "envs: should be a mapping, or a list of name/value pairs, not 'A=1'"),
        ({"envs": [{"A": 1}]}, "envs: should be a mapping, or a list of name/value pairs"),
        ({"dynamo": {"namespace": ""}}, "dynamo.namespace: string should have at least 1 character"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_a_fault_has_the_name_of_the_field(args, message):
    with pytest.raises(DefinitionError) as caught:
        checked_args(args, "@service of Backend, cell 4")
    assert message.lower() in str(caught.value).lower()
    assert caught.value.where == "@service of Backend, cell 4"


def test_the_error_lists_all_faults():
    with pytest.raises(DefinitionError, match=r"gpu: .*; workers: "):
        checked_args({"workers": -1, "resources": {"gpu": -1}}, "here")
