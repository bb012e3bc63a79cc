"""A key that nothing reads is marked in a file, and an error on the command line."""

import json
import re
import sys

import pytest

from dynamo_nb.config.arguments import arguments_layer
from dynamo_nb.config.effective import resolve
from dynamo_nb.config.layers import mapping_layer
from dynamo_nb.config.reads import key_reads
from dynamo_nb.config.settings import EffectiveConfig
from dynamo_nb.config.yaml_layer import yaml_layer
from dynamo_nb.errors import ConfigError
from dynamo_nb.sdk import definition_of, service
from dynamo_nb.sdk.service_config import ServiceConfig
from dynamo_nb.sdk.service_config import ServiceConfig as Settings

this_module = sys.modules[__name__]


def section_of(name):
    return ServiceConfig.get_instance().get(name, {})


def parsed_of(name):
    return ServiceConfig.get_instance().as_args(name)


@service(traffic={"external_queue": True, "timeout": 30})
class Plain:
    def __init__(self, temperature=0.7, max_tokens=3):
        self.names = {"endpoint": 1, "a_text": 2}


class Section:
    def __getitem__(self, key):
        return ServiceConfig.get_instance()["ThroughObject"][key]


section = Section()


@service
class ThroughObject:
    def __init__(self):
        self.size = section["cache_size"]


@service
class ThroughModule:
    def __init__(self):
        self.size = this_module.section_of("ThroughModule")["cache_size"]


@service
class Importing:
    def __init__(self):
        from own_code import section_of

        self.size = section_of("Importing")["cache_size"]


@service
class OfCommon:
    def __init__(self):
        self.size = ServiceConfig.get_instance()["Common"]["cache_size"]


@service
class Reader:
    def __init__(self):
        config = ServiceConfig.get_instance()
        own = config.get("Reader", {})
        self.size = own.get("cache_size", 3)
        self.name = config.get("Reader", {}).get("name")
        self.key = config.require("Reader", "api-key")
        self.flag = own["flag"] if "other" in own else None


@service
class Child(Reader): ...


@service
class Renamed:
    def __init__(self):
        self.size = Settings.get_instance()["Renamed"]["cache_size"]


@service
class Parsing:
    def __init__(self):
        self.rest = ServiceConfig.get_instance().as_args("Parsing")


@service
class ThroughFunction:
    def __init__(self):
        self.rest = parsed_of("ThroughFunction")


@service
class Passing:
    def __init__(self):
        self.own = ServiceConfig.get_instance().get("Passing", {})


@service
class Returned:
    def __init__(self):
        self.size = section_of("Returned")["cache_size"]


@service
class Looping:
    def __init__(self):
        own = ServiceConfig.get_instance().get("Looping", {})
        self.all = dict(own)


@service
class Dynamic:
    def __init__(self):
        self.all = [ServiceConfig.get_instance().require("Dynamic", key) for key in dir(self)]


def effective(cls, layer):
    return resolve([definition_of(cls)], [layer])


@pytest.mark.parametrize(
    ("cls", "key", "mark"),
    [
        (Plain, "reasoning_parser", ""),
        (Plain, "endpoint", ""),
        (Plain, "a_text", ""),
        (ThroughObject, "cache", ""),
        (Plain, "tokens", ": did you mean 'max_tokens'?"),
        (Reader, "cache_sizes", ""),
        (Reader, "api_token", ""),
        (Child, "nothing", ""),
        (Renamed, "cache", ""),
    ],
)
def test_a_key_that_nothing_reads_is_marked(cls, key, mark):
    config = effective(cls, yaml_layer(f"{cls.__name__}:\n  {key}: x\n", "c.yaml"))
    message = f"nothing in {cls.__name__} reads {key!r}{mark}"
    assert config.services[cls.__name__].unread[key] == message
    assert f"{cls.__name__}.{key}: {message} (c.yaml:2)" in config.notes()
    line = next(line for line in config.table().splitlines() if line.startswith(f"{cls.__name__}.{key} "))
    assert line.endswith(f"c.yaml:2 ! {message}")
    restored = EffectiveConfig.from_data(json.loads(json.dumps(config.as_data())), lambda name: {})
    assert restored.notes() == config.notes()


@pytest.mark.parametrize(
    ("cls", "key"),
    [
        (Plain, "temperature"),
        (Reader, "cache_size"),
        (Reader, "cache-size"),
        (Reader, "name"),
        (Reader, "api_key"),
        (Reader, "flag"),
        (Reader, "other"),
        (Child, "cache_size"),
        (Renamed, "cache_size"),
        (Parsing, "anything"),
        (ThroughFunction, "anything"),
        (Passing, "anything"),
        (Returned, "cache_size"),
        (Looping, "anything"),
        (Dynamic, "anything"),
        (ThroughObject, "cache_size"),
        (ThroughModule, "cache_size"),
        (Importing, "cache_size"),
    ],
)
def test_a_key_that_may_be_read_is_not_marked(cls, key):
    value = 1 if key == "temperature" else "x"
    for layer in (mapping_layer({f"{cls.__name__}.{key}": value}, "x"), arguments_layer([f"--{cls.__name__}.{key}=1"])):
        assert key not in effective(cls, layer).services[cls.__name__].unread


@pytest.mark.parametrize("key", ["reasoning_parser", "endpoint", "a_text", "max_new_tokens", "a.b", "temprature"])
def test_on_the_command_line_it_is_an_error(key):
    with pytest.raises(ConfigError) as caught:
        effective(Plain, arguments_layer([f"--Plain.{key}=1"]))
    (problem,) = caught.value.problems
    assert problem.message.startswith(f"nothing in Plain reads {key.partition('.')[0]!r}")
    assert problem.origin.startswith("--Plain")


@pytest.mark.parametrize(
    ("cls", "subscribed"),
    [(Plain, False), (Reader, False), (Reader, True), (OfCommon, False), (Parsing, False), (Parsing, True)],
)
def test_a_key_of_common_that_nothing_reads_is_marked_and_refused_on_the_command_line(cls, subscribed):
    section = "{common-configs: [cache_size]}" if subscribed else "{}"
    layers = [yaml_layer(f"Common: {{cache_size: 3}}\n{cls.__name__}: {section}", "c.yaml")]
    read = subscribed or cls in {OfCommon, Parsing}
    message = "no service lists it in its `common-configs`"
    found = f"Common.cache_size: {message} (c.yaml:1)" in resolve([definition_of(cls)], layers).notes()
    assert found is not read
    layers.append(arguments_layer(["--Common.cache_size=4"]))
    if read:
        resolve([definition_of(cls)], layers)
    else:
        with pytest.raises(ConfigError, match=message):
            resolve([definition_of(cls)], layers)


@pytest.mark.parametrize("cls", [Reader, Child, Renamed])
def test_on_the_command_line_it_is_marked_for_a_class_that_reads_its_section(cls):
    config = effective(cls, arguments_layer([f"--{cls.__name__}.unknown=1"]))
    assert "unknown" in config.services[cls.__name__].unread


@pytest.mark.parametrize("cls", [Parsing, Reader, Plain])
def test_a_key_in_two_spellings_is_an_error(cls):
    name = cls.__name__
    layers = [yaml_layer(f"{name}: {{max-len: 1}}", "a"), yaml_layer(f"{name}: {{max_len: 2}}", "b")]
    with pytest.raises(ConfigError, match="written as 'max-len' and as 'max_len'"):
        resolve([definition_of(cls)], layers)


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("external_queue", ""),
        ("max_concurrency", ""),
        ("a.b", ""),
        ("time_out", ": did you mean 'timeout'?"),
        ("keepalive", ": did you mean 'keep_alive'?"),
    ],
)
def test_an_unknown_key_of_traffic_is_marked_and_refused_on_the_command_line(key, hint):
    config = effective(Plain, yaml_layer(f"Plain:\n  ServiceArgs:\n    traffic: {{{key}: 3}}\n", "c.yaml"))
    assert (
        f"Plain.ServiceArgs.traffic.{key}: 'traffic.{key}' has no effect: nothing reads it{hint} (c.yaml:3)"
        in config.notes()
    )
    with pytest.raises(ConfigError, match=re.escape(f"'traffic.{key}' has no effect: nothing reads it{hint}")):
        effective(Plain, arguments_layer([f"--Plain.ServiceArgs.traffic.{key}=3"]))


def test_traffic_of_the_decorator_is_marked():
    (note,) = effective(Plain, mapping_layer({}, "x")).notes()
    assert note.startswith(
        "Plain.ServiceArgs.traffic.external_queue: 'traffic.external_queue' has no effect: nothing reads it (@service"
    )


def test_a_class_whose_methods_have_no_source_may_read_every_key():
    space = {}
    exec(compile("def __init__(self): ...", "<no file>", "exec"), space)
    cls = service(type("Made", (), {"__init__": space["__init__"]}))
    assert key_reads(definition_of(cls)).whole


def test_a_class_without_methods_reads_no_key():
    assert not key_reads(definition_of(service(type("Made", (), {})))).whole


@pytest.mark.parametrize("name", ["VllmWorker", "PrefillWorker"])
def test_workers_with_a_parser_take_every_key(name):
    import dynamo_nb.llm

    assert key_reads(definition_of(getattr(dynamo_nb.llm, name))).whole


@pytest.mark.parametrize("name", ["Frontend", "Processor", "Router", "EchoWorker"])
def test_other_services_of_language_models_take_their_own_keys_only(name):
    import dynamo_nb.llm

    assert not key_reads(definition_of(getattr(dynamo_nb.llm, name))).whole
