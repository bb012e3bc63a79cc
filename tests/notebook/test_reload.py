"""`%reload_ext` and `%unload_ext`: nothing is doubled, nothing is left, and what runs goes on."""

import pytest

from dynamo_nb import notebook
from dynamo_nb.deployment.start import notebook_of
from dynamo_nb.sdk import origin

BACKEND = """\
@service
class Backend:
    @dynamo_endpoint()
    async def generate(self, text: str) -> str:
        return text + "-old"
"""
ASK = "print(await deployment.Backend.generate('x'))"


def hooks(ip):
    """All that an extension can add to a shell, as far as it is ours to add."""
    return {
        "events": {name: len(them) for name, them in ip.events.callbacks.items()},
        "cleanup": len(ip.input_transformers_cleanup),
        "tokens": len(ip.input_transformer_manager.token_transformers),
        "matchers": len(ip.Completer.custom_matchers),
        "magics": {kind: sorted(them) for kind, them in ip.magics_manager.magics.items()},
        "registry": sorted(ip.magics_manager.registry),
        "configurables": len(ip.configurables),
        "exceptions": ip.custom_exceptions,
        "names": sorted(name for name in ip.user_ns if name.startswith("__dynamo")),
        "cells": origin._cell_finder is not None,
    }


def test_unloading_leaves_the_shell_as_it_was(shell):
    shell.run("%unload_ext dynamo_nb")  # IPython makes its own magics when they are first used
    before = hooks(shell.ip)
    assert shell.run("%load_ext dynamo_nb").ok
    assert hooks(shell.ip) != before
    assert shell.run("%unload_ext dynamo_nb").ok
    assert hooks(shell.ip) == before
    assert notebook.current() is None


def test_reloading_doubles_nothing(shell):
    shell.load()
    once, session = hooks(shell.ip), notebook.current()
    for _ in range(2):
        assert shell.run("%reload_ext dynamo_nb").ok
    assert hooks(shell.ip) == once
    assert notebook.current() is session


def test_a_loader_that_runs_twice_doubles_nothing(shell):
    shell.load()
    once = hooks(shell.ip)
    assert shell.run("import dynamo_nb\ndynamo_nb.load_ipython_extension(get_ipython())").ok
    assert hooks(shell.ip) == once


def test_a_reset_of_all_names_leaves_the_notebook_a_notebook(shell):
    shell.load()
    assert shell.run("%reset -f").ok
    assert shell.run("from dynamo_nb import dynamo_endpoint, service\n").ok
    assert shell.run(BACKEND).ok

    assert shell.plan("Backend").spec.entry == "Backend"
    assert notebook_of(shell.ip.user_ns) is notebook.current()


@pytest.mark.slow
def test_a_deployment_goes_on_and_follows_its_cells_after_a_reload(kernel):
    kernel.load()
    assert kernel.run(BACKEND, "backend").ok
    ran = kernel.run("deployment = await serve(Backend, http_port=0)")
    assert ran.ok, ran.error
    assert kernel.run("%reload_ext dynamo_nb").ok
    assert kernel.run(ASK).text == "x-old\n"

    edited = kernel.run(BACKEND.replace("old", "new"), "backend")
    assert (edited.ok, edited.text.split(": ")[1].split(" in ")[0]) == (True, "replaced Backend"), edited.error
    assert kernel.run(ASK).text == "x-new\n"


@pytest.mark.slow
def test_a_deployment_goes_on_while_the_extension_is_away_and_is_found_again(kernel):
    kernel.load()
    assert kernel.run(BACKEND, "backend").ok
    assert kernel.run("deployment = await serve(Backend, http_port=0)").ok
    assert kernel.run("%unload_ext dynamo_nb").ok
    assert kernel.run(ASK).text == "x-old\n"
    assert kernel.run(BACKEND.replace("old", "new"), "backend").text == ""
    assert kernel.run(ASK).text == "x-old\n"

    assert kernel.run("%load_ext dynamo_nb").ok
    assert kernel.run(ASK).text == "x-new\n"
    assert kernel.run("%dynamo scale Backend=2").text.startswith("Backend ready 2/2")
