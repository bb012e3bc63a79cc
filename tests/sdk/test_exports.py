import inspect
import re
import subprocess
import sys

import pytest

import dynamo_nb
import dynamo_nb.sdk


def test_the_exported_names_of_the_package():
    assert dynamo_nb.__all__ == [
        "AbstractService",
        "Deployment",
        "DynamoError",
        "DynamoTransport",
        "Graph",
        "GraphSpec",
        "ServiceConfig",
        "abstract_endpoint",
        "api",
        "async_on_shutdown",
        "async_on_start",
        "attach",
        "depends",
        "dynamo_api",
        "dynamo_context",
        "dynamo_endpoint",
        "endpoint",
        "liveness",
        "on_shutdown",
        "readiness",
        "reconfigure",
        "serve",
        "service",
        "trace_note",
    ]
    assert all(getattr(dynamo_nb, name) is not None for name in dynamo_nb.__all__)
    assert set(dynamo_nb.__all__) <= set(dir(dynamo_nb))
    assert not hasattr(dynamo_nb, "no_such_name")


def test_the_exported_names_of_the_sdk():
    assert dynamo_nb.sdk.__all__ == [
        "AbstractService",
        "Call",
        "Dependency",
        "DynamoTransport",
        "Endpoint",
        "Pending",
        "ServiceDefinition",
        "abstract_endpoint",
        "api",
        "async_on_shutdown",
        "async_on_start",
        "definition_of",
        "depends",
        "dynamo_api",
        "dynamo_context",
        "dynamo_endpoint",
        "endpoint",
        "is_service",
        "liveness",
        "on_shutdown",
        "readiness",
        "reconfigure",
        "service",
        "trace_note",
    ]


def public_functions():
    """The exported functions, and the public methods of the exported classes, by name."""
    found = {}
    for module in (dynamo_nb, dynamo_nb.sdk):
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isfunction(value):
                found[name] = value
            elif inspect.isclass(value):
                methods = {key: getattr(member, "__func__", member) for key, member in vars(value).items()}
                found |= {f"{name}.{k}": m for k, m in methods.items() if inspect.isfunction(m) and k[0] != "_"}
    return found


@pytest.mark.parametrize("name", public_functions())
def test_the_docstring_of_a_public_function_describes_its_parameters(name):
    function = public_functions()[name]
    described = set(re.findall(r"^    \**(\w+):", inspect.getdoc(function) or "", re.MULTILINE))
    parameters = set(inspect.signature(function).parameters) - {"self", "cls", "given"}
    assert function.__doc__
    assert parameters <= described


HEAVY = {
    "IPython",
    "anywidget",
    "fastapi",
    "graphviz",
    "ipykernel",
    "ipywidgets",
    "jupyter_client",
    "nats",
    "pandas",
    "papermill",
    "pydantic",
    "torch",
    "uvicorn",
}


def loaded_by(code):
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_importing_the_package_loads_no_heavy_libraries():
    assert not loaded_by("import dynamo_nb") & HEAVY


def test_importing_the_sdk_loads_no_heavy_libraries():
    assert not loaded_by("from dynamo_nb import service, depends, dynamo_endpoint, ServiceConfig") & HEAVY
    assert not loaded_by("import dynamo.sdk") & HEAVY


LOADED = """
import sys
from dynamo.sdk import dynamo_endpoint, service

@service
class Worker:
    @dynamo_endpoint()
    async def loaded(self) -> list[str]:
        return sorted({name.partition(".")[0] for name in sys.modules})
"""


async def test_a_worker_loads_only_the_libraries_that_it_needs(project):
    project.write("loaded.py", LOADED)
    async with await project.serve("loaded:Worker", kernels=True) as deployment:
        loaded = set(await deployment.Worker.loaded())
    assert "dynamo_nb" in loaded
    assert not loaded & (HEAVY - {"IPython", "ipykernel", "jupyter_client", "nats", "pydantic", "fastapi", "uvicorn"})
