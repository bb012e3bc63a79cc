"""The options of `serve()` and of `dynamo serve` are those of ServeOptions."""

import inspect
from dataclasses import fields

import pytest

from dynamo_nb import serve
from dynamo_nb.cli.main import run
from dynamo_nb.cli.terminal_host import TerminalHost
from dynamo_nb.cli.verbs import graphs
from dynamo_nb.deployment.serve_options import ServeOptions

OPTIONS = {field.name: field.default for field in fields(ServeOptions)}
PROGRAM = "from dynamo_nb import service\n\n\n@service\nclass Backend:\n    pass\n"


def keywords(function):
    return {name: p.default for name, p in inspect.signature(function).parameters.items() if name not in {"args", "kw"}}


def test_serve_has_the_options_with_the_same_defaults():
    found = keywords(serve)
    assert OPTIONS.items() <= found.items()
    assert set(found) - set(OPTIONS) == {"entry", "configs", "name", "namespace", "check"}


def test_the_command_has_the_options_with_the_same_defaults_but_no_secret():
    found = keywords(graphs.serve)
    secrets = {"secret", "metrics_token"}
    without_secrets = {name: default for name, default in OPTIONS.items() if name not in secrets}
    assert without_secrets.items() <= found.items()
    assert not secrets & set(found), "other users of the machine can read a command line"


class Recorder(TerminalHost):
    def serve(self, source, options):
        return options


@pytest.mark.parametrize("words", [["--http-host", "::1", "--http-port", "0"], ["--host", "::1", "--port", "0"]])
def test_host_and_port_of_the_command_are_those_of_http(project, words):
    project.write("served.py", PROGRAM)
    target = ["serve", "served.py", "--working-dir", str(project.folder), "--worker-host", "0.0.0.0", "--detach"]
    assert run([*target, *words], Recorder()) == ServeOptions(
        http_host="::1", http_port=0, worker_host="0.0.0.0", detach=True
    )


def test_the_environment_applies_where_an_option_is_not_set(monkeypatch):
    monkeypatch.setenv("DYNAMO_HOST", "::1")
    monkeypatch.setenv("DYNAMO_PORT", "9000")
    found = ServeOptions().resolve()
    assert (found.http_host, found.http_port, found.http_port_required) == ("::1", 9000, True)
    found = ServeOptions(http_host="127.0.0.1", http_port=9001).resolve()
    assert (found.http_host, found.http_port) == ("127.0.0.1", 9001)
