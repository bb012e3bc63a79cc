import json
from enum import Enum
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel, Field

from dynamo_nb.config.arguments import arguments_layer
from dynamo_nb.config.constructor import constructor_arguments
from dynamo_nb.config.effective import resolve
from dynamo_nb.config.layers import env_layer, mapping_layer
from dynamo_nb.config.yaml_layer import yaml_layer
from dynamo_nb.errors import ConfigError, Problem
from dynamo_nb.sdk import definition_of, service
from dynamo_nb.sdk.service_config import VARIABLE, ServiceConfig


class Level(Enum):
    LOW = "low"


class Limits(BaseModel):
    tokens: int


@service(dynamo={"enabled": True, "namespace": "default"}, resources={"gpu": 1, "cpu": "4"}, workers=1)
class LLMService:
    def __init__(self, model_name="gpt-2", temperature=0.7, max_tokens=1024):
        config = ServiceConfig.get_instance()
        service_config = config.get("LLMService", {})
        self.cache_size = service_config.get("cache_size", 1000)
        self.use_kv_cache = service_config.get("use_kv_cache", True)
        self.given = (model_name, temperature, max_tokens)


@service
class Typed:
    def __init__(
        self,
        key: str,
        level: Level = Level.LOW,
        folder: Path | None = None,
        limits: Limits | None = None,
        share: Annotated[float, Field(gt=0)] = 0.5,
        note: str = None,  # noqa: RUF013
        options={"a": 1, "b": 2},  # noqa: B006
        flag=False,
        free=None,
    ): ...


@service
class Open:
    def __init__(self, model="m", **options: int): ...


@service(envs={"A": "1", "B": "1"}, labels={"x": "y"})
class Plain: ...


PROD = """\
LLMService:
  ServiceArgs:
    dynamo:
      namespace: "prod"
    resources:
      gpu: 4
      memory: "64Gi"
    workers: 8

  model_name: "llama-3-70b-instruct"
  temperature: 0.8
  max_tokens: 2048

  cache_size: 10000
  use_kv_cache: true
"""


def effective(*layers, of=(LLMService,), **options):
    """The effective configuration of YAML texts, mappings and argument lists, lowest first."""
    merged = [
        yaml_layer(layer, "c.yaml")
        if isinstance(layer, str)
        else arguments_layer(layer)
        if isinstance(layer, list)
        else mapping_layer(layer, "here")
        for layer in layers
    ]
    return resolve([definition_of(cls) for cls in of], merged, **options)


def problems(*layers, **options):
    with pytest.raises(ConfigError) as caught:
        effective(*layers, **options)
    return caught.value.problems


def test_the_complete_example_of_the_document(monkeypatch):
    config = effective(PROD, ["--LLMService.temperature=0.9"])
    settings = config.services["LLMService"]
    assert settings.args.dynamo.namespace == "prod"
    assert settings.args.resources.gpu == 4
    assert settings.args.workers == 8
    assert settings.arguments() == {"model_name": "llama-3-70b-instruct", "temperature": 0.9, "max_tokens": 2048}
    assert {key: value.value for key, value in settings.extras.items()} == {"cache_size": 10000, "use_kv_cache": True}

    monkeypatch.setenv(VARIABLE, json.dumps(config.for_workers()))
    worker = LLMService(**constructor_arguments(definition_of(LLMService)))
    assert worker.given == ("llama-3-70b-instruct", 0.9, 2048)
    assert (worker.cache_size, worker.use_kv_cache) == (10000, True)
    assert LLMService.dynamo_address() == ("prod", "LLMService")


def test_every_value_has_its_origin():
    config = effective(PROD, {"LLMService.max_tokens": 1}, ["--LLMService.temperature=0.9"], namespace="copy")
    rows = config.rows()
    decorator = f"@service, {definition_of(LLMService).origin}"
    assert rows == [
        ("LLMService.ServiceArgs.dynamo.enabled", True, decorator),
        ("LLMService.ServiceArgs.dynamo.namespace", "copy", "--namespace"),
        ("LLMService.ServiceArgs.resources.gpu", 4, "c.yaml:6"),
        ("LLMService.ServiceArgs.resources.cpu", "4", decorator),
        ("LLMService.ServiceArgs.resources.memory", "64Gi", "c.yaml:7"),
        ("LLMService.ServiceArgs.workers", 8, "c.yaml:8"),
        ("LLMService.model_name", "llama-3-70b-instruct", "c.yaml:10"),
        ("LLMService.temperature", 0.9, "--LLMService.temperature"),
        ("LLMService.max_tokens", 1, "here"),
        ("LLMService.cache_size", 10000, "c.yaml:14"),
        ("LLMService.use_kv_cache", True, "c.yaml:15"),
    ]
    assert config.origins()["LLMService.temperature"] == "--LLMService.temperature"
    assert config.services["LLMService"].origin("ServiceArgs.workers") == "c.yaml:8"
    with pytest.raises(KeyError):
        config.services["LLMService"].origin("absent")


def test_without_layers_decorator_and_constructor_count():
    config = effective()
    settings = config.services["LLMService"]
    assert (settings.args.workers, settings.args.resources.gpu) == (1, 1)
    assert settings.arguments() == {}
    assert {key: value.value for key, value in settings.parameters.items()} == {
        "model_name": "gpt-2",
        "temperature": 0.7,
        "max_tokens": 1024,
    }
    assert config.origins()["LLMService.temperature"] == "constructor default"
    assert effective(of=[Plain]).origins()["Plain.ServiceArgs.workers"] == "default"


@pytest.mark.parametrize(
    ("layers", "path", "value"),
    [
        ([PROD, ["--LLMService.ServiceArgs.workers=2"]], ("resources", "memory"), "64Gi"),
        ([PROD, "LLMService: {ServiceArgs: {resources: {gpu: 2}}}"], ("resources", "gpu"), 2),
        ([PROD, "LLMService: {ServiceArgs: {resources: }}"], ("resources", "gpu"), 4),
        ([PROD, "LLMService: {ServiceArgs: }"], ("workers",), 8),
        ([PROD, "LLMService: "], ("workers",), 8),
    ],
)
def test_a_layer_keeps_the_keys_that_it_does_not_name(layers, path, value):
    found = effective(*layers).services["LLMService"].args
    for step in path:
        found = getattr(found, step)
    assert found == value


def test_envs_of_the_decorator_are_overridden_one_by_one():
    args = effective(
        "Plain: {ServiceArgs: {envs: [{name: B, value: 007}]}}", ["--Plain.ServiceArgs.envs.C=1"], of=[Plain]
    )
    assert args.services["Plain"].args.envs == {"A": "1", "B": "007", "C": "1"}


def test_yaml_overrides_the_variable(monkeypatch):
    monkeypatch.setenv(VARIABLE, '{"LLMService": {"temperature": 0.1, "max_tokens": 5}}')
    config = resolve([definition_of(LLMService)], [env_layer(), yaml_layer(PROD, "c.yaml")])
    assert config.services["LLMService"].arguments()["temperature"] == 0.8
    assert config.services["LLMService"].arguments()["max_tokens"] == 2048


def test_the_namespace_option_applies_to_every_service():
    config = effective(PROD, of=[LLMService, Plain], known=["Elsewhere"], namespace="copy")
    assert {settings.args.dynamo.namespace for settings in config.services.values()} == {"copy"}
    assert config.for_workers()["Elsewhere"]["ServiceArgs"]["dynamo"]["namespace"] == "copy"


# --- Common

COMMON = "Common: {model: m, block-size: 64, kv: {a: 1, b: 1}, max_tokens: 7}\n"


def test_a_service_gets_the_keys_of_common_to_which_it_subscribes():
    config = effective(COMMON, "Open: {common-configs: [model, block-size]}", of=[Open, LLMService])
    assert config.services["Open"].arguments() == {"model": "m", "block_size": 64}
    assert config.services["Open"].origin("block-size") == "c.yaml:1"
    assert "max_tokens" not in config.services["LLMService"].arguments()
    assert ServiceConfig(config.for_workers()).as_args("Open") == ["--model", "m", "--block-size", "64"]
    assert config.for_workers()["Common"]["block-size"] == 64


@pytest.mark.parametrize("own", ["max_tokens", "max-tokens"])
def test_a_services_own_value_overrides_common_from_any_layer(own):
    config = effective(f"LLMService: {{common-configs: [max_tokens], {own}: 9}}", COMMON)
    assert config.services["LLMService"].arguments() == {"max_tokens": 9}


def test_a_mapping_is_merged_over_the_one_in_common():
    config = effective(COMMON, "Typed: {key: k, common-configs: [kv], kv: {b: 2}}", of=[Typed])
    assert config.services["Typed"].extras["kv"].value == {"a": 1, "b": 2}
    assert ServiceConfig(config.for_workers())["Typed"]["kv"] == {"a": 1, "b": 2}


# --- constructors


def test_values_are_converted_to_the_annotated_types():
    text = "Typed: {key: k, level: low, folder: /x, limits: {tokens: 3}, share: 1, note: , options: {b: 3}}"
    config = effective(text, of=[Typed])
    expected = {
        "key": "k",
        "level": Level.LOW,
        "folder": Path("/x"),
        "limits": Limits(tokens=3),
        "share": 1.0,
        "note": None,
        "options": {"a": 1, "b": 3},
    }
    assert config.services["Typed"].arguments() == expected
    assert constructor_arguments(definition_of(Typed), json.loads(json.dumps(config.for_workers()))) == expected
    assert config.services["Typed"].origin("options.a") == "constructor default"
    assert config.as_json()["Typed"]["level"] == "low"
    json.dumps(config.as_json())


def test_hyphens_reach_the_parameter_and_stay_readable():
    config = effective("LLMService: {model-name: x}")
    assert config.services["LLMService"].arguments() == {"model_name": "x"}
    assert config.for_workers()["LLMService"]["model-name"] == "x"
    assert config.origins()["LLMService.model-name"] == config.services["LLMService"].origin("model_name") == "c.yaml:1"


def test_a_constructor_with_kwargs_gets_every_key():
    config = effective("Open: {model: x, block-size: 3}", of=[Open])
    assert config.services["Open"].arguments() == {"model": "x", "block_size": 3}
    assert config.services["Open"].extras == {}


@pytest.mark.parametrize("value", ["1", "2.5"])
def test_integers_and_floats_are_interchangeable(value):
    assert effective(["--LLMService.max_tokens", value]).services["LLMService"].arguments() == {
        "max_tokens": float(value)
    }


def test_a_worker_reports_the_faults_of_its_variable(monkeypatch):
    monkeypatch.setenv(VARIABLE, '{"LLMService": {"temperature": "hot"}}')
    with pytest.raises(ConfigError, match=r"LLMService.temperature: .*  \(DYNAMO_SERVICE_CONFIG\)"):
        constructor_arguments(definition_of(LLMService))


def test_a_class_without_constructor_has_no_parameters():
    assert constructor_arguments(definition_of(Plain), {"Plain": {"k": 1}}) == {}


def test_an_annotation_that_cannot_be_evaluated_allows_anything():
    @service
    class Odd:
        def __init__(self, a: "Nowhere", b: int = 1): ...  # noqa: F821

    assert effective("Odd: {a: [1], b: 2}", of=[Odd]).services["Odd"].arguments() == {"a": [1], "b": 2}


# --- faults

AN = {"of": (LLMService,)}


@pytest.mark.parametrize(
    ("layer", "options", "expected"),
    [
        (
            "LMService: {k: 1}",
            AN,
            ("unknown service 'LMService': did you mean 'LLMService'?", "LMService", "c.yaml:1"),
        ),
        ("Other:", AN, ("unknown service 'Other': known are Common, LLMService", "Other", "c.yaml:1")),
        (
            ["--LLMService.ServiceArgs.wrokers=2"],
            AN,
            (
                "unknown field 'wrokers': did you mean 'workers'?",
                "LLMService.ServiceArgs.wrokers",
                "--LLMService.ServiceArgs.wrokers",
            ),
        ),
        (
            "LLMService:\n  ServiceArgs:\n    resources:\n      gpu: lots",
            AN,
            (
                "should be a whole number of GPUs, or a share below 1 such as 0.5, not 'lots'",
                "LLMService.ServiceArgs.resources.gpu",
                "c.yaml:4",
            ),
        ),
        ("LLMService: {ServiceArgs: 3}", AN, ("should be a mapping, not 3", "LLMService.ServiceArgs", "c.yaml:1")),
        (
            "LLMService:\n  temperature: hot",
            AN,
            (
                "should be a number like its default 0.7, not 'hot'; annotate the parameter to allow other types",
                "LLMService.temperature",
                "c.yaml:2",
            ),
        ),
        (
            ["--LLMService.model-name=[1]"],
            AN,
            (
                "should be text like its default 'gpt-2', not [1]; annotate the parameter to allow other types",
                "LLMService.model-name",
                "--LLMService.model-name",
            ),
        ),
        (
            {"Typed": {"key": "k", "flag": 1}},
            {"of": [Typed]},
            (
                "should be true or false like its default False, not 1; annotate the parameter to allow other types",
                "Typed.flag",
                "here",
            ),
        ),
        (
            {"LLMService.temperature": True},
            AN,
            (
                "should be a number like its default 0.7, not True; annotate the parameter to allow other types",
                "LLMService.temperature",
                "here",
            ),
        ),
        (
            "Typed: {key: k, share: -1}",
            {"of": [Typed]},
            ("Input should be greater than 0, not -1", "Typed.share", "c.yaml:1"),
        ),
        (
            "Open: {top_p: many}",
            {"of": [Open]},
            (
                "Input should be a valid integer, unable to parse string as an integer, not 'many'",
                "Open.top_p",
                "c.yaml:1",
            ),
        ),
        (
            {},
            {"of": [Typed]},
            (
                "the constructor needs 'key', and no layer sets it; set `key:` under `Typed:` in YAML, or --Typed.key=VALUE",
                "Typed.key",
                "",
            ),
        ),
        (
            "LLMService:\n  model-name: a\n  model_name: b",
            AN,
            (
                "written as 'model-name' and as 'model_name'; keep one of them",
                "LLMService.model_name",
                "c.yaml:2, c.yaml:3",
            ),
        ),
        (
            "Common: {model: m}\nLLMService:\n  common-configs: [modle]",
            AN,
            ("Common has no key 'modle': did you mean 'model'?", "LLMService.common-configs", "c.yaml:3"),
        ),
        (
            "LLMService: {common-configs: [a]}",
            AN,
            ("Common has no key 'a': there are none", "LLMService.common-configs", "c.yaml:1"),
        ),
        (
            "LLMService: {common-configs: model}",
            AN,
            ("should be a list of keys of Common", "LLMService.common-configs", "c.yaml:1"),
        ),
        (
            "LLMService: {temperatur: 0.5}",
            AN,
            (
                "nothing in LLMService reads 'temperatur': did you mean 'temperature'?",
                "LLMService.temperatur",
                "c.yaml:1",
            ),
        ),
        (
            "LLMService: {service_args: {workers: 2}}",
            AN,
            (
                "nothing in LLMService reads 'service_args': did you mean 'ServiceArgs'?",
                "LLMService.service_args",
                "c.yaml:1",
            ),
        ),
        (
            "LLMService: {common_configs: [a]}",
            AN,
            (
                "nothing in LLMService reads 'common_configs': did you mean 'common-configs'?",
                "LLMService.common_configs",
                "c.yaml:1",
            ),
        ),
        (
            "Common: {workers: 2}\nLLMService: {common-configs: [workers]}",
            AN,
            (
                "nothing in LLMService reads 'workers': did you mean 'ServiceArgs.workers'?",
                "LLMService.workers",
                "c.yaml:1",
            ),
        ),
        (
            {},
            AN | {"namespace": ""},
            (
                "string should have at least 1 character, not ''",
                "LLMService.ServiceArgs.dynamo.namespace",
                "--namespace",
            ),
        ),
    ],
    ids=lambda v: v[0][:40] if isinstance(v, tuple) else "",
)
def test_a_fault_has_message_path_and_origin(layer, options, expected):
    assert problems(layer, **options) == (Problem(*expected),)


def test_all_faults_are_collected():
    found = problems(
        "Nobody: {k: 1}\nLLMService: {temperature: hot, ServiceArgs: {workers: -1}}\nTyped: {}", of=[LLMService, Typed]
    )
    assert [problem.path for problem in found] == [
        "Nobody",
        "LLMService.ServiceArgs.workers",
        "LLMService.temperature",
        "Typed.key",
    ]


def test_a_positional_only_parameter_cannot_be_configured():
    @service
    class Positional:
        def __init__(self, a, /): ...

    assert "positional-only" in problems(of=[Positional])[0].message


def test_a_similar_key_is_right_if_it_is_read_or_the_parameter_is_set():
    @service
    class Reader:
        def __init__(self, temperature=0.5):
            self.other = ServiceConfig.get_instance().get("Reader", {}).get("temperatures")

    @service
    class Library:
        def __init__(self, max_token=1):
            self.rest = ServiceConfig.get_instance().as_args("Library")

    effective("Reader: {temperatures: [1]}", of=[Reader])
    effective("Library: {max_tokens: 1}", of=[Library])
    effective("LLMService: {temperature: 1, temperatures: [1]}")


def test_the_recorded_source_of_a_cell_is_read_too():
    Typed.__dynamo_source__ = "ServiceConfig.get_instance()['Typed'].get('levels')"
    try:
        effective("Typed: {key: k, levels: 3}", of=[Typed])
    finally:
        del Typed.__dynamo_source__
    assert problems("Typed: {key: k, levels: 3}", of=[Typed])[0].path == "Typed.levels"


def test_layers_may_contain_services_that_do_not_run():
    config = effective("Elsewhere: {k: 1}", known=["Elsewhere"])
    assert list(config.services) == ["LLMService"]
    assert config.for_workers()["Elsewhere"] == {"k": 1}


# --- outputs


def test_workers_read_all_service_args_and_only_the_written_keys():
    assert effective("LLMService: {temperature: 1, cache_size: 5}").for_workers() == {
        "LLMService": {
            "ServiceArgs": {
                "dynamo": {"enabled": True, "namespace": "default"},
                "resources": {"gpu": 1, "cpu": "4"},
                "workers": 1,
                "envs": {},
                "traffic": {},
                "labels": {},
            },
            "temperature": 1,
            "cache_size": 5,
        }
    }


def test_the_yaml_of_an_effective_configuration_has_the_same_effect():
    tricky = 'Plain: {ServiceArgs: {envs: {A: 007, D: 1e-5}, traffic: {timeout: 3}}, rate: 1e-5, text: "1e-5"}\n'
    config = effective(COMMON + PROD + tricky + "Open: {common-configs: [block-size]}\n", of=[LLMService, Plain, Open])
    again = effective(config.to_yaml(), of=[LLMService, Plain, Open])
    assert again.for_workers() == config.for_workers()
    assert again.as_json() == config.as_json()


def test_the_table_has_one_line_for_each_value():
    lines = effective(["--LLMService.cache_size=[1]"]).table().splitlines()
    assert lines[0].split() == ["value", "of", "value", "origin"]
    assert lines[-1].split() == ["LLMService.cache_size", "[1]", "--LLMService.cache_size"]
    assert len({line.index(word) for line, word in [(lines[0], "origin"), (lines[-1], "--LLMService.cache_size")]}) == 1
