"""Completion (Tab) and inspection (Shift-Tab), requested from a kernel as front ends do."""

import re

import pytest

CELLS = [
    """\
@service(workers=2)
class Backend:
    \"\"\"Adds a suffix.\"\"\"

    def __init__(self, suffix: str = "-back", *, max_words: int = 9):
        self.suffix = suffix

    @dynamo_endpoint()
    async def generate(self, text: str) -> AsyncIterator[str]:
        \"\"\"Yields the words one by one.\"\"\"
        for word in text.split():
            yield word + self.suffix
""",
    """\
@service
class Frontend:
    backend = depends(Backend)

    @dynamo_endpoint()
    async def answer(self, text: str) -> list[str]:
        return await self.backend.generate(text)
""",
]


class CompletingKernel:
    """A kernel with requests for completion and inspection. `|` in a text is the cursor."""

    def __init__(self, kernel):
        self.kernel = kernel

    def _reply(self, send, text, **options):
        code = text.replace("|", "")
        client = self.kernel.client
        sent = send(client)(code, text.index("|"), **options)
        while (reply := client.get_shell_msg(timeout=60))["parent_header"]["msg_id"] != sent:
            pass
        return code, reply["content"]

    def completed(self, text):
        """Returns the lines that a front end would offer."""
        code, content = self._reply(lambda client: client.complete, text)
        head, tail = code[: content["cursor_start"]], code[content["cursor_end"] :]
        return [(head + match + tail).splitlines()[-1] for match in content["matches"]]

    def described(self, text):
        _, content = self._reply(lambda client: client.inspect, text)
        return re.sub(r"\x1b\[[0-9;]*m", "", content["data"].get("text/plain", ""))


@pytest.fixture(scope="module")
def typed(shared_kernel, tmp_path_factory):
    kernel = shared_kernel.load()
    for cell in CELLS:
        ran = kernel.run(cell)
        assert ran.ok, ran.error
    assert kernel.run("for name in ('c.yaml', 'notes.txt'): open(name, 'w').close()\nos.mkdir('bundle')").ok
    return CompletingKernel(kernel)


@pytest.fixture(scope="module")
def served(typed):
    ran = typed.kernel.run("deployment = await serve(Frontend, http_port=0)")
    assert ran.ok, ran.error
    yield typed
    assert typed.kernel.run("await deployment.stop()").ok


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("%dynamo sc|", ["%dynamo scale"]),
        ("dynamo sc|", ["dynamo scale"]),
        ("x = %dynamo sc|", ["x = %dynamo scale"]),
        ("%dynamo help sc|", ["%dynamo help scale"]),
        ("%dynamo serve Fr|", ["%dynamo serve Frontend"]),
        ("%dynamo serve Frontend -f c|", ["%dynamo serve Frontend -f c.yaml"]),
        ("%dynamo serve Frontend --file=|", [f"%dynamo serve Frontend --file={n}" for n in ("bundle/", "c.yaml")]),
        ("%dynamo serve Frontend --dry|", ["%dynamo serve Frontend --dry-run"]),
        ("%dynamo serve Frontend --B|", ["%dynamo serve Frontend --Backend."]),
        ("%dynamo serve Frontend --Backend.su|", ["%dynamo serve Frontend --Backend.suffix="]),
        ("%dynamo serve --Backend.suffix x Fr|", ["%dynamo serve --Backend.suffix x Frontend"]),
        (
            "%dynamo config Frontend --Backend.ServiceArgs.resources.g|",
            ["%dynamo config Frontend --Backend.ServiceArgs.resources.gpu="],
        ),
        ("%dynamo graph Frontend --format s|", ["%dynamo graph Frontend --format svg"]),
        ("%dynamo export Frontend b|", ["%dynamo export Frontend bundle/"]),
        ("%%dynamo_exec|", ["%%dynamo_exec"]),
        ("%%dynamo_service --w|", ["%%dynamo_service --workers"]),
        ("%%dynamo_config\nBa|", ["Backend:"]),
        ("%%dynamo_config\nBackend:\n  max|", ["  max_words:"]),
        ("%%dynamo_config\nBackend:\n  ServiceArgs:\n    workers: 2\n    re|", ["    resources:"]),
        ("%%dynamo_config\nBackend:\n  ServiceArgs:\n    resources:\n      g|", ["      gpu:"]),
    ],
)
def test_words_of_the_magics_are_completed(typed, text, lines):
    assert typed.completed(text) == lines


def test_magics_are_completed_by_name(typed):
    cells = {f"%%dynamo_{name}" for name in ("config", "exec", "service")}
    assert set(typed.completed("%dyn|")) == {"%dynamo", *cells}


def test_every_verb_and_every_option_is_offered(typed):
    from dynamo_nb.cli.help import verb_help

    assert set(typed.completed("%dynamo |")) == {f"%dynamo {verb.name}" for verb in verb_help()}
    options = typed.completed("%dynamo serve Frontend --|")
    assert {"--file", "--no-kernels", "--metrics-port", "--Backend.", "--Frontend."} <= {o.split()[-1] for o in options}


@pytest.mark.parametrize("text", ["dynamos = 1\ndynamos|", "import jso|", "'%dynamo'.upp|"])
def test_python_is_completed_as_before(typed, text):
    assert typed.completed(text)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("%dynamo logs Ba|", ["%dynamo logs Backend"]),
        ("%dynamo scale Ba|", ["%dynamo scale Backend="]),
        ("%dynamo scale Frontend=2 Ba|", ["%dynamo scale Frontend=2 Backend="]),
        ("%dynamo console Ba|", [f"%dynamo console Backend[{which}]" for which in "*01"]),
        ("%dynamo trace backend.|", ["%dynamo trace Backend.generate"]),
        ("%dynamo trace Back|", ["%dynamo trace Backend.generate"]),
        ("%%dynamo_exec Ba|", [f"%%dynamo_exec Backend[{which}]" for which in "*01"]),
        ("%%dynamo_exec Fr|", ["%%dynamo_exec Frontend[0]"]),
        ("await deployment.Back|", ["await deployment.Backend"]),
        ("await deployment.Backend.gen|", ["await deployment.Backend.generate"]),
        ("await deployment['Backend'].gen|", ["await deployment['Backend'].generate"]),
    ],
)
def test_names_of_a_deployment_are_completed(served, text, lines):
    assert sorted(served.completed(text)) == lines


@pytest.mark.slow
def test_deployments_are_completed_by_id(served):
    (line,) = served.completed("%dynamo stop front|")
    assert line.removeprefix("%dynamo stop ") == served.kernel.run("print(deployment.id)").text.strip()
    assert served.completed("%dynamo logs -d front|") == [line.replace("stop", "logs -d")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("deployment.Backend.generate|", ["(text: str) -> ", "AsyncIterator[str]", "Yields the words one by one."]),
        ("deployment.Backend.generate(|)", ["(text: str) -> ", "Yields the words one by one."]),
        ("deployment.Backend|", ["Adds a suffix.", "generate(text: str)"]),
        ("deployment|", ["A graph that is being served.", "Methods that take time return a `Pending`"]),
        ("deployment.scale(|)", ["**workers: ", "await deployment.scale(Backend=4)"]),
        ("serve(|)", ["entry:", "await serve(Frontend"]),
    ],
)
def test_shift_tab_shows_signatures_and_docstrings(served, text, parts):
    shown = served.described(text)
    assert [part for part in parts if part not in shown] == []
