"""The README of a bundle."""

from __future__ import annotations

from dynamo_nb.bundle.container import object_name
from dynamo_nb.drawing.text import text
from dynamo_nb.graph.spec import GraphSpec

_TEXT = """\
# {name}

A bundle of dynamo_nb: the graph of `{entry}` with its code and configuration.

```
{drawing}
```

| file | content |
|---|---|
| `graph.yaml` | the graph, with the digest of each file in `code/`; altered code is rejected |
| `config.yaml` | the effective configuration, which you can edit |
| `code/` | the modules of the services |
| `kubernetes.yaml` | a DynamoGraphDeployment |
| `Dockerfile`, `requirements.txt` | the image, with the libraries that the code imports |

## On this machine

    pip install -r requirements.txt
    dynamo serve .

`requirements.txt` names where each package came from: an index, an address with a commit, or a wheel. A line such as
`./my_package-1.0-py3-none-any.whl` stands for a package that was installed from a folder: put its wheel beside the
file, for an image too. Credentials of indexes and addresses are left out; pip reads them from `~/.netrc`.

To override `config.yaml`: `dynamo serve . -f other.yaml --{entry}.ServiceArgs.workers=2`. `dynamo config .` shows every
value with its origin.

## In a container

    docker build -t {image} .
    docker run --rm -p 8000:8000 {image}

The whole graph runs in one container. Add `--gpus all` for GPUs; `--build-arg BASE=…` sets another base image.

## In Kubernetes

With the Dynamo platform installed:

    docker push {image}
    kubectl apply -f kubernetes.yaml
    kubectl get dgd {object}

Replace `registry.example.com` by your registry (or export again with `--Service.ServiceArgs.image=…`), and set
`NATS_SERVER` to the address of the platform's NATS. Put secrets, such as a token for weights, into a Secret of the
cluster and refer to it in `env`. A pod is one worker; `replicas` scales a service. A graph with other services needs a
new object.
"""


def readme(spec: GraphSpec, image: str) -> str:
    """The text of README.md. image: the name of the image."""
    drawing = text(spec.picture()).rstrip()
    return _TEXT.format(name=spec.name, entry=spec.entry, drawing=drawing, image=image, object=object_name(spec.name))
