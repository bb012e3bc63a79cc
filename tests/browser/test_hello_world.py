"""The first steps with notebooks/hello_world.ipynb in JupyterLab: run it, edit cells, restart the kernel."""

import json
import re

from playwright.sync_api import expect

BACKEND = "class Backend:"
LINKED = ".link(Backend)"
SERVED = "await serve("
STOPPED = "await deployment.stop()"

LOAD = """load = %dynamo bench frontend.ask -p '{"text": "hello"}' -c 4 --duration 600 --background"""
STOP_LOAD = """import json

load.stop()
result = await load
print(json.dumps([result.calls, result.errors]))"""
ASK = """import json

print(json.dumps((await deployment.Frontend.ask({"text": "hello world"})).words))"""


def answer(notebook):
    notebook.run(ASK)
    return json.loads(notebook.text(ASK))


def test_run_all_shows_the_live_graph_from_start_to_stop(open_hello, lab):
    notebook = open_hello()
    lab.screenshot("opened")
    notebook.run_all()
    assert notebook.errors() == []
    for cell, step in ((LINKED, "drawn"), (SERVED, "served"), (STOPPED, "end")):
        notebook.show(cell)
        lab.screenshot(step)
    states = notebook.seen_states(SERVED, "Backend")
    assert (states[0], states[-1]) == ("ready", "stopped")
    notebook.graph(SERVED).is_in_state(Frontend="stopped", Middle="stopped", Backend="stopped")


def test_an_edited_service_is_replaced_under_load_without_a_failed_call(served, lab, gate):
    notebook, graph = served(LOAD, STOP_LOAD, ASK)
    assert answer(notebook) == ["hello!", "world!"]
    notebook.run(LOAD)
    notebook.show(SERVED)
    graph.is_busy("Backend")
    lab.screenshot("loaded")
    notebook.forget_states()
    gate.close()
    source = notebook.cells()[notebook.number(BACKEND)]["source"]
    edited = source.replace("self.suffix = suffix", gate.code).replace("decorate(word,", "decorate(word.upper(),")
    notebook.edit(BACKEND, edited.replace('await Backend().generate("tried right here")', ""))
    ended = notebook.start(BACKEND)
    graph.is_in_state(Backend="updating", Middle="ready", Frontend="ready")
    notebook.show(SERVED)
    graph.is_busy("Frontend")
    lab.screenshot("updating")
    gate.open()
    ended()
    graph.is_in_state(Backend="ready")
    lab.screenshot("replaced")
    assert "replaced Backend in" in notebook.text(BACKEND)
    assert answer(notebook) == ["HELLO!", "WORLD!"]
    notebook.run(STOP_LOAD)
    calls, errors = json.loads(notebook.text(STOP_LOAD))
    assert errors == {}
    assert calls > 100
    assert set(notebook.seen_states(SERVED, "Middle")) <= {"ready"}


def test_a_new_version_that_does_not_start_is_an_error_under_its_cell_and_the_old_one_keeps_serving(served, lab):
    notebook, graph = served(ASK)
    source = notebook.cells()[notebook.number(BACKEND)]["source"]
    broken = source.replace("self.suffix = suffix", 'raise OSError("no such model")')
    notebook.edit(BACKEND, broken.replace('await Backend().generate("tried right here")', ""))
    notebook.run(BACKEND)
    notebook.show(BACKEND)
    lab.screenshot("error")
    (error,) = notebook.errors()
    assert "no such model" in error
    assert "Backend" in error
    notebook.show(SERVED)
    graph.is_in_state(Backend="ready", Frontend="ready")
    lab.screenshot("graph")
    assert answer(notebook) == ["hello!", "world!"]


def test_a_link_that_is_edited_in_its_cell_changes_the_served_graph(served, lab):
    notebook, graph = served(ASK)
    notebook.replace(LINKED, ".link(Backend)", ".link(Backend2)")
    graph.is_in_state(Backend2="ready")
    graph.is_linked("Middle", "Backend2")
    graph.is_linked("Middle", "Backend", linked=False)
    notebook.show(".link(Backend2)")
    lab.screenshot("drawn")
    notebook.show(SERVED)
    lab.screenshot("served")
    assert answer(notebook) == ["world", "hello"]


def test_a_kernel_restart_stops_the_deployment_and_the_notebook_runs_again(served, lab):
    notebook, _ = served()
    notebook.restart()
    lab.screenshot("restarted")
    notebook.run_to(SERVED)
    assert notebook.errors() == []
    notebook.graph(SERVED).is_in_state(Frontend="ready", Backend="ready")


ATTACHED = """%load_ext dynamo_nb
deployment = %dynamo attach
deployment"""
PIDS = """print(sorted(w.pid for s in deployment.status.services.values() for w in s.workers))"""


def test_a_restarted_kernel_attaches_to_a_detached_deployment_with_its_scale(open_hello, lab):
    notebook = open_hello("await deployment.scale(Backend=3)", PIDS, ATTACHED, ASK)
    served = "await serve(Frontend, http_port=0, detach=True)\ndeployment"
    notebook.edit(SERVED, f"deployment = {served}")
    notebook.run_to(SERVED)
    notebook.run("scale(Backend=3)")
    notebook.run(PIDS)
    before = notebook.text(PIDS)
    notebook.restart()
    notebook.show(SERVED)
    old = notebook.graph(SERVED)
    expect(old.view.get_by_role("status")).to_contain_text(
        re.compile("Disconnected.*last seen.*%dynamo attach frontend-")
    )
    lab.screenshot("restarted")
    notebook.run(ATTACHED)
    graph = notebook.graph(ATTACHED)
    graph.is_in_state(Frontend="ready", Middle="ready", Backend="ready")
    expect(graph.node("Backend")).to_have_accessible_name(re.compile("3/3 workers"))
    notebook.show(ATTACHED)
    lab.screenshot("attached")
    notebook.run(PIDS)
    assert notebook.text(PIDS) == before
    assert answer(notebook) == ["hello!", "world!"]
    graph.view.get_by_role("button", name="Stop…").click()
    lab.screenshot("confirmation")
    graph.view.get_by_role("group", name="Stop all services?").get_by_role("button", name="Stop").click()
    graph.is_in_state(Frontend="stopped", Middle="stopped", Backend="stopped")
    lab.screenshot("stopped")
