"""Invalid input: each error names the place and the remedy, and leaves nothing running or half applied."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

BACKEND = """\
@service
class Backend:
    def __init__(self, suffix: str = "-back", size: int = 1):
        self.suffix = suffix

    @dynamo_endpoint()
    async def generate(self, text: str) -> AsyncIterator[str]:
        yield text + self.suffix
"""
FRONTEND = """\
@service
class Frontend:
    backend = depends(Backend)

    @dynamo_endpoint()
    async def generate(self, text: str, times: int = 1) -> AsyncIterator[str]:
        async for word in self.backend.generate(text):
            yield word * times

    @dynamo_endpoint()
    async def fail(self, text: str) -> str:
        return self.explain(text)

    def explain(self, text):
        raise LookupError(f"no {text} here")
"""
GRAPH = f"{BACKEND}\n\n{FRONTEND}"
SERVE = "serve(Frontend, http_port=0).result()"


@dataclass
class Case:
    """The last cell fails. message: patterns that its error must match."""

    name: str
    cells: list[str]
    message: list[str]

    def __repr__(self):
        return self.name


def config(yaml):
    return [GRAPH, f"%%dynamo_config\n{yaml}", SERVE]


BEFORE_SERVING = [
    Case(
        "invalid YAML in a file",
        [GRAPH, "%%writefile c.yaml\nBackend:\n  suffix: [a\n  size: 1\n", "%dynamo serve Frontend -f c.yaml"],
        ["ConfigError: not valid YAML at line 3, column 7", r"\(c\.yaml:3\)"],
    ),
    Case(
        "invalid YAML in a cell",
        [GRAPH, "%%dynamo_config\nBackend:\n  suffix: [a\n  size: 1\n"],
        ["ConfigError: not valid YAML at line 4, column 7", r"\(cell 3:4\)"],
    ),
    Case(
        "configuration of an unknown service",
        config("Bakend:\n  suffix: a"),
        ["'Bakend'", "did you mean 'Backend'", r"cell 3:\d"],
    ),
    Case("an unknown key", config("Backend:\n  sufix: a"), ["did you mean 'suffix'", "Backend.sufix: ", "cell 3:3"]),
    Case(
        "an unknown field of ServiceArgs",
        config("Backend:\n  ServiceArgs:\n    wrkers: 2"),
        ["did you mean 'workers'", "Backend.ServiceArgs.wrkers: ", "cell 3:4"],
    ),
    Case(
        "a wrong type for a constructor's argument",
        config("Backend:\n  size: many"),
        ["should be a valid integer, .*not 'many'", "Backend.size: ", "cell 3:3"],
    ),
    Case(
        "a wrong type in a mapping given to serve",
        [GRAPH, "serve(Frontend, {'Backend.size': 'many'}, http_port=0).result()"],
        ["Backend.size: ", r"serve\(…\), cell 3, line 1"],
    ),
    Case(
        "a missing required key",
        [GRAPH.replace('suffix: str = "-back"', "suffix: str"), SERVE],
        ["the constructor needs 'suffix'", "Backend.suffix: ", "--Backend.suffix=VALUE"],
    ),
    Case(
        "a dependency on a class that is not a service", ["class Plain: pass", "depends(Plain)"], ["Plain", "@service"]
    ),
    Case(
        "a link to a service that is not a dependency",
        [GRAPH, "Backend.link(Frontend)"],
        ["LinkError: ", "Backend", "dependenc|depends"],
    ),
    Case(
        "two services with one name",
        [
            GRAPH,
            BACKEND.replace("Backend", "Backend2").replace("@service", '@service(dynamo={"name": "Backend"})'),
            FRONTEND.replace("depends(Backend)", "depends(Backend)\n    other = depends(Backend2)"),
            SERVE,
        ],
        ["two services are named Backend", "where: .*cell 2.*cell 3", "rename one"],
    ),
    Case(
        "a name that is defined nowhere",
        [GRAPH.replace("yield text", "yield shape(text)"), SERVE],
        ["Backend: 'shape' is defined nowhere", "cell 2, line 8", "hint: "],
    ),
    Case(
        "an open file",
        [
            "log = open('log.txt', 'w')",
            GRAPH.replace("yield text", "log.write(text); yield text"),
            "log.close()",
            SERVE,
        ],
        ["'log' is an open file: make it inside __init__ or a start hook", "cell 2, line 1"],
    ),
    Case(
        "more GPUs than there are",
        [
            GRAPH,
            "serve(Frontend, {'Backend.ServiceArgs': {'workers': 2, 'resources': {'gpu': 2}}}, http_port=0).result()",
        ],
        ["PlacementError: Backend", "2 on this machine", "ask for fewer"],
    ),
    Case(
        "a NATS server that does not answer",
        [GRAPH, "serve(Frontend, http_port=0, nats='nats://user:secret@127.0.0.1:9').result(30)"],
        ["ConnectError: ", r"127\.0\.0\.1:9", "hint: "],
    ),
    Case(
        "a start hook that raises",
        [
            GRAPH.replace(
                "    @dynamo_endpoint()\n    async def generate(self, text: str)",
                "    @async_on_start\n    async def warm(self):\n        raise OSError('no weights here')\n\n"
                "    @dynamo_endpoint()\n    async def generate(self, text: str)",
                1,
            ),
            SERVE,
        ],
        ["StartError: Backend did not start: OSError: no weights here", r"raise OSError\('no weights here'\)"],
    ),
    Case(
        "an unknown service",
        [GRAPH, "%dynamo serve Fronted"],
        ["this notebook has no service 'Fronted'", "did you mean 'Frontend'"],
    ),
    Case(
        "a name instead of the service",
        [GRAPH, "serve('Frontend').result()"],
        ["DefinitionError: 'Frontend' is not a service", "pass the class itself"],
    ),
    Case(
        "an unknown service after a cell has shown one",
        [GRAPH, "Frontend", "%dynamo graph Nowhere"],
        ["has no service 'Nowhere'\n  hint: known are Backend, Frontend$"],
    ),
    Case(
        "a number as configuration",
        [GRAPH, "serve(Frontend, 3, http_port=0).result()"],
        [r"ConfigError: 3 is not a configuration  \(serve\(…\), cell 3, line 1\)\n  hint: pass a YAML file"],
    ),
    Case(
        "an endpoint that is not asynchronous",
        ["@service\nclass Plain:\n    @dynamo_endpoint()\n    def say(self): ...\n"],
        ["DefinitionError: the endpoint Plain.say is not asynchronous\n  where: cell 2, line [34]"],
    ),
    Case(
        "an invalid port",
        [GRAPH, "serve(Frontend, http_port=-2).result()"],
        ["ConfigError: -2 is not a port", "use a port from 1 to 65535, or 0 for any free port"],
    ),
    Case(
        "an invalid port as an option",
        [GRAPH, "%dynamo serve Frontend --port 99999"],
        ["ConfigError: 99999 is not a port"],
    ),
    Case(
        "an invalid port in the environment",
        [GRAPH, "os.environ['DYNAMO_PORT'] = 'http'", "%dynamo serve Frontend"],
        [r"ConfigError: http is not a port  \(DYNAMO_PORT\)"],
    ),
    Case("an unknown verb", [GRAPH, "%dynamo stpo"], ["dynamo has no verb 'stpo'", "did you mean 'stop'"]),
    Case(
        "a bundle with altered code",
        [
            GRAPH,
            "%dynamo export Frontend bundle",
            "from pathlib import Path\n(code,) = Path('bundle').rglob('Backend.py')\ncode.write_text(code.read_text() + '#')",
            "%dynamo config bundle/",
        ],
        ["BundleError: ", r"Backend\.py", "hint: "],
    ),
]


@pytest.mark.parametrize("case", BEFORE_SERVING, ids=repr)
def test_a_graph_that_cannot_be_served(shell, case, dynamo_home, monkeypatch):
    monkeypatch.setenv("DYNAMO_GPUS", "0,1")
    monkeypatch.setenv("DYNAMO_PORT", "")  # restores what a cell sets
    shell.load()
    *before, last = case.cells
    for text in before:
        ran = shell.run(text)
        assert ran.ok, ran.error
    ran = shell.run(last)
    assert not ran.ok
    for pattern in case.message:
        assert re.search(pattern, ran.error), f"{pattern}\n{ran.error}"
    assert "dynamo_nb/" not in ran.error, "no frame of the package"
    assert "secret" not in ran.error
    assert shell.run("%dynamo ps").text.strip() == "nothing is being served"
    assert [path.name for path in dynamo_home.iterdir() if path.is_dir() and (path / "logs").exists()] == []


CALLS = [
    Case(
        "an endpoint that does not exist", ["deployment.Frontend.generat('x')"], ["generat", "did you mean 'generate'"]
    ),
    Case(
        "a method that is not an endpoint",
        ["deployment.Frontend.explain('x')"],
        ["Frontend.explain is a method, but not an endpoint", r"decorate it with @dynamo_endpoint\(\)"],
    ),
    Case("a service that does not exist", ["deployment.Fronted"], ["Fronted", "did you mean 'Frontend'"]),
    Case(
        "too few arguments",
        ["await deployment.Frontend.generate()"],
        ["InvalidArgument: ", "text", "Frontend.generate"],
    ),
    Case(
        "an argument that does not validate",
        ["await deployment.Frontend.generate('x', times='many')"],
        ["InvalidArgument: ", "times", "many|integer|whole"],
    ),
    Case(
        "an exception inside an endpoint",
        ["await deployment.Frontend.fail('luck')"],
        [
            "EndpointError: ",
            "LookupError: no luck here",
            r'raise LookupError\(f"no {text} here"\)',
            "in explain",
            "in fail",
        ],
    ),
]


@pytest.fixture(scope="module")
def served(shared_kernel):
    shared_kernel.load()
    for text in (GRAPH, f"deployment = {SERVE}"):
        ran = shared_kernel.run(text)
        assert ran.ok, ran.error
    return shared_kernel


@pytest.mark.parametrize("case", CALLS, ids=repr)
def test_an_invalid_call(served, case):
    (text,) = case.cells
    ran = served.run(text)
    assert not ran.ok
    for pattern in case.message:
        assert re.search(pattern, ran.error), f"{pattern}\n{ran.error}"
    assert ran.error.count("Traceback") <= 1, ran.error
    assert "dynamo_nb/" not in ran.error, ran.error
    assert served.run("await deployment.Frontend.generate('x')").ok


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["serve", "hello.py:Fronted"], "did you mean 'Frontend'"),
        (["serve", "missing.ipynb:Frontend"], "missing.ipynb"),
        (["srve", "hello.py:Frontend"], "did you mean 'serve'"),
        (["serve", "hello.py:Frontend", "-f", "bad.yaml"], "not valid YAML at line 3, column 1"),
        (["config", "hello.py:Frontend", "--Backend.suffix", "--json"], "--Backend.suffix has no value"),
        (["config", "--Backend.size", "-f", "none.yaml", "hello.py:Frontend"], "none.yaml"),
        (["config", "hello.py:Frontend", "--Backend.sufix=1"], "did you mean 'suffix'"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_an_invalid_command_line_in_a_shell(dynamo_home, tmp_path, argv, message):
    header = "from collections.abc import AsyncIterator\nfrom dynamo_nb import depends, dynamo_endpoint, service\n\n\n"
    (tmp_path / "hello.py").write_text(header + GRAPH)
    (tmp_path / "bad.yaml").write_text("Backend:\n  suffix: 'a\n")
    dynamo = Path(sys.executable).with_name("dynamo")
    done = subprocess.run([dynamo, *argv], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
