"""The table of verbs as data, from which help texts and the documentation are made."""

import shlex

import pytest

from dynamo_nb.cli.config_words import split_words
from dynamo_nb.cli.help import verb_help
from dynamo_nb.cli.verb_table import commands

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
