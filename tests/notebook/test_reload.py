"""`%reload_ext` and `%unload_ext`: nothing is added twice, nothing is left, and deployments keep running."""

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
    """What an extension can add to a shell."""
    return {
        "events": {name: len(found) for name, found in ip.events.callbacks.items()},
        "cleanup": len(ip.input_transformers_cleanup),
        "tokens": len(ip.input_transformer_manager.token_transformers),
        "matchers": len(ip.Completer.custom_matchers),
        "magics": {kind: sorted(found) for kind, found in ip.magics_manager.magics.items()},
        "registry": sorted(ip.magics_manager.registry),
        "configurables": len(ip.configurables),
        "exceptions": ip.custom_exceptions,
        "names": sorted(name for name in ip.user_ns if name.startswith("__dynamo")),
        "cells": origin._cell_finder is not None,
    }


def test_unloading_restores_the_shell(shell):
    shell.run("%unload_ext dynamo_nb")  # IPython makes its own magics when they are first used
    before = hooks(shell.ip)
    assert shell.run("%load_ext dynamo_nb").ok
    assert hooks(shell.ip) != before
    assert shell.run("%unload_ext dynamo_nb").ok
    assert hooks(shell.ip) == before
    assert notebook.current() is None


def test_reloading_adds_nothing_twice(shell):
    shell.load()
    once, session = hooks(shell.ip), notebook.current()
    for _ in range(2):
        assert shell.run("%reload_ext dynamo_nb").ok
    assert hooks(shell.ip) == once
    assert notebook.current() is session


def test_loading_twice_adds_nothing_twice(shell):
    shell.load()
    once = hooks(shell.ip)
    assert shell.run("import dynamo_nb\ndynamo_nb.load_ipython_extension(get_ipython())").ok
    assert hooks(shell.ip) == once


def test_the_extension_survives_a_reset_of_all_names(shell):
    shell.load()
    assert shell.run("%reset -f").ok
    assert shell.run("from dynamo_nb import dynamo_endpoint, service\n").ok
    assert shell.run(BACKEND).ok

    assert shell.plan("Backend").spec.entry == "Backend"
    assert notebook_of(shell.ip.user_ns) is notebook.current()


@pytest.mark.slow
def test_a_deployment_follows_its_cells_after_a_reload(kernel):
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
def test_a_deployment_keeps_running_while_the_extension_is_unloaded(kernel):
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
