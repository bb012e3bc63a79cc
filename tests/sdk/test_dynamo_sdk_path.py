"""The import path `dynamo.sdk`, together with an installed ai-dynamo-runtime."""

import importlib
import subprocess
import sys

import pytest

import dynamo.sdk
import dynamo_nb

NAMES = [
    "DYNAMO_IMAGE",
    "AbstractService",
    "ComponentType",
    "DynamoTransport",
    "LeaseConfig",
    "ServiceConfig",
    "abstract_endpoint",
    "api",
    "async_on_shutdown",
    "async_on_start",
    "depends",
    "dynamo_api",
    "dynamo_context",
    "dynamo_endpoint",
    "endpoint",
    "liveness",
    "on_shutdown",
    "readiness",
    "service",
]


def test_the_path_has_the_names_of_the_document():
    assert sorted(dynamo.sdk.__all__) == sorted(NAMES)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"DYNAMO_IMAGE", "ComponentType", "LeaseConfig"}))
def test_the_names_are_the_same_objects(name):
    assert getattr(dynamo.sdk, name) is getattr(dynamo_nb, name)


@pytest.mark.parametrize(
    "module",
    [
        "lib.config",
        "lib.decorators",
        "lib.dependency",
        "lib.image",
        "lib.service",
        "core.lib",
        "core.decorators.endpoint",
        "core.protocol.interface",
    ],
)
def test_the_import_paths_of_upstreams_releases_work(module):
    found = importlib.import_module(f"dynamo.sdk.{module}")
    for name in getattr(found, "__all__", ["DYNAMO_IMAGE"]):
        if name != "LinkedServices":
            assert getattr(found, name) is getattr(dynamo.sdk, name)


def python(code, **environ):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environ)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("order", [("dynamo.runtime", "dynamo.sdk"), ("dynamo.sdk", "dynamo.runtime")])
def test_it_can_be_imported_with_ai_dynamo_runtime(order):
    """`dynamo` is a namespace package, of which each has a portion."""
    code = f"import {order[0]}, {order[1]}; print(dynamo.sdk.service.__module__, dynamo.runtime.DistributedRuntime)"
    assert python(code).startswith("dynamo_nb.sdk.service <class ")
    assert not hasattr(dynamo, "__file__") or dynamo.__file__ is None


def test_the_image_is_read_from_the_environment():
    code = """
from dynamo.sdk import DYNAMO_IMAGE, service
@service(image=DYNAMO_IMAGE)
class A: ...
print(A.config)
"""
    assert python(code, DYNAMO_IMAGE="registry/dynamo:1.0.0") == "{'image': 'registry/dynamo:1.0.0'}\n"
    assert python(code) == "{}\n"
