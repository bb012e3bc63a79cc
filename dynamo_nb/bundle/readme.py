"""The README of a bundle."""

from __future__ import annotations

from dynamo_nb.bundle.container import object_name
from dynamo_nb.drawing.mimebundle import text
from dynamo_nb.graph.spec import GraphSpec

_TEXT = """\
# {name}

A bundle of dynamo_nb: the graph `{entry}` with its code and configuration, as it was exported.

```
{drawing}
```

| file | what it is |
|---|---|
| `graph.yaml` | the graph, with the digest of each file in `code/`; altered code is refused |
| `config.yaml` | the effective configuration; yours to change |
| `code/` | the modules that the services need |
| `kubernetes.yaml` | a DynamoGraphDeployment |
| `Dockerfile`, `requirements.txt` | the image, with what the code imports |

## Here

    pip install -r requirements.txt
    dynamo serve .

`requirements.txt` names this version of `dynamo-nb`. Where no index has it, install it from its checkout first, and for
an image put its wheel beside the `Dockerfile`.

Other configuration goes over `config.yaml`: `dynamo serve . -f other.yaml --{entry}.ServiceArgs.workers=2`.
`dynamo config .` shows every value and where it comes from.

## In a container

    docker build -t {image} .
    docker run --rm -p 8000:8000 {image}

The whole graph runs in one container; `--gpus all` gives it the GPUs. Another base: `--build-arg BASE=…`.

## In Kubernetes

With the Dynamo platform installed:

    docker push {image}
    kubectl apply -f kubernetes.yaml
    kubectl get dgd {object}

Put the name of your registry in place of `registry.example.com` (or export again with `--Service.ServiceArgs.image=…`),
and the address of the platform's NATS in `NATS_SERVER`. Secrets, such as a token for weights, belong in a Secret of the
cluster, referred to in `env`. A pod is one worker; `replicas` scales. A graph of another shape is a new object.
"""


def readme(spec: GraphSpec, image: str) -> str:
    drawing = text(spec.picture()).rstrip()
    return _TEXT.format(name=spec.name, entry=spec.entry, drawing=drawing, image=image, object=object_name(spec.name))
