"""The container image of a bundle: its name and its Dockerfile."""

from __future__ import annotations

import hashlib
import re
import sys

from dynamo_nb.errors import BundleError

DOCKERFILE = f"""\
ARG BASE=python:{sys.version_info.major}.{sys.version_info.minor}-slim
FROM ${{BASE}}
WORKDIR /bundle
COPY requirements.txt *.whl ./
RUN if grep -q "@ git+" requirements.txt; then apt-get update && apt-get install -y --no-install-recommends git; fi
RUN pip install --no-cache-dir -r requirements.txt
COPY . .
EXPOSE 8000
CMD ["dynamo", "serve", "/bundle", "--http-host", "0.0.0.0", "--no-kernels"]
"""
"""The base has the Python of this process, for which the versions in requirements.txt were installed."""
DOCKERIGNORE = """\
**/__pycache__
.git
edited
"""


def image_name(name: str, graph: str) -> str:
    """The name of the image, with a tag that changes with the graph. The user replaces the registry.

    name: name of the deployment. graph: the text of the GraphSpec. example.com is reserved (RFC 2606), so an unchanged
    manifest cannot pull the image of a third party.
    """
    return f"registry.example.com/{object_name(name)}:{hashlib.sha256(graph.encode()).hexdigest()[:12]}"


def object_name(name: str) -> str:
    """The name of a deployment in the form that images and Kubernetes objects allow (RFC 1123 label)."""
    label = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if not 0 < len(label) <= 63:
        remedy = 'give the deployment a name of letters, digits and "-", at most 63: --name=NAME'
        raise BundleError(f"Kubernetes does not allow the name {name!r}", remedy=remedy)
    return label
