"""The requirements.txt of a bundle."""

import os
from importlib.metadata import packages_distributions, version

import pytest

from dynamo_nb.bundle.provenance import requirement
from dynamo_nb.bundle.requirements import import_names, requirements
from dynamo_nb.source import CodeTree, Module

DYNAMO_NB = requirement("dynamo-nb")


@pytest.fixture(autouse=True)
def no_configured_indexes(monkeypatch):
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    for name in (name for name in os.environ if name.startswith(("PIP_", "UV_")) and name != "PIP_CONFIG_FILE"):
        monkeypatch.delenv(name)


def test_requirements_are_the_imported_libraries_with_their_installed_versions():
    code = CodeTree(
        (
            Module("mine", "mine.py", "import os\nimport yaml.nodes\nfrom dynamo_nb import service\nimport mine.part"),
            Module(
                "mine.part", "mine/part.py", "def f():\n    from pydantic import BaseModel\n    import no_such_thing"
            ),
            Module(
                "other",
                "other.py",
                "from . import mine\nfrom dynamo.sdk import depends\nif TYPE_CHECKING:\n    import torch",
            ),
        )
    )
    lines = requirements(code).splitlines()
    assert set(DYNAMO_NB) < set(lines)
    assert [line for line in lines if line not in DYNAMO_NB] == [
        f"pydantic=={version('pydantic')}",
        f"PyYAML=={version('pyyaml')}",
        "# no_such_thing: imported, but not installed where the bundle was exported",
    ]


@pytest.fixture(scope="module")
def providers():
    """The installed distributions by module."""
    return packages_distributions()


@pytest.mark.parametrize(
    ("service", "libraries"),
    [
        ("frontend:Frontend", set()),
        ("workers.echo_worker:EchoWorker", {"tokenizers"}),
        ("router:Router", set()),
        ("processor:Processor", {"jinja2", "transformers"}),
        ("workers.torch_worker:TorchWorker", {"tokenizers", "torch", "transformers"}),
        ("workers.vllm_worker:VllmWorker", {"tokenizers", "vllm"}),
        ("workers.vllm_worker:PrefillWorker", {"tokenizers", "vllm"}),
    ],
)
@pytest.mark.parametrize(
    "text",
    [
        "",
        "from dynamo_nb.llm import {}",
        "import dynamo_nb.llm as llm\nclass Mine(llm.{}): ...",
        "from dynamo_nb import llm\nclass Mine(llm.{}): ...",
        "import dynamo_nb\nclass Mine(dynamo_nb.llm.{}): ...",
        "from dynamo_nb.llm import *\nclass Mine({}): ...",
    ],
)
def test_services_of_the_package_add_the_libraries_that_they_import(providers, service, libraries, text):
    """vLLM and torch have the installed version, or that of the extra."""
    if text:
        text = text.format(service.partition(":")[2])
        code = CodeTree((Module("mine", "mine.py", text),), {"Mine": "mine:Mine"})
    else:
        code = CodeTree((), {"Mine": f"dynamo_nb.llm.{service}"})
    expected = set(DYNAMO_NB)
    for name in libraries:
        found = providers.get(name)
        expected |= {f"{each}=={version(each)}" for each in found or ()}
        expected |= set() if found else {{"torch": "torch>=2.5", "vllm": "vllm>=0.32"}[name]}
        builds = {version(each).partition("+")[2] for each in found or () if each == "torch"} - {""}
        expected |= {f"--extra-index-url https://download.pytorch.org/whl/{build}" for build in builds}
    assert set(requirements(code).splitlines()) == expected


@pytest.mark.parametrize(
    ("distribution", "modules"),
    [
        ("llama-cpp-python", {"llama_cpp"}),
        ("pyyaml", {"yaml", "_yaml"}),
        ("prometheus.client", {"prometheus_client"}),
        ("not-installed", {"not_installed"}),
    ],
)
def test_modules_of_a_distribution_may_have_another_name(distribution, modules):
    assert import_names(distribution, packages_distributions()) == modules
