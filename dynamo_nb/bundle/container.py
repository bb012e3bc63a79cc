"""The container image of a bundle: its name, and how it is built."""

from __future__ import annotations

import hashlib
import re
import sys

from dynamo_nb.errors import BundleError

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
