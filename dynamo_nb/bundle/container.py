"""The container image of a bundle: its name, how it is built, and what is installed in it."""

from __future__ import annotations

import ast
import hashlib
import re
import sys
from collections.abc import Iterator
from importlib import metadata

from dynamo_nb.errors import BundleError
from dynamo_nb.source import CodeTree

_DISTRIBUTION = "dynamo-nb"
_OURS = re.compile(r"dynamo_nb(\.|$)|dynamo\.sdk(\.|$)")

# The versions in requirements.txt were installed for this Python.
DOCKERFILE = f"""\
ARG BASE=python:{sys.version_info.major}.{sys.version_info.minor}-slim
FROM ${{BASE}}
COPY requirements.txt /bundle/
RUN pip install --no-cache-dir -r /bundle/requirements.txt
COPY . /bundle
WORKDIR /bundle
EXPOSE 8000
CMD ["dynamo", "serve", "/bundle", "--host", "0.0.0.0", "--no-kernels"]
"""
DOCKERIGNORE = """\
**/__pycache__
.git
"""


def image_name(name: str, graph: str) -> str:
    """A name for the image, to be changed for one's own registry; its tag is another whenever the graph is.

    name: of the deployment. graph: the text of the GraphSpec. example.com is nobody's (RFC 2606), so that a manifest
    applied as it is cannot pull a stranger's image.
    """
    return f"registry.example.com/{object_name(name)}:{hashlib.sha256(graph.encode()).hexdigest()[:12]}"


def object_name(name: str) -> str:
    """A deployment's name as images and Kubernetes objects can have it (RFC 1123 label)."""
    found = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if not 0 < len(found) <= 63:
        remedy = 'give the deployment a name of letters, digits and "-", at most 63'
        raise BundleError(f"the name {name!r} has no form that Kubernetes allows", remedy=remedy)
    return found


def requirements(code: CodeTree) -> str:
    """What the code imports and dynamo_nb itself, pinned to the versions that are installed here."""
    own = {module.name.partition(".")[0] for module in code.modules}
    imported = {
        name.partition(".")[0] for module in code.modules for name in _imports(module.text) if not _OURS.match(name)
    }
    wanted = imported - own - sys.stdlib_module_names
    providers = metadata.packages_distributions() if wanted else {}
    found = {distribution for name in wanted for distribution in providers.get(name, ())}
    lines = [_pinned(name) for name in sorted({_DISTRIBUTION, *found}, key=str.lower)]
    missing = [f"# {name}: imported, and not installed where this was exported" for name in sorted(wanted)]
    return "\n".join([*lines, *(line for line in missing if line[2:].partition(":")[0] not in providers)]) + "\n"


def _pinned(distribution: str) -> str:
    # A local version, such as the +cu128 of a CUDA build, is in no public index.
    return f"{distribution}=={metadata.version(distribution).partition('+')[0]}"


def _imports(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
