"""Programs in exported bundles."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from dynamo_nb.bundle import CODE_FOLDER, CONFIG_FILE, GRAPH_FILE, read_code, read_spec
from dynamo_nb.config.yaml_layer import yaml_layer
from dynamo_nb.errors import DynamoError
from dynamo_nb.graph.graph import Graph
from dynamo_nb.program.absent import placeholder, settled_graph
from dynamo_nb.program.importing import class_at, import_error, importing_from
from dynamo_nb.program.program import Program, Source
from dynamo_nb.sdk.links import LinkBook
from dynamo_nb.sdk.origin import Origin
from dynamo_nb.sdk.service_config import COMMON


def bundle_program(folder: Path, source: Source) -> Program:
    """Returns the graph of a bundle, after checking its code against the digests.

    Args:
        folder: The bundle.
        source: For `Program.source`.

    Raises:
        BundleError: A file was altered or is missing.
        TargetError: The code of the entry cannot be imported.
    """
    folder = folder.resolve()
    spec = read_spec(folder)
    tree = read_code(folder, spec)
    absent: dict[str, DynamoError] = {}
    loaded: dict[str, type] = {}

    def load(name: str) -> type:
        if name not in loaded:
            try:
                loaded[name] = class_at(tree.targets[name])
            except ModuleNotFoundError as error:
                absent[name] = import_error(name, folder / CODE_FOLDER, error)
                if name == spec.entry:
                    raise absent[name] from error
                loaded[name] = placeholder(spec.services[name])
        return loaded[name]

    def build() -> Graph:
        # Active edges become links: without a link, an edge is active only where there is no choice.
        book = LinkBook()
        place = Origin(str(folder / GRAPH_FILE), GRAPH_FILE)
        filling = {edge.target: load(edge.target) for edge in spec.edges if edge.active}
        for edge in spec.edges:
            if edge.active and edge.source not in absent:
                book.add(edge.source, edge.target, place, filling[edge.target])
        return Graph.of(
            load(spec.entry),
            {},
            links=book,
            load=lambda d: load(d.name) if d.name in tree.targets else None,
            named={name: partial(placeholder, known) for name, known in spec.services.items()},
        )

    with importing_from(folder / CODE_FOLDER, tree):
        graph = settled_graph(build, absent)
    # A bundle has whole files. They may declare services that were not exported.
    graph = replace(
        graph,
        services={name: definition for name, definition in graph.services.items() if name in spec.services},
        edges=tuple(edge for edge in graph.edges if edge.source in graph.running),
        known=graph.known | set(spec.services) | (set(spec.config) - {COMMON}),
    )
    # root is None: workers import a copy, so that a new export does not change a running deployment.
    return Program(
        spec.name, graph, lambda: tree, None, folder, source, [yaml_layer(folder / CONFIG_FILE)], absent=absent
    )
