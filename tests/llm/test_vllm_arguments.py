"""Every option of vLLM's parser with True, False and nothing: the same result as from vLLM's own command line."""

from __future__ import annotations

import json
import re
import shutil
import warnings

import pytest
import yaml

pytest.importorskip("vllm")

with warnings.catch_warnings(action="ignore"):  # of torch, while vLLM imports it
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    PARSER = AsyncEngineArgs.add_cli_args(FlexibleArgumentParser(add_help=False, exit_on_error=False))

from dynamo_nb import ServiceConfig
from dynamo_nb.deployment.dry_run import problems
from dynamo_nb.deployment.serve_options import ServeOptions
from dynamo_nb.errors import ConfigError
from dynamo_nb.llm.engines.vllm.arguments import RENAMED, parse_vllm_args
from dynamo_nb.llm.engines.vllm.requests import model_sampling
from dynamo_nb.llm.tiny import tiny_model
from dynamo_nb.sdk.service_config import VARIABLE
from tests.config.older_files import FILES

pytestmark = pytest.mark.filterwarnings("ignore")  # vLLM and torch emit many warnings
SWITCHES = {a.option_strings[0]: a for a in PARSER._actions if a.nargs in {0, "?"}}
TEXTS = {a.option_strings[0]: a for a in PARSER._actions if a.nargs is None and a.type in {None, str} and not a.choices}


@pytest.fixture(params=[PARSER, None], ids=["given", "found"])
def parsed(request, monkeypatch):
    """Parses a section. Without a parser, as in a program of the Dynamo SDK, vLLM's own is found."""

    def parse(**section):
        monkeypatch.setenv(VARIABLE, json.dumps({"W": section}))
        return vars(PARSER.parse_args(ServiceConfig.get_instance().as_args("W", parser=request.param)))

    return parse


def spellings(option):
    return [option.removeprefix("--"), option.removeprefix("--").replace("-", "_")]


@pytest.mark.parametrize("option", SWITCHES)
def test_a_switch_is_what_vllm_makes_of_it(option, parsed):
    action = SWITCHES[option]
    off = [f"--no-{option[2:]}"] if f"--no-{option[2:]}" in PARSER._option_string_actions else []
    for key in spellings(option):
        assert parsed(**{key: True}) == vars(PARSER.parse_args([option]))
        assert parsed(**{key: False}) == vars(PARSER.parse_args(off))
        assert parsed(**{key: None}) == parsed() == vars(PARSER.parse_args([]))
    if off:
        assert (parsed(**{key: True})[action.dest], parsed(**{key: False})[action.dest]) == (True, False)
        for key in spellings(off[0]):
            assert parsed(**{key: True}) == vars(PARSER.parse_args(off))
            assert parsed(**{key: False}) == vars(PARSER.parse_args([option]))


@pytest.mark.parametrize("option", TEXTS)
def test_an_option_with_a_value_gets_the_text_of_true_and_false(option, parsed):
    dest = TEXTS[option].dest
    for key in spellings(option):
        assert [parsed(**{key: value})[dest] for value in (True, False)] == ["true", "false"]


def test_there_are_switches_and_texts():
    assert len(SWITCHES) > 50
    assert len(TEXTS) > 10


@pytest.mark.parametrize("old", RENAMED)
@pytest.mark.parametrize("value", [True, "x"])
def test_an_argument_of_an_earlier_vllm_is_refused_with_its_name_today(old, value, monkeypatch):
    assert f"--{old}" not in PARSER._option_string_actions
    key = old.replace("-", "_")
    for name in (old, key):
        monkeypatch.setenv(VARIABLE, json.dumps({"W": {name: value}}))
        with pytest.raises(ConfigError) as caught:
            parse_vllm_args("W")
        assert RENAMED[old] in str(caught.value)
    for option in re.findall(r"`([a-z-]+)[`:]", RENAMED[old]):
        assert f"--{option}" in PARSER._option_string_actions or option in {"backend", "model", "convert"}


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("enable-chunked-prefil", "enable-chunked-prefill"),
        ("enable_prefix_cachin", "enable-prefix-caching"),
        ("no-enable-prefix-cachin", "no-enable-prefix-caching"),
    ],
)
@pytest.mark.parametrize("value", [True, False])
def test_a_misspelt_switch_is_refused_on_and_off(key, near, value, monkeypatch):
    monkeypatch.setenv(VARIABLE, json.dumps({"W": {key: value}}))
    with pytest.raises(ConfigError, match=near):
        parse_vllm_args("W")


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize("option", ["compilation-config", "compilation_config"])
def test_a_switch_within_an_option_is_on_or_off(option, value, monkeypatch):
    monkeypatch.setenv(VARIABLE, json.dumps({"W": {f"{option}.cudagraph_copy_inputs": value}}))
    assert parse_vllm_args("W").compilation_config.cudagraph_copy_inputs is value


@pytest.mark.parametrize(
    ("old", "today"),
    [
        ("DynamoNixlConnector", "did you mean 'NixlConnector'?"),
        ("Nixlconnector", "did you mean 'NixlConnector'?"),
        ("LMCacheConnector", "did you mean 'LMCache"),
        ("PyNcclConnector", "vLLM has no connector 'PyNcclConnector'"),
    ],
)
@pytest.mark.parametrize("key", ["kv-transfer-config", "kv_transfer_config"])
@pytest.mark.parametrize("rest", [{"kv_role": "kv_both"}, {}, {"kv_rank": 0}], ids=str)
@pytest.mark.parametrize("written", [dict, json.dumps])
def test_a_connector_that_vllm_does_not_know_is_refused(old, today, rest, key, written, monkeypatch):
    transfer = written({"kv_connector": old} | rest)
    monkeypatch.setenv(VARIABLE, json.dumps({"W": {key: transfer}}))
    with pytest.raises(ConfigError) as caught:
        parse_vllm_args("W")
    assert today in str(caught.value)
    assert "W.kv-transfer-config" in str(caught.value)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("service", ["VllmWorker", "PrefillWorker"])
def test_a_configuration_file_of_the_dynamo_sdk(name, service, monkeypatch):
    """Its options are vLLM's or ours; what has another name today is said."""
    config = {"Common": {}} | yaml.safe_load(FILES[name])
    for section in config.values():
        section.pop("quantization", None)  # the tiny model is not quantized
        section |= {"model": ""} if "model" in section else {}
    if service not in config:
        pytest.skip("a graph without this service")
    monkeypatch.setenv(VARIABLE, json.dumps(config))
    if "DynamoNixlConnector" in str(ServiceConfig.get_instance().as_args(service)):
        with pytest.raises(ConfigError, match=r"did you mean 'NixlConnector'.*kv_both"):
            parse_vllm_args(service)
    for section in config.values():
        section |= {"kv-transfer-config": {"kv_connector": "NixlConnector", "kv_role": "kv_both"}}
    monkeypatch.setenv(VARIABLE, json.dumps(config))
    if config["Common"].pop("disable-log-requests", None):
        with pytest.raises(ConfigError, match="requests are not logged by default"):
            parse_vllm_args(service)
        monkeypatch.setenv(VARIABLE, json.dumps(config))
    arguments = parse_vllm_args(service)
    assert arguments.block_size == (128 if name == "benchmark" else 64)
    assert arguments.remote_prefill == config[service].get("remote-prefill", False)
    assert arguments.enforce_eager == config[service].get("enforce-eager", False)


OVERRIDE = '{"temperature": 0.2, "max_new_tokens": 3}'


@pytest.mark.parametrize(
    ("section", "sampling", "max_tokens"),
    [
        ({}, {"temperature": 0.7, "top_k": 1, "max_tokens": 9}, 0),
        ({"generation-config": "vllm"}, {}, 0),
        ({"override-generation-config": OVERRIDE}, {"temperature": 0.2, "top_k": 1, "max_tokens": 3}, 3),
        (
            {"generation-config": "vllm", "override_generation_config": {"temperature": 0.2}},
            {"temperature": 0.2},
            0,
        ),
        ({"generation_config": "{folder}"}, {"temperature": 0.7, "top_k": 1, "max_tokens": 9}, 9),
    ],
    ids=str,
)
def test_the_models_own_sampling_follows_from_vllms_options(section, sampling, max_tokens, tmp_path, monkeypatch):
    folder = shutil.copytree(tiny_model(), tmp_path / "model")
    own = {"eos_token_id": 2, "do_sample": True, "temperature": 0.7, "top_k": 1, "max_new_tokens": 9}
    (folder / "generation_config.json").write_text(json.dumps(own))
    section = {key: str(folder) if value == "{folder}" else value for key, value in section.items()}
    monkeypatch.setenv(VARIABLE, json.dumps({"W": {"model": str(folder), "dtype": "float32"} | section}))
    config = parse_vllm_args("W").create_model_config()
    assert model_sampling(config) == (sampling, max_tokens)


@pytest.mark.parametrize("service", ["VllmWorker", "PrefillWorker"])
@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("tensor_parallel_size", "2", ""),
        ("max-model-len", "long", "max-model-len"),
        ("tensor-paralel-size", "2", "tensor-parallel-size"),
        ("dtype", "float3", "float3"),
        ("model", "/no/such/folder", "no folder '/no/such/folder'"),
        ("disable-log-requests", "true", "enable-log-requests"),
        ("kv-transfer-config", '{"kv_connector": "Nixl", "kv_role": "kv_both"}', "NixlConnector"),
    ],
)
def test_a_dry_run_finds_what_vllm_refuses(project, monkeypatch, service, key, value, problem):
    monkeypatch.setenv("DYNAMO_GPUS", "0")
    project.write("program.py", f"from dynamo_nb.llm import {service}\n")
    project.write("config.yaml", yaml.safe_dump({service: {key: yaml.safe_load(value) if value[0] != "{" else value}}))

    found = problems(project.plan_source(f"program:{service}", "config.yaml").plan(), ServeOptions(http_port=0))

    assert [type(error) for error in found] == [ConfigError][: bool(problem)]
    assert all(problem in str(error) for error in found)
