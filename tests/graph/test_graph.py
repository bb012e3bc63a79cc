"""The services and edges of a Graph."""

import itertools

import pytest

from dynamo_nb.errors import DefinitionError, LinkError
from dynamo_nb.graph import Graph

PRELUDE = """
from dynamo_nb import AbstractService, abstract_endpoint, depends, dynamo_endpoint, service
"""

CHAIN = """
@service
class C: pass
@service
class B:
    c = depends(C)
@service
class A:
    b = depends(B)
    c = depends(C)
"""

LLM = """
@service
class PrefillWorker: pass
@service
class VllmWorker:
    prefill = depends(PrefillWorker)
@service
class Router:
    workers = depends(VllmWorker)
@service
class Processor:
    router = depends(Router)
    worker = depends(VllmWorker)
@service
class Frontend:
    processor = depends(Processor)
"""

STORES = """
class Store(AbstractService):
    @abstract_endpoint
    async def get(self, key: str) -> str: ...
@service
class Disk(Store):
    @dynamo_endpoint()
    async def get(self, key: str) -> str: return key
@service
class Memory(Store):
    @dynamo_endpoint()
    async def get(self, key: str) -> str: return key
@service
class Log: pass
@service
class A:
    store = depends(Store)
    log = depends(Log)
"""

_numbers = itertools.count()


def run(code, namespace=None):
    """Runs code as a cell of a notebook: in a new namespace, or in that of earlier cells."""
    if namespace is None:
        namespace = {"__name__": f"notebook_{next(_numbers)}"}
        exec(PRELUDE, namespace)
    exec(code, namespace)
    return namespace


def edges(graph):
    """`A.b>B` for an active edge, `A.b:B` for an inactive one."""
    return " ".join(f"{e.source}.{e.attribute}{'>' if e.active else ':'}{e.target}" for e in graph.edges)


def graph_of(code, entry="A"):
    namespace = run(code)
    return Graph.of(namespace[entry], namespace)


@pytest.mark.parametrize(
    ("links", "expected", "running"),
    [
        pytest.param("", "A.b>B A.c>C B.c>C", "C B A", id="without links every edge is active"),
        pytest.param("A.link(B)", "A.b>B A.c:C B.c>C", "C B A", id="a service without links keeps its edges"),
        pytest.param("A.link(C)", "A.b:B A.c>C B.c>C", "C A", id="a service that no active path reaches does not run"),
        pytest.param("A.link(B).link(C)", "A.b>B A.c:C B.c>C", "C B A", id="a path"),
        pytest.param("A.link(B); A.link(C)", "A.b>B A.c>C B.c>C", "C B A", id="a fan-out"),
        pytest.param("B.link(C)", "A.b>B A.c>C B.c>C", "C B A", id="a link of another service has no effect here"),
        pytest.param("A.link(B); A.link(B)", "A.b>B A.c:C B.c>C", "C B A", id="a link made twice counts once"),
        pytest.param("A.link(B); A.unlink(B)", "A.b>B A.c>C B.c>C", "C B A", id="the only link is removed"),
        pytest.param("A.link(B); A.link(C); A.unlink(B)", "A.b:B A.c>C B.c>C", "C A", id="one of two links is removed"),
    ],
)
def test_links_choose_among_declared_edges(links, expected, running):
    graph = graph_of(CHAIN + links)
    assert edges(graph) == expected
    assert " ".join(graph.running) == running


AGG = "Frontend.processor>Processor Processor.router:Router Processor.worker>VllmWorker"
ROUTED = "Frontend.processor>Processor Processor.router>Router Processor.worker:VllmWorker"


@pytest.mark.parametrize(
    ("links", "expected", "running"),
    [
        pytest.param(
            "Frontend.link(Processor).link(VllmWorker)",
            f"{AGG} Router.workers>VllmWorker VllmWorker.prefill>PrefillWorker",
            "PrefillWorker VllmWorker Processor Frontend",
            id="agg",
        ),
        pytest.param(
            "Frontend.link(Processor).link(Router).link(VllmWorker)",
            f"{ROUTED} Router.workers>VllmWorker VllmWorker.prefill>PrefillWorker",
            "PrefillWorker VllmWorker Router Processor Frontend",
            id="agg_router",
        ),
        pytest.param(
            "Frontend.link(Processor).link(VllmWorker).link(PrefillWorker)",
            f"{AGG} Router.workers>VllmWorker VllmWorker.prefill>PrefillWorker",
            "PrefillWorker VllmWorker Processor Frontend",
            id="disagg",
        ),
        pytest.param(
            "Frontend.link(Processor).link(Router).link(VllmWorker).link(PrefillWorker)",
            f"{ROUTED} Router.workers>VllmWorker VllmWorker.prefill>PrefillWorker",
            "PrefillWorker VllmWorker Router Processor Frontend",
            id="disagg_router",
        ),
    ],
)
def test_llm_graphs(links, expected, running):
    graph = graph_of(LLM + links, "Frontend")
    assert sorted(edges(graph).split()) == sorted(expected.split())
    assert " ".join(graph.running) == running


def test_the_binding_of_an_inactive_edge_is_none():
    graph = graph_of(LLM + "Frontend.link(Processor).link(VllmWorker)", "Frontend")
    assert graph.bindings("Processor") == {"router": None, "worker": "VllmWorker"}


@pytest.mark.parametrize(
    ("code", "expected", "running"),
    [
        pytest.param(
            "@service\nclass A:\n    b = depends('B')\n@service\nclass B:\n    a = depends('A')\n",
            "A.b>B B.a>A",
            "B A",
            id="two services that call each other",
        ),
        pytest.param("@service\nclass A:\n    me = depends('A')\n", "A.me>A", "A", id="a service that calls itself"),
        pytest.param(
            "@service\nclass A:\n    b = depends('Bee')\n@service(dynamo={'name': 'Bee'})\nclass B: pass\n",
            "A.b>Bee",
            "Bee A",
            id="by the name in the decorator",
        ),
    ],
)
def test_dependencies_on_services_that_are_defined_later(code, expected, running):
    graph = graph_of(code)
    assert edges(graph) == expected
    assert " ".join(graph.running) == running


def test_the_error_of_an_unknown_name_suggests_the_nearest():
    with pytest.raises(DefinitionError, match="did you mean 'Backend'"):
        graph_of("@service\nclass Backend: pass\n@service\nclass A:\n    b = depends('Bakend')\n")


@pytest.mark.parametrize(
    ("links", "expected"),
    [
        ("A.link(Disk); A.link(Log)", "A.store>Disk A.log>Log"),
        ("A.link(Memory); A.link(Log)", "A.store>Memory A.log>Log"),
        ("A.link(Log)", "A.store:Store A.log>Log"),
    ],
)
def test_a_link_fills_an_interface(links, expected):
    assert edges(graph_of(STORES + links)) == expected


def test_the_error_of_an_unfilled_interface_names_the_link_to_write():
    with pytest.raises(LinkError, match=r"A\.store depends on the interface Store(.|\n)*A\.link"):
        graph_of(STORES)


def test_two_links_for_one_interface_are_an_error():
    with pytest.raises(LinkError, match="several services: Disk, Memory"):
        graph_of(STORES + "A.link(Disk); A.link(Memory)")


def test_an_unfilled_interface_of_a_service_that_does_not_run_is_allowed():
    graph = graph_of(
        STORES + "@service\nclass Top:\n    a = depends(A)\n    log = depends(Log)\nTop.link(Log)\n", "Top"
    )
    assert graph.running == ("Log", "Top")


def test_the_error_of_a_link_without_dependency_lists_the_dependencies():
    with pytest.raises(LinkError, match=r"its dependencies: B \(as b\), C \(as c\)"):
        run(CHAIN + "A.link(A)")


def test_removing_a_link_that_does_not_exist_is_an_error():
    with pytest.raises(LinkError, match=r"A is not linked to C(.|\n)*links of A here: B"):
        run(CHAIN + "A.link(B); A.unlink(C)")


def test_the_error_of_two_services_with_one_name_names_both_origins():
    code = (
        "@service(dynamo={'name': 'X'})\nclass B: pass\n"
        "@service(dynamo={'name': 'X'})\nclass C: pass\n"
        "@service\nclass A:\n    b = depends(B)\n    c = depends(C)\n"
    )
    with pytest.raises(DefinitionError, match=r"two services are named X\n.*:1, and .*:3"):
        graph_of(code)


def test_a_service_whose_cell_ran_again_is_used_in_its_current_form():
    namespace = run(CHAIN)
    run("@service(workers=7)\nclass C: pass", namespace)
    graph = Graph.of(namespace["A"], namespace)
    assert graph.services["C"].cls is namespace["C"]
    assert graph.services["C"].args["workers"] == 7


def test_an_old_class_of_the_entry_is_replaced_by_the_current_one():
    namespace = run(CHAIN)
    old = namespace["A"]
    run("@service\nclass A:\n    c = depends(C)", namespace)
    assert edges(Graph.of(old, namespace)) == "A.c>C"


def test_links_stay_when_the_services_are_defined_again():
    namespace = run(CHAIN + "A.link(B)")
    run(CHAIN, namespace)
    assert edges(Graph.of(namespace["A"], namespace)) == "A.b>B A.c:C B.c>C"


def test_a_link_to_a_removed_dependency_is_an_error():
    namespace = run(CHAIN + "A.link(B)")
    run("@service\nclass A:\n    c = depends(C)", namespace)
    with pytest.raises(LinkError, match="A is linked to B and no longer depends on it"):
        Graph.of(namespace["A"], namespace)


def test_links_belong_to_the_namespace_that_wrote_them():
    services = run(CHAIN)
    names = {name: services[name] for name in "ABC"}
    direct, through = {"__name__": "direct", **names}, {"__name__": "through", **names}
    run("A.link(C)", direct)
    run("A.link(B)", through)
    assert edges(Graph.of(names["A"], direct)) == "A.b:B A.c>C B.c>C"
    assert edges(Graph.of(names["A"], through)) == "A.b>B A.c:C B.c>C"
    assert edges(Graph.of(names["A"], services)) == "A.b>B A.c>C B.c>C"


def test_the_default_namespace_is_the_callers():
    namespace = run(CHAIN + "from dynamo_nb.graph import Graph\nA.link(C)\ngraph = Graph.of(A)\n")
    assert edges(namespace["graph"]) == "A.b:B A.c>C B.c>C"


def test_picture_of_a_graph():
    code = (
        "@service(dynamo={'namespace': 'hello', 'enabled': False})\nclass C: pass\n"
        "@service(workers=4, resources={'gpu': '2', 'memory': '20Gi'})\nclass B:\n"
        "    @dynamo_endpoint()\n    async def generate(self): return 1\n"
        "@service\nclass A:\n    b = depends(B)\n    c = depends(C)\nA.link(B)\n"
    )
    picture = graph_of(code).picture()
    a, b, c = picture.nodes
    assert (a.name, a.entry, a.workers, a.running) == ("A", True, 1, True)
    assert (b.workers, b.resources, b.endpoints) == (4, {"gpu": 2, "memory": "20Gi"}, ("generate",))
    assert (c.namespace, c.local, c.running) == ("hello", True, False)
    assert [(x.source, x.target, x.attribute, x.active) for x in picture.arrows] == [
        ("A", "B", "b", True),
        ("A", "C", "c", False),
    ]


def test_states_are_set_on_the_named_services_only():
    picture = graph_of(CHAIN).picture().with_states({"B": ("failed", "exit code 1"), "Unknown": ("ready", "")})
    assert [(n.name, n.state, n.note) for n in picture.nodes] == [
        ("A", "", ""),
        ("B", "failed", "exit code 1"),
        ("C", "", ""),
    ]
