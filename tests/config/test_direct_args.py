"""`--Backend.workers=2` sets `Backend.ServiceArgs.workers`, unless the class has a use for such a key itself."""

import json

import pytest

from dynamo_nb.config.arguments import arguments_layer
from dynamo_nb.config.effective import resolve
from dynamo_nb.config.layers import env_layer, mapping_layer
from dynamo_nb.config.yaml_layer import yaml_layer
from dynamo_nb.errors import ConfigError
from dynamo_nb.sdk import definition_of, service
from dynamo_nb.sdk.service_config import VARIABLE, ServiceConfig


@service(workers=3, resources={"cpu": 2}, envs={"A": "a"})
class Plain:
    def __init__(self, suffix="!"): ...


@service
class Answering:
    """It has the text of a key, and does not read its section."""

    def counts(self):
        return {"workers": 3}


@service
class Taking:
    def __init__(self, workers=1, resources=None, envs=None): ...


@service
class TakingAll:
    def __init__(self, **options): ...


@service
class Reading:
    def __init__(self):
        config = ServiceConfig.get_instance().get("Reading", {})
        self.pool = config.get("workers", 1)


@service
class Parsing:
    def __init__(self):
        self.rest = ServiceConfig.get_instance().as_args("Parsing")


def effective(*layers, of=Plain):
    return resolve([definition_of(of)], [made(layer) for layer in layers])


def made(layer):
    if isinstance(layer, str):
        return yaml_layer(layer, "c.yaml")
    return arguments_layer(layer) if isinstance(layer, list) else mapping_layer(layer, "here")


FORMS = [
    (["--Plain.workers=2"], ["--Plain.ServiceArgs.workers=2"]),
    (["--Plain.workers", "2"], ["--Plain.ServiceArgs.workers", "2"]),
    (["--Plain.resources.gpu=0.5"], ["--Plain.ServiceArgs.resources.gpu=0.5"]),
    (['--Plain.resources={"gpu": 1}'], ['--Plain.ServiceArgs.resources={"gpu": 1}']),
    (["--Plain.envs.B=1.10"], ["--Plain.ServiceArgs.envs.B=1.10"]),
    (["--Plain.envs.B=true"], ["--Plain.ServiceArgs.envs.B=true"]),
    ("Plain: {workers: 2, suffix: x}", "Plain: {ServiceArgs: {workers: 2}, suffix: x}"),
    ("Plain: {workers: 0}", "Plain: {ServiceArgs: {workers: 0}}"),
    ("Plain: {workers: }", "Plain: {ServiceArgs: {workers: }}"),
    ("Plain: {resources: {gpu: 1, memory: 1Gi}}", "Plain: {ServiceArgs: {resources: {gpu: 1, memory: 1Gi}}}"),
    ("Plain: {resources: {}}", "Plain: {ServiceArgs: {resources: {}}}"),
    ("Plain: {envs: {B: 007, C: yes}}", "Plain: {ServiceArgs: {envs: {B: 007, C: yes}}}"),
    ("Plain: {envs: [{name: B, value: 1e5}]}", "Plain: {ServiceArgs: {envs: [{name: B, value: 1e5}]}}"),
    ("Plain: {workers: 2, ServiceArgs: {image: x}}", "Plain: {ServiceArgs: {workers: 2, image: x}}"),
    ("Plain: {workers: 2, ServiceArgs: }", "Plain: {ServiceArgs: {workers: 2}}"),
    ({"Plain.workers": 2}, {"Plain.ServiceArgs.workers": 2}),
    ({"Plain": {"resources": {"gpu": 1}}}, {"Plain": {"ServiceArgs": {"resources": {"gpu": 1}}}}),
]


@pytest.mark.parametrize(("short", "full"), FORMS, ids=[str(short) for short, _ in FORMS])
def test_both_forms_result_in_the_same_configuration(short, full):
    found, expected = effective(short), effective(full)
    assert found.services["Plain"].args == expected.services["Plain"].args
    assert found.for_workers() == expected.for_workers()
    assert found.as_json() == expected.as_json()
    assert found.notes() == []
    assert found.to_yaml() == expected.to_yaml()


def test_both_forms_have_the_same_result_in_the_environment(monkeypatch):
    monkeypatch.setenv(VARIABLE, json.dumps({"Plain": {"workers": 2}}))
    assert resolve([definition_of(Plain)], [env_layer()]).services["Plain"].args.workers == 2


def test_the_table_shows_the_full_path_and_the_origin_as_written():
    config = effective(["--Plain.workers=2"])
    assert config.origins()["Plain.ServiceArgs.workers"] == "--Plain.workers"
    assert "Plain.workers" not in config.origins()


HIGH = [
    ("Plain: {ServiceArgs: {workers: 4}}", ["--Plain.workers=2"]),
    ("Plain: {workers: 4}", ["--Plain.ServiceArgs.workers=2"]),
    ("Plain: {workers: 4}", ["--Plain.workers=2"]),
    ({"Plain.ServiceArgs.workers": 4}, "Plain: {workers: 2}"),
]


@pytest.mark.parametrize(("low", "high"), HIGH, ids=str)
def test_a_higher_layer_overrides_a_lower_one_in_either_form(low, high):
    assert effective(low, high).services["Plain"].args.workers == 2


TWICE = [
    (["--Plain.workers=2", "--Plain.ServiceArgs.workers=4"], "workers", "--Plain.workers, --Plain.ServiceArgs.workers"),
    ("Plain:\n  workers: 2\n  ServiceArgs: {workers: 2}", "workers", "c.yaml:2, c.yaml:3"),
    ("Plain:\n  resources: {gpu: 1}\n  ServiceArgs: {resources: {cpu: 1}}", "resources", "c.yaml:2, c.yaml:3"),
    ({"Plain.envs": {"A": "1"}, "Plain.ServiceArgs.envs": {"B": "1"}}, "envs", "here"),
]


@pytest.mark.parametrize(("layer", "key", "origin"), TWICE, ids=[str(row[0]) for row in TWICE])
def test_one_layer_with_both_forms_is_refused(layer, key, origin):
    with pytest.raises(ConfigError) as caught:
        effective(layer)
    (problem,) = caught.value.problems
    assert problem.message == f"also written as Plain.ServiceArgs.{key}; keep one of them"
    assert (problem.path, problem.origin) == (f"Plain.{key}", origin)


@pytest.mark.parametrize("key", ["workers", "resources", "envs"])
@pytest.mark.parametrize("cls", [Taking, TakingAll])
def test_the_constructor_takes_a_key_that_it_names(cls, key):
    settings = effective([f"--{cls.__name__}.{key}=2"], of=cls).services[cls.__name__]
    assert settings.arguments() == {key: 2}
    assert settings.args.workers == 1


@pytest.mark.parametrize("cls", [Reading, Parsing])
def test_a_class_that_reads_the_key_keeps_it(cls):
    settings = effective([f"--{cls.__name__}.workers=2"], of=cls).services[cls.__name__]
    assert settings.args.workers == 1
    assert settings.extras["workers"].value == 2


def test_a_text_in_the_code_alone_does_not_read_the_key():
    assert effective(["--Answering.workers=2"], of=Answering).services["Answering"].args.workers == 2


@pytest.mark.parametrize("name", ["VllmWorker", "PrefillWorker", "EchoWorker", "Processor", "Frontend"])
def test_services_of_language_models_take_the_short_form(name):
    import dynamo_nb.llm

    cls = getattr(dynamo_nb.llm, name)
    required = ["--Processor.model=tiny"] if name == "Processor" else []
    settings = effective([f"--{name}.workers=2", *required], of=cls).services[name]
    assert settings.args.workers == 2
    assert "workers" not in settings.extras


def test_a_wrong_value_is_reported_with_the_option_that_was_written():
    with pytest.raises(ConfigError) as caught:
        effective(["--Plain.workers=many"])
    assert caught.value.problems[0].path == "Plain.ServiceArgs.workers"
    assert caught.value.problems[0].origin == "--Plain.workers"
