"""The table of verbs as data, from which help texts and the documentation are made."""

import shlex

import pytest

import dynamo_nb
from dynamo_nb.cli.help import verb_help
from dynamo_nb.cli.main import run
from dynamo_nb.cli.terminal_host import TerminalHost
from dynamo_nb.cli.verb_table import commands
from dynamo_nb.config.command_words import split_words
from dynamo_nb.errors import DynamoError

VERBS = {verb.name: verb for verb in verb_help()}


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
def test_a_verb_and_each_of_its_parameters_has_a_help_text(verb):
    assert verb.help
    assert [parameter.names for parameter in verb.parameters if not parameter.help] == []


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
def test_each_example_is_a_valid_command_line(verb):
    assert verb.examples
    for example in verb.examples:
        _, name, *words = shlex.split(example.line)
        assert name == verb.name
        arguments, _ = split_words(words)
        commands()[name].make_context(name, arguments)


def test_a_parameter_says_what_it_takes():
    serve, graph = parameters("serve"), parameters("graph")
    target, files, kernels, form = serve["target"], serve["--file"], serve["--kernels"], graph["--format"]
    assert (target.value, target.required, target.is_option) == ("str", True, False)
    assert (files.names, files.value, files.repeatable) == (("-f", "--file"), "str", True)
    assert (kernels.names, kernels.value, kernels.default) == (("--kernels", "--no-kernels"), "", "--kernels")
    assert (form.value, form.default) == ("text|svg|dot", "text")


def parameters(verb):
    return {name: parameter for parameter in VERBS[verb].parameters for name in parameter.names}


def test_examples_are_written_for_the_program_that_shows_them():
    (serve, *_) = verb_help("%dynamo", "Frontend")
    assert serve.examples[0].line == "%dynamo serve Frontend"


@pytest.mark.parametrize("verb", ["attach", "bench", "config", "console", "detach", "logs", "restart", "scale", "stop"])
def test_a_verb_about_a_running_deployment_takes_its_name_with_d(verb):
    assert parameters(verb)["-d"].names == ("-d", "--deployment")


@pytest.mark.parametrize("verb", ["attach", "detach", "stop"])
def test_a_deployment_is_named_once(verb):
    with pytest.raises(DynamoError, match="the deployment is named twice"):
        run([verb, "one", "-d", "other"], TerminalHost())


@pytest.mark.parametrize("verb", VERBS)
def test_h_shows_the_same_as_help(verb, capsys):
    run([verb, "-h"], TerminalHost())
    shown = capsys.readouterr().out
    run([verb, "--help"], TerminalHost())
    assert shown == capsys.readouterr().out
    assert f"Usage: dynamo {verb}" in shown


def test_h_alone_lists_the_verbs(capsys):
    run(["-h"], TerminalHost())
    shown = capsys.readouterr().out
    assert [verb for verb in VERBS if f"  {verb} " not in shown] == []


def test_version_is_that_of_the_package(capsys):
    run(["--version"], TerminalHost())
    assert capsys.readouterr().out == f"dynamo_nb {dynamo_nb.__version__}\n"
