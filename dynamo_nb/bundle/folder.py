"""GraphSpec to folder, and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from dynamo_nb.bundle.container import DOCKERFILE, DOCKERIGNORE, image_name
from dynamo_nb.bundle.kubernetes import manifest
from dynamo_nb.bundle.readme import readme
from dynamo_nb.bundle.requirements import requirements
from dynamo_nb.config.yaml_layer import from_yaml, to_yaml
from dynamo_nb.errors import BundleError
from dynamo_nb.graph.spec import GraphSpec
from dynamo_nb.source import CodeTree, Module, verify

GRAPH_FILE, CODE_FOLDER, CONFIG_FILE = "graph.yaml", "code", "config.yaml"
"""What a bundle is read from; the other files are for people and for clusters."""

_GRAPH_HEAD = f"""\
# The graph as it was exported: services, edges, and the digest of each file in {CODE_FOLDER}/.
# A record, not a place for changes: configuration is read from {CONFIG_FILE}.
"""
_CONFIG_HEAD = """\
# The effective configuration. Change it here, or go over it: dynamo serve . -f other.yaml --Service.key=value
"""


def export(spec: GraphSpec, code: CodeTree, folder: Path) -> Path:
    """Writes the bundle of `spec` in one step: it is there whole, or the folder is as it was.

    A bundle that is there is replaced; files in it that no export writes stay. The same spec and code give the same
    bytes. Nothing is taken from the environment.

    Raises BundleError when `folder` is something else than a bundle, has this process in it, or cannot be written, or
    when the graph has no form in Kubernetes.
    """
    place = folder.resolve()
    _check(place)
    files = contents(spec, code)
    try:
        _write(files, code, place)
    except OSError as error:
        remedy = "choose a folder that you may write to"
        raise BundleError(f"the bundle cannot be written: {error}", where=str(place), remedy=remedy) from None
    return folder


def _write(files: Mapping[str, str], code: CodeTree, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=place.parent, prefix=f".{place.name}-") as beside:
        new, old = Path(beside, "new"), Path(beside, "old")
        new.mkdir()
        for path, text in files.items():
            (new / path).write_bytes(text.encode())
        code.write(new / CODE_FOLDER)
        if not place.exists() or not any(place.iterdir()):
            new.rename(place)
        else:
            place.rename(old)
            try:
                new.rename(place)
            except BaseException:
                old.rename(place)
                raise
            for other in old.iterdir():
                if other.name not in {*files, CODE_FOLDER}:
                    other.rename(place / other.name)


def _check(place: Path) -> None:
    remedy = "choose a folder that does not exist, an empty one, or a bundle to replace"
    if Path.cwd().is_relative_to(place):  # it would go on in a folder that has been taken away
        raise BundleError("this process works in the folder of the bundle", where=str(place), remedy="name another one")
    if place.exists() and not place.is_dir():
        raise BundleError("there is a file where the bundle should go", where=str(place), remedy=remedy)
    if place.exists() and any(place.iterdir()) and not (place / GRAPH_FILE).is_file():
        raise BundleError("the folder is not empty, and no bundle", where=str(place), remedy=remedy)


def contents(spec: GraphSpec, code: CodeTree) -> dict[str, str]:
    """The text of every file of the bundle but the code, by name."""
    spec = shipped(spec)
    graph = _GRAPH_HEAD + to_yaml(spec.model_dump(mode="json", exclude={"origins"}))
    image = image_name(spec.name, graph)
    return {
        GRAPH_FILE: graph,
        CONFIG_FILE: _CONFIG_HEAD + to_yaml(spec.config),
        "kubernetes.yaml": manifest(spec, image),
        "Dockerfile": DOCKERFILE,
        ".dockerignore": DOCKERIGNORE,
        "requirements.txt": requirements(code),
        "README.md": readme(spec, image),
    }


def shipped(spec: GraphSpec) -> GraphSpec:
    """What a bundle can hold of a graph: the services that run, what else they could be connected to, no origins.

    The code of a service that does not run stays behind, and with it what that service depends on.
    """
    edges = [edge for edge in spec.edges if spec.services[edge.source].running]
    reached = {edge.target for edge in edges}
    services = {name: s for name, s in spec.services.items() if s.running or name in reached}
    return spec.model_copy(update={"services": services, "edges": edges, "origins": {}})


def read_spec(folder: Path) -> GraphSpec:
    """The GraphSpec of a bundle, as it was exported. Raises BundleError with the path of what is wrong in it."""
    import yaml
    from pydantic import ValidationError

    path = folder / GRAPH_FILE
    try:
        return GraphSpec.model_validate(from_yaml(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BundleError(f"the bundle cannot be read: {error}", where=str(path)) from None
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, f['loc']))}: {f['msg']}" for f in error.errors(include_url=False))
        remedy = "export it again with this version of dynamo_nb"
        raise BundleError(f"{GRAPH_FILE} is no GraphSpec: {faults}", where=str(path), remedy=remedy) from None


def read_code(folder: Path, spec: GraphSpec) -> CodeTree:
    """The modules of a bundle. Raises BundleError that names every file that was altered or is missing."""
    code = folder / CODE_FOLDER
    verify(code, spec.code)
    modules = (Module(_module_name(path), path, (code / path).read_bytes().decode()) for path in spec.code)
    with_code = {name: s for name, s in spec.services.items() if s.target}
    return CodeTree(
        tuple(modules),
        targets={name: s.target for name, s in with_code.items()},
        digests={name: s.digest for name, s in with_code.items()},
    )


def _module_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
