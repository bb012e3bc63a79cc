import pytest

from dynamo_nb import Graph, depends, service
from dynamo_nb.errors import DefinitionError, LinkError
from dynamo_nb.sdk.links import links_in


@service
class D: ...


@service
class C:
    d = depends(D)


@service
class B:
    c = depends(C)
    d = depends(D)


@service
class A:
    b = depends(B)
    c = depends(C)


def linked(text, entry=A, *, again=0):
    """The graph of `entry` after `text` was run (and again) as the only code of a module."""
    namespace = {"A": A, "B": B, "C": C, "D": D}
    for _ in range(1 + again):
        exec(compile(text, "links.py", "exec"), namespace)
    return Graph.of(entry, namespace), links_in(namespace)


def test_link_returns_its_target():
    namespace = {"A": A, "B": B}
    exec("result = A.link(B)", namespace)
    assert namespace["result"] is B


def test_without_links_every_dependency_is_active():
    graph, _ = linked("")
    assert set(graph.running) == {"A", "B", "C", "D"}
    assert graph.bindings("A") == {"b": "B", "c": "C"}


def test_a_chain_is_a_path():
    graph, book = linked("A.link(B).link(C).link(D)")
    assert list(book) == [("A", "B"), ("B", "C"), ("C", "D")]
    assert graph.running == ("D", "C", "B", "A")
    assert graph.bindings("A") == {"b": "B", "c": None}
    assert graph.bindings("B") == {"c": "C", "d": None}


def test_two_links_of_one_service_are_a_fan_out():
    graph, _ = linked("A.link(B); A.link(C)")
    assert graph.bindings("A") == {"b": "B", "c": "C"}


def test_a_service_without_links_keeps_all_dependencies():
    graph, _ = linked("A.link(B)")
    assert graph.bindings("A") == {"b": "B", "c": None}
    assert graph.bindings("B") == {"c": "C", "d": "D"}


def test_an_unreachable_service_is_not_started():
    graph, _ = linked("A.link(C)")
    assert set(graph.running) == {"A", "C", "D"}


def test_links_that_run_twice_count_once():
    once, _ = linked("A.link(B).link(C)")
    twice, book = linked("A.link(B).link(C)", again=1)
    assert (twice.edges, len(book)) == (once.edges, 2)


def test_unlink_removes_a_link():
    graph, book = linked("A.link(B); A.link(C); A.unlink(B)")
    assert list(book) == [("A", "C")]
    assert graph.bindings("A") == {"b": None, "c": "C"}


def test_links_of_two_modules_are_separate():
    linked("A.link(B)")
    graph, book = linked("")
    assert len(book) == 0
    assert graph.bindings("A") == {"b": "B", "c": "C"}


def test_a_link_has_its_line_as_origin():
    _, book = linked("\nA.link(B)")
    assert str(book.origin("A", "B")) == "links.py:2"


def test_the_error_of_a_link_lists_the_dependencies():
    with pytest.raises(LinkError, match=r"A does not depend on D; its dependencies: B \(as b\), C \(as c\)") as caught:
        linked("A.link(D)")
    assert caught.value.where == "A.link(D), links.py:1"
    assert "d = depends(D)" in caught.value.remedy


def test_the_error_of_unlink_lists_the_links():
    with pytest.raises(LinkError, match=r"A is not linked to C[\s\S]*links of A here: B"):
        linked("A.link(B); A.unlink(C)")


def test_a_link_to_a_class_that_is_not_a_service_is_an_error():
    with pytest.raises(DefinitionError, match="int is not a service"):
        linked("A.link(int)")


def test_a_dependency_on_an_unknown_name_is_an_error_of_the_graph():
    @service
    class Lost:
        far = depends("Dee")

    with pytest.raises(DefinitionError, match="Lost depends on 'Dee', and no service has that name"):
        Graph.of(Lost, {"D": D})


def test_a_cycle_is_allowed():
    @service
    class Ping:
        pong = depends("Pong")

    @service
    class Pong:
        ping = depends(Ping)

    graph = Graph.of(Ping, {"Ping": Ping, "Pong": Pong})
    assert set(graph.running) == {"Ping", "Pong"}


def test_unlink_with_force_is_noted_until_the_services_are_linked_again():
    graph, book = linked("A.link(B); A.link(C); A.unlink(B); A.unlink(B, force=True)")
    assert graph.bindings("A") == {"b": None, "c": "C"}
    assert graph.forced == book.forced == {("A", "B")}
    graph, book = linked("A.link(B); A.unlink(B, force=True); A.link(B)")
    assert book.forced == set()
