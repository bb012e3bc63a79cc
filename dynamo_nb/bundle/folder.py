"""Writes a GraphSpec as the folder of a bundle, and reads it back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dynamo_nb.bundle.container import DOCKERFILE, DOCKERIGNORE, image_name
from dynamo_nb.bundle.edited_files import digests_text, edited_notes, keep_edited, read_digests
from dynamo_nb.bundle.kubernetes import manifest
from dynamo_nb.bundle.readme import readme
from dynamo_nb.bundle.replacement import replace_files
from dynamo_nb.bundle.requirements import requirements
from dynamo_nb.config.yaml_layer import config_yaml, from_yaml, to_yaml
from dynamo_nb.errors import BundleError
from dynamo_nb.graph.spec import GraphSpec
from dynamo_nb.source import CodeTree, Module, verify

GRAPH_FILE, CODE_FOLDER, CONFIG_FILE = "graph.yaml", "code", "config.yaml"
"""The files that are read from a bundle. The other files are for people and for clusters."""

_GRAPH_HEAD = f"""\
# The graph as it was exported: services, edges, and the digest of each file in {CODE_FOLDER}/.
# A record that is not edited: configuration is read from {CONFIG_FILE}.
"""
_CONFIG_HEAD = """\
# The effective configuration. Edit it, or override it: dynamo serve . -f other.yaml --Service.key=value
"""


def export(spec: GraphSpec, code: CodeTree, folder: Path, note: Callable[[str], object] = print) -> Path:
    """Writes a bundle, all of it or nothing: after an error the folder is unchanged.

    An existing bundle is replaced. Files that the earlier export did not write stay. Copies of files that were changed
    after the earlier export are in the folder `edited`. Equal spec and code result in equal bytes. Only the installed
    packages and their indexes are taken from the environment.

    Args:
        spec: The graph with its configuration.
        code: The modules of its services.
        folder: Does not exist yet, is empty, or is a bundle.
        note: Called with a line for each file that was changed after the earlier export.

    Returns:
        `folder`.

    Raises:
        BundleError: `folder` is something else, is the current directory or one of its parents, cannot be written, or
            has a file of the user in the place of a new one; or the graph cannot be expressed in Kubernetes.
    """
    path = folder.resolve()
    _check(path)
    files = contents(spec, code)
    try:
        notes = _write(files, code, path)
    except OSError as error:
        remedy = "choose a folder with write permission"
        raise BundleError(f"the bundle cannot be written: {error}", where=str(path), remedy=remedy) from None
    for line in notes:
        note(line)
    return folder


def _write(files: Mapping[str, str], code: CodeTree, bundle: Path) -> list[str]:
    """Writes the files. Returns the notes."""
    bundle.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=bundle.parent, prefix=f".{bundle.name}-") as temporary:
        new = Path(temporary, "new")
        new.mkdir()
        for path, text in files.items():
            (new / path).write_bytes(text.encode())
        code.write(new / CODE_FOLDER)
        if not bundle.exists() or not any(bundle.iterdir()):
            new.rename(bundle)
            return []
        of_code = {f"{CODE_FOLDER}/{path}": digest for path, digest in _graph_data(bundle)["code"].items()}
        digests = read_digests((bundle / GRAPH_FILE).read_text(encoding="utf-8"))
        kept = keep_edited(bundle, {**digests, **of_code}, new)
        replace_files(bundle, new, [*files, *of_code], last=GRAPH_FILE)
        return edited_notes(kept)


def _check(bundle: Path) -> None:
    remedy = "choose a folder that does not exist, an empty one, or a bundle to replace"
    if Path.cwd().is_relative_to(bundle):  # this process would be left in a removed folder
        what, remedy = "the current directory is in the folder of the bundle", "choose another folder"
        raise BundleError(what, where=str(bundle), remedy=remedy)
    if bundle.exists() and not bundle.is_dir():
        raise BundleError("the path of the bundle is a file", where=str(bundle), remedy=remedy)
    if bundle.exists() and any(bundle.iterdir()) and not _graph_data(bundle):
        raise BundleError("the folder is not empty and not a bundle", where=str(bundle), remedy=remedy)


def _graph_data(bundle: Path) -> dict[str, Any]:
    """The data in the graph file of a bundle of any version; empty if the folder is not a bundle."""
    import yaml

    with suppress(OSError, UnicodeDecodeError, yaml.YAMLError):
        data = from_yaml((bundle / GRAPH_FILE).read_text(encoding="utf-8"))
        if isinstance(data, dict) and all(isinstance(data.get(key), dict) for key in ("services", "code")):
            return data
    return {}


def contents(spec: GraphSpec, code: CodeTree) -> dict[str, str]:
    """The text of every file of the bundle except for the code, by name."""
    spec = exported_part(spec)
    graph = _GRAPH_HEAD + to_yaml(spec.model_dump(mode="json", exclude={"origins"}))
    image = image_name(spec.name, graph)
    others = {
        CONFIG_FILE: _CONFIG_HEAD + config_yaml(spec.config),
        "kubernetes.yaml": manifest(spec, image),
        "Dockerfile": DOCKERFILE,
        ".dockerignore": DOCKERIGNORE,
        "requirements.txt": requirements(code),
        "README.md": readme(spec, image),
    }
    return {GRAPH_FILE: digests_text(others) + graph, **others}


def exported_part(spec: GraphSpec) -> GraphSpec:
    """The part of a graph that a bundle has: the running services and their possible dependencies, without origins.

    Services that do not run are exported without their code and their dependencies.
    """
    edges = [edge for edge in spec.edges if spec.services[edge.source].running]
    targets = {edge.target for edge in edges}
    services = {name: s for name, s in spec.services.items() if s.running or name in targets}
    return spec.model_copy(update={"services": services, "edges": edges, "origins": {}})


def read_spec(folder: Path) -> GraphSpec:
    """Reads the GraphSpec of a bundle. Raises BundleError with the path of a fault in it."""
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
        raise BundleError(f"{GRAPH_FILE} is not a valid GraphSpec: {faults}", where=str(path), remedy=remedy) from None


def read_code(folder: Path, spec: GraphSpec) -> CodeTree:
    """Reads the modules of a bundle. Raises BundleError that lists the altered and missing files."""
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
