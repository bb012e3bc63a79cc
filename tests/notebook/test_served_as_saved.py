"""A saved notebook is served as its own cell serves it, as far as that can be read without running cells."""

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from dynamo_nb.cli.main import run
from dynamo_nb.cli.terminal_host import TerminalHost
from dynamo_nb.cli.verb_table import commands
from dynamo_nb.deployment.plan_source import FixedProgram
from dynamo_nb.errors import ConfigError
from dynamo_nb.program import find
from dynamo_nb.program.serving_cell import serving_of, variable_of
from dynamo_nb.source import read_notebook

LOAD = "%load_ext dynamo_nb\nfrom dynamo_nb import depends, dynamo_endpoint, serve, service"
SERVICES = """\
@service
class Backend:
    def __init__(self, suffix="-", k: int = 1, sizes: list[int] = (), options: dict | None = None):
        self.suffix = suffix

    @dynamo_endpoint()
    async def say(self, text: str) -> str:
        return text + self.suffix

@service
class Gateway:
    backend = depends(Backend)

    @dynamo_endpoint()
    async def say(self, text: str) -> str:
        return await self.backend.say(text)"""
FILE = "Backend:\n  suffix: from the file\n  k: 3\n"


def save(folder, *cells):
    path = folder / "rag.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell(text) for text in [LOAD, SERVICES, *cells]]), path)
    return path


def read(folder, *cells):
    """The program of a notebook, and the values of Backend that are written in it, each with its origin."""
    program = find(f"{save(folder, *cells)}:Gateway")
    rows = FixedProgram(found=program).plan().config.rows()
    keys = {
        path.removeprefix("Backend."): (value, origin) for path, value, origin in rows if path.startswith("Backend.")
    }
    return program, {k: v for k, v in keys.items() if "cell" in v[1] or ".yaml" in v[1]}


CALL = "serve(…), cell 4, line 1"
READ = {
    "a literal": ["", "deployment = await serve(Gateway, {'Backend.k': 2})"],
    "a nested literal": ["", "deployment = await serve(Gateway, {'Backend': {'k': 2}})"],
    "a name": ["CONFIG = {'Backend.k': 2}", "deployment = await serve(Gateway, CONFIG)"],
    "names within": ["K = 2\nS = 'Backend'", "await serve(Gateway, {f'{S}.k': K})"],
    "a typed name": ["CONFIG: dict = {'Backend.k': 2}", "serve(Gateway, CONFIG).result()"],
    "keywords of dict": ["CONFIG = dict(Backend=dict(k=2))", "d = serve(Gateway, CONFIG)"],
    "spread": ["BASE = {'Backend.k': 1}\nCONFIG = {**BASE, 'Backend.k': 2}", "await serve(Gateway, CONFIG)"],
    "merged": ["BASE = {'Backend.k': 1}", "await serve(Gateway, BASE | {'Backend.k': 2})"],
    "two mappings": ["A, B = {'Backend.k': 1}, {'Backend.k': 2}", "await serve(Gateway, A, B)"],
    "several in a list": ["ALL = [{'Backend.k': 1}, {'Backend.k': 2}]", "await serve(Gateway, *ALL)"],
    "an item that is set": ["CONFIG = {}\nCONFIG['Backend.k'] = 2", "await serve(Gateway, CONFIG)"],
    "an update": ["CONFIG = {'Backend.k': 1}\nCONFIG.update({'Backend.k': 2})", "await serve(Gateway, CONFIG)"],
    "two names at once": ["A = B = {}\nB['Backend.k'] = 2", "await serve(Gateway, A)"],
    "another name": ["A = {}\nB = A\nB['Backend.k'] = 2", "await serve(Gateway, A)"],
    "one of several": [
        "ALL = {'big': {'Backend.k': 9}, 'small': {'Backend.k': 2}}",
        "await serve(Gateway, ALL['small'])",
    ],
    "a computed number": ["K = (1 << 2) // 2", "await serve(Gateway, {'Backend.k': K})"],
    "bound again later": ["CONFIG = {'Backend.k': 1}\nCONFIG = {'Backend.k': 2}", "await serve(Gateway, CONFIG)"],
    "a choice": ["BIG = False", "await serve(Gateway, {'Backend.k': 9 if BIG else 2})"],
    "a graph": ["from dynamo_nb import Graph\ng = Graph.of(Gateway)", "await serve(g, {'Backend.k': 2})"],
    "a module's function": ["import dynamo_nb as nb", "await nb.serve(Gateway, {'Backend.k': 2})"],
    "another name of serve": ["from dynamo_nb import serve as run_it", "await run_it(Gateway, {'Backend.k': 2})"],
    "a context": ["", "async with await serve(Gateway, {'Backend.k': 2}) as d:\n    print(d)"],
}


@pytest.mark.parametrize("case", READ)
def test_configuration_is_read_without_running_a_cell(tmp_path, case):
    before, call = READ[case]

    program, values = read(tmp_path, before or "'nothing'", call)

    assert values == {"k": (2, CALL)}
    assert program.notes == ()


FILES = {
    "a file beside the notebook": ("", "serve(Gateway, 'config.yaml')", "config.yaml:3"),
    "a path": ("from pathlib import Path", "serve(Gateway, Path('.') / 'config.yaml')", "config.yaml:3"),
    "a file that a cell writes": ("%%writefile new.yaml\n" + FILE, "serve(Gateway, 'new.yaml')", "new.yaml:3"),
    "a file that a line writes": (
        f"from pathlib import Path\nPath('new.yaml').write_text({FILE!r})",
        "serve(Gateway, 'new.yaml')",
        "new.yaml:3",
    ),
    "a file that a cell reads": (
        "import yaml\nwith open('config.yaml') as file:\n    CONFIG = yaml.safe_load(file)",
        "serve(Gateway, CONFIG)",
        CALL,
    ),
    "text that a cell reads": (
        "import json\nfrom pathlib import Path\nCONFIG = json.loads(Path('config.json').read_text())",
        "serve(Gateway, CONFIG)",
        CALL,
    ),
    "the magic": ("'nothing'", "%dynamo serve Gateway -f config.yaml", "config.yaml:3"),
    "the magic, assigned": ("'nothing'", "d = %dynamo serve Gateway --file=config.yaml --http-port 0", "config.yaml:3"),
}


@pytest.mark.parametrize("case", FILES)
def test_files_of_the_serving_cell_are_read_from_the_folder_of_the_notebook(tmp_path, case):
    before, call, origin = FILES[case]
    (tmp_path / "config.yaml").write_text(FILE)
    (tmp_path / "config.json").write_text(json.dumps({"Backend": {"suffix": "from the file", "k": 3}}))

    program, values = read(tmp_path, before or "'nothing'", call)

    assert values["k"] == (3, origin)
    assert values["suffix"][0] == "from the file"
    assert program.notes == ()


def test_a_file_that_is_not_there_is_an_error_with_the_cell(tmp_path):
    path = save(tmp_path, "await serve(Gateway, 'config.yaml')")
    with pytest.raises(ConfigError, match=r"cannot read config.yaml: No such file.*serve\(…\), cell 3, line 1"):
        find(f"{path}:Gateway")


UNREAD = {
    "a call": ("", "{'Backend.k': pick(), 'Backend.suffix': '!'}", "Backend.k = pick()"),
    "a nested call": ("", "{'Backend': {'k': pick(), 'suffix': '!'}}", "Backend.k = pick()"),
    "the environment": ("import os", "{'Backend.k': int(os.environ['K']), 'Backend.suffix': '!'}", "Backend.k = int(os.environ['K'])"),
    "a loop's name": ("for k in range(3): pass", "{'Backend.k': k, 'Backend.suffix': '!'}", "Backend.k = k"),
    "a condition's name": ("if pick():\n    k = 3", "{'Backend.k': k, 'Backend.suffix': '!'}", "Backend.k = k"),
    "a list with a call": ("", "{'Backend.sizes': [1, pick()], 'Backend.suffix': '!'}", "Backend.sizes = [1, pick()]"),
    "a spread": ("", "{'Backend.suffix': '!', **defaults()}", "**defaults()"),
    "a method with the name of a type": ("", "{'Backend.suffix': '!'}, settings.dict()", "settings.dict()"),
    "a mapping in another that a method changes": (
        "CONFIG = {'Backend': {'k': 1}}\nCONFIG['Backend'].pop('k')",
        "{'Backend.suffix': '!'}, CONFIG",
        "CONFIG",
    ),
    "a whole mapping": ("CONFIG = defaults()", "{'Backend.suffix': '!'}, CONFIG", "CONFIG"),
    "a mapping that a function changes": (
        "CONFIG = {'Backend.k': 1}\ndef change(config):\n    config['Backend.k'] = 3\nchange(CONFIG)",
        "{'Backend.suffix': '!'}, CONFIG", "CONFIG",
    ),
    "a mapping that a loop changes": (
        "CONFIG = {'Backend.k': 1}\nfor k in (1, 2):\n    CONFIG['Backend.k'] = k", "{'Backend.suffix': '!'}, CONFIG", "CONFIG",
    ),
    "an unknown item": ("CONFIG = {}\nCONFIG[key()] = 2", "{'Backend.suffix': '!'}, CONFIG", "CONFIG"),
    "an option": ("", "{'Backend.suffix': '!'}, http_port=free_port()", "http_port = free_port()"),
    "options": ("", "{'Backend.suffix': '!'}, **options()", "**options()"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNREAD)
def test_what_cannot_be_read_is_named_in_one_line_and_the_rest_applies(tmp_path, case):
    before, arguments, named = UNREAD[case]

    program, values = read(tmp_path, before or "'nothing'", f"await serve(Gateway, {arguments})")

    assert values == {"suffix": ("!", CALL)}
    assert program.notes == (f"{CALL}: not read, because it is known only when cells run: {named}",)


def test_the_last_call_applies_and_the_earlier_one_is_named(tmp_path):
    program, values = read(
        tmp_path, "await serve(Gateway, {'Backend.k': 1})", "await serve(Gateway, {'Backend.k': 2})",
        "await serve(Backend, {'Backend.k': 3})", "%dynamo serve Gateway --Backend.k=4 --dry-run",
    )  # fmt: skip
    assert values == {"k": (2, CALL)}
    assert program.notes == (f"serve(…), cell 3, line 1: ignored, because {CALL} serves Gateway too",)


def test_a_call_in_a_block_of_code_is_not_read_and_named(tmp_path):
    program, values = read(tmp_path, "def start():\n    return serve(Gateway, {'Backend.k': 2})")
    assert values == {}
    assert program.notes == ("serve(…), cell 3, line 2: not read, because it is inside a block of code",)


def test_a_later_layer_overrides_an_earlier_one(tmp_path, monkeypatch):
    monkeypatch.setenv("DYNAMO_SERVICE_CONFIG", json.dumps({"Backend": {"k": 1, "suffix": "e", "options": {"a": 1}}}))
    (tmp_path / "prod.yaml").write_text("Backend: {k: 5}")
    cells = ["%%dynamo_config\nBackend: {k: 2, suffix: c}", "await serve(Gateway, {'Backend.k': 3})"]
    target = f"{save(tmp_path, *cells)}:Gateway"

    def config(*words):
        source = TerminalHost().plan_source(target, files=[w for w in words if "." in w and "=" not in w],
                                            config_words=[w for w in words if "=" in w])  # fmt: skip
        return {path: (value, origin) for path, value, origin in source.plan().config.rows()}

    found = config()
    assert found["Backend.options.a"] == (1, "DYNAMO_SERVICE_CONFIG")
    assert found["Backend.suffix"] == ("c", "cell 3:2")
    assert found["Backend.k"] == (3, CALL)
    assert config(str(tmp_path / "prod.yaml"))["Backend.k"][0] == 5
    assert config(str(tmp_path / "prod.yaml"), "--Backend.k=6")["Backend.k"] == (6, "--Backend.k")


def test_every_option_of_the_verb_is_read_from_its_magic(tmp_path):
    serving_words, expected = [], {}
    for option in commands()["serve"].params:
        if option.param_type_name != "option" or option.name in {"file", "working_dir", "service_name", "help"}:
            continue
        if option.is_flag:
            serving_words.append(option.opts[0])
            expected[option.name] = True
        else:
            number = option.name in {"http_port", "metrics_port", "grace", "hang"}
            serving_words.append(f"{option.opts[-1]} {7 if number else option.name}")
            expected[option.name] = 7 if number else option.name
    path = save(tmp_path, "'nothing'", f"d = %dynamo serve Gateway --Backend.k=2 {' '.join(serving_words)}")

    serving = serving_of(read_notebook(path), "Gateway", tmp_path)

    assert serving.options == expected
    assert serving.variable == "d"
    assert serving.layers[0].values["Backend"]["k"].origin == "--Backend.k, %dynamo serve, cell 4, line 1"


def test_the_check_of_the_cell_applies_unless_the_command_line_says_otherwise(tmp_path, monkeypatch):
    served = []
    monkeypatch.setattr(TerminalHost, "serve", lambda _, source, options: served.append((source.check, options.grace)))
    path = save(tmp_path, "await serve(Gateway, check='warn', grace=3)")

    run(["serve", f"{path}:Gateway"], TerminalHost())
    run(["serve", f"{path}:Gateway", "--check", "hold", "--grace", "4"], TerminalHost())

    assert served == [("warn", 3), ("hold", 4)]


def test_the_name_of_a_deployment_is_read_from_its_cell(tmp_path):
    calls = ["first = await serve(Gateway)", "with serve(Backend).result() as back:\n    pass", "await serve(Gateway)"]
    cells = read_notebook(save(tmp_path, *calls))
    assert [variable_of(cells, entry) for entry in ("Gateway", "Backend", "Other")] == ["first", "back", ""]


def printed(capsys, *words):
    run(words, TerminalHost())
    return capsys.readouterr().out


SERVED = (
    "deployment = await serve(Gateway, {'Backend.workers': 2, 'Backend.k': pick()}, http_port=0, grace=5, name='rag')"
)


def test_config_and_a_dry_run_show_the_cell_as_the_origin(tmp_path, dynamo_home, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(tmp_path, SERVED)

    config = printed(capsys, "config", "rag.ipynb:Gateway")
    dry_run = printed(capsys, "serve", "rag.ipynb:Gateway", "--dry-run", "--grace", "7")

    where, note = "serve(…), cell 3, line 1", "known only when cells run: Backend.k = pick()"
    for text in (config, dry_run):
        (workers,) = [
            line.split(maxsplit=2) for line in text.splitlines() if "ServiceArgs.workers" in line and where in line
        ]
        assert workers == ["Backend.ServiceArgs.workers", "2", where]
        assert f"{where}: not read, because it is {note}" in text
    assert "Options:\n" in dry_run
    assert f"  http_port: 0  {where}" in dry_run
    assert f"  name: rag  {where}" in dry_run
    assert "grace" not in dry_run, "the command line overrides it"
    assert (
        json.loads(printed(capsys, "config", "rag.ipynb:Gateway", "--json"))["Backend"]["ServiceArgs"]["workers"] == 2
    )


def test_an_exported_bundle_has_the_configuration_of_the_cell(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(tmp_path, SERVED)

    text = printed(capsys, "export", "rag.ipynb:Gateway", "bundle", "--Backend.k=4")

    assert "not read, because it is known only when cells run: Backend.k = pick()" in text
    spec = find("bundle").graph.entry and json.loads(json.dumps(printed(capsys, "config", "bundle", "--json")))
    values = json.loads(spec)["Backend"]
    assert (values["ServiceArgs"]["workers"], values["k"]) == (2, 4)


@pytest.mark.slow
def test_a_terminal_serves_what_the_cell_serves(tmp_path, dynamo_home):
    save(
        tmp_path,
        SERVED.replace("'Backend.k': pick()", "'Backend.suffix': '!'").replace(
            "http_port=0", "http_port=0, detach=True"
        ),
    )
    command = [str(Path(sys.executable).with_name("dynamo")), "serve", "rag.ipynb:Gateway"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as serving:
        first = next(line for line in serving.stdout if line.startswith("deployment "))
        backend = next(line for line in serving.stdout if "Backend" in line)
        serving.terminate()
        rest = serving.stdout.read()
    assert first.startswith("deployment rag-"), "the name is that of the cell"
    assert "2/2 workers" in backend
    assert "stopped" in rest, "it runs in the foreground: whether it outlives its owner is not the cell's matter"
