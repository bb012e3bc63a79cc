"""The manifest of a bundle: a DynamoGraphDeployment (`nvidia.com/v1beta1`) for the Dynamo operator.

A pod is one worker. It runs `dynamo serve` with the bundle in its image, for one service. It registers in the namespace
that the operator sets for the deployment, and the other pods find it through the NATS of the cluster.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dynamo_nb.bundle.container import object_name
from dynamo_nb.config.yaml_layer import to_yaml
from dynamo_nb.errors import BundleError, suggestion
from dynamo_nb.graph.spec import GraphSpec, ServiceSpec

TYPES = ("frontend", "worker", "prefill", "decode", "planner", "epp")
TYPE_LABEL = "nvidia.com/dynamo-component-type"
"""The label with which a service sets its type, one of TYPES."""
NATS = "nats://dynamo-platform-nats.dynamo-system.svc.cluster.local:4222"
"""The address of NATS after an installation of the platform's Helm chart as in its guide."""
RUNTIME_VERSION = "1.0.0"
"""The version for the operator, which requires one and cannot read it from the tags of bundles. It determines only
defaults that the manifest overrides."""
HTTP_PORT = 8000

_MOST_COMPONENTS = 25
_COMPONENT_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?")
_SEMANTIC = re.compile(r"v?\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?")
_START_SECONDS = 7200
"""Seconds for a worker to become ready: the operator's own limit, since weights may have to be downloaded."""


def manifest(spec: GraphSpec, image: str) -> str:
    """The manifest as YAML. image: for services that set none.

    Raises BundleError for too many services, for names that Kubernetes does not allow, and for an unknown type.
    """
    services = list(spec.started.values())
    if len(services) > _MOST_COMPONENTS:
        what = f"the graph starts {len(services)} services; a DynamoGraphDeployment has at most {_MOST_COMPONENTS}"
        raise BundleError(what, remedy="split the graph into several deployments")
    names = component_names(spec.started)
    deployment = {
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoGraphDeployment",
        "metadata": {"name": object_name(spec.name)},
        "spec": {
            "env": [{"name": "NATS_SERVER", "value": NATS}, _secret(spec)],
            "components": [_component(service, names[service.name], service.image or image) for service in services],
        },
    }
    return "".join(f"# {line}\n" for line in _notes(spec, services, image)) + to_yaml(deployment)


def component_names(services: Iterable[str]) -> dict[str, str]:
    """The names of components by service. Raises BundleError if a name is not allowed or not unique."""
    names: dict[str, str] = {}
    taken: dict[str, str] = {}
    remedy = 'set another name: @service(dynamo={"name": "…"})'
    for service in services:
        name = re.sub(r"[^A-Za-z0-9]+", "-", service).strip("-")
        if not _COMPONENT_NAME.fullmatch(name):
            raise BundleError(f"Kubernetes does not allow the name {service!r}", where=service, remedy=remedy)
        if (other := taken.setdefault(name.lower(), service)) != service:
            what = f"{other} and {service} would both be the component {name!r}: case and punctuation do not count"
            raise BundleError(what, where=service, remedy=remedy)
        names[service] = name
    return names


def _secret(spec: GraphSpec) -> dict[str, Any]:
    """The secret for calls between pods, from a Secret that may be missing."""
    source = {"name": f"{object_name(spec.name)}-secret", "key": "secret", "optional": True}
    return {"name": "DYNAMO_SECRET", "valueFrom": {"secretKeyRef": source}}


def _notes(spec: GraphSpec, services: Sequence[ServiceSpec], image: str) -> list[str]:
    """Comments to read before `kubectl apply`."""
    secret = f"{object_name(spec.name)}-secret"
    notes = [
        f"NATS_SERVER is the address after an installation by the platform's chart. Build and push the image: {image}",
        "Every client that reaches a pod can call it, until the pods share a secret:",
        f"kubectl create secret generic {secret} --from-literal=secret=$(openssl rand -hex 32)",
    ]
    notes += [
        f"{s.name} requests {s.gpu:g} GPU and gets a whole one in each pod: Kubernetes has no shares of GPUs."
        for s in services
        if not float(s.gpu).is_integer()
    ]
    return notes


def _component(service: ServiceSpec, name: str, image: str) -> dict[str, Any]:
    component: dict[str, Any] = {"name": name, "type": component_type(service), "replicas": service.workers}
    tag = image.rpartition("/")[2].partition("@")[0].partition(":")[2]
    if not _SEMANTIC.fullmatch(tag):
        component["runtimeVersionOverride"] = RUNTIME_VERSION
    labels = {key: value for key, value in service.labels.items() if key != TYPE_LABEL}
    template: dict[str, Any] = {"metadata": {"labels": labels}} if labels else {}
    component["podTemplate"] = template | {"spec": {"containers": [_container(service, image)]}}
    return component


def component_type(service: ServiceSpec) -> str:
    """The type in the label; else from the service's name and endpoints. Raises BundleError for an unknown type."""
    if (given := service.labels.get(TYPE_LABEL)) is not None:
        if given not in TYPES:
            where = f"{service.name}.ServiceArgs.labels.{TYPE_LABEL}"
            raise BundleError(f"unknown component type {given!r}", where=where, remedy=suggestion(given, TYPES))
        return given
    for kind in ("planner", "prefill", "decode"):
        if kind in service.name.lower():
            return kind
    return "frontend" if service.http else "worker"


def _container(service: ServiceSpec, image: str) -> dict[str, Any]:
    words = {
        "--service-name": service.name,
        "--namespace": "$(DYN_NAMESPACE)",  # the operator sets it; Kubernetes expands it
        "--worker-host": "0.0.0.0",  # noqa: S104
        **({"--http-host": "0.0.0.0", "--http-port": str(HTTP_PORT)} if service.http else {}),  # noqa: S104
        f"--{service.name}.ServiceArgs.workers": "1",  # other workers are other pods
    }
    container: dict[str, Any] = {
        "name": "main",
        "image": image,
        "command": ["dynamo", "serve", "/bundle"],
        "args": ["--no-kernels", *(f"{option}={value}" for option, value in words.items())],
    }
    if service.envs:
        container["env"] = [{"name": name, "value": value} for name, value in service.envs.items()]
    if resources := _resources(service):
        container["resources"] = resources
    if service.http:
        container["ports"] = [{"name": "http", "containerPort": HTTP_PORT}]
    return container | _probes(service)


def _resources(service: ServiceSpec) -> dict[str, Any]:
    requests = {key: value for key, value in (("cpu", service.cpu), ("memory", service.memory)) if value is not None}
    gpus = {"nvidia.com/gpu": str(math.ceil(service.gpu))} if service.gpu else {}
    return {key: value for key, value in (("requests", requests), ("limits", requests | gpus)) if value}


def _probes(service: ServiceSpec) -> dict[str, Any]:
    """All three probes. For a missing one the operator adds that of its own runtime, which fails in these pods.

    https://github.com/ai-dynamo/dynamo, deploy/operator/internal/dynamo/component_worker.go and component_frontend.go
    """
    period = 10 if service.http else 15  # seconds; the probe without HTTP starts a Python process

    def probe(path: str, question: str, failures: int) -> Mapping[str, Any]:
        check: dict[str, Any] = (
            {"httpGet": {"path": path, "port": HTTP_PORT}}
            if service.http
            else {"exec": {"command": ["python", "-m", "dynamo_nb.worker.probe", question]}}
        )
        return check | {"periodSeconds": period, "timeoutSeconds": 5, "failureThreshold": failures}

    return {
        "startupProbe": probe("/healthz", "ready", _START_SECONDS // period),
        "livenessProbe": probe("/healthz", "alive", 3),
        "readinessProbe": probe("/readyz", "ready", 3),
    }
