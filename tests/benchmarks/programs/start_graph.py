"""From asking for a graph of three services to its first answer. Imports are done before the clock starts.

Usage: start_graph.py [ours|ray|ipyparallel]
"""

import asyncio
import os
import sys
import time
from contextlib import contextmanager

from place import own_home, short_folder, skip, tell

ANSWER = "hello-front-mid-back"


async def ours():
    from hello_graph import Frontend

    from dynamo_nb import serve

    start = time.perf_counter()
    deployment = await serve(Frontend, http_port=0)
    assert await deployment.Frontend.generate("hello") == ANSWER
    took = time.perf_counter() - start
    await deployment.stop()
    return took


def ray():
    """Three deployments without a proxy or a dashboard, which our graph does not have either."""
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_DISABLE_IMPORT_WARNING="1")
    try:
        import ray
        from ray import serve
    except ImportError as error:
        skip(f"no ray: {error}")

    cheap = serve.deployment(ray_actor_options={"num_cpus": 0})

    @cheap
    class Backend:
        async def generate(self, text):
            return text + "-back"

    @cheap
    class Middle:
        def __init__(self, backend):
            self.backend = backend

        async def generate(self, text):
            return await self.backend.generate.remote(text + "-mid")

    @cheap
    class Frontend:
        def __init__(self, middle):
            self.middle = middle

        async def generate(self, text):
            return await self.middle.generate.remote(text + "-front")

    with short_folder() as folder:
        start = time.perf_counter()
        ray.init(
            num_cpus=os.cpu_count(),
            include_dashboard=False,
            _node_ip_address="127.0.0.1",
            _temp_dir=str(folder),
            log_to_driver=False,
            logging_level="error",
        )
        try:
            serve.start(proxy_location="Disabled", logging_config={"log_level": "ERROR"})
            handle = serve.run(Frontend.bind(Middle.bind(Backend.bind())), route_prefix=None)
            assert handle.generate.remote("hello").result() == ANSWER
            return time.perf_counter() - start
        finally:
            serve.shutdown()
            ray.shutdown()


@contextmanager
def own_ipython(folder):
    os.environ["IPYTHONDIR"] = str(folder)
    yield


def ipyparallel():
    """A controller and three engines, one for each step; engines do not call each other, so the client passes it on."""
    try:
        import ipyparallel
    except ImportError as error:
        skip(f"no ipyparallel: {error}")

    def step(text, mark):
        return text + mark

    with short_folder() as folder, own_ipython(folder):
        start = time.perf_counter()
        cluster = ipyparallel.Cluster(n=3, log_level=40)
        client = cluster.start_and_connect_sync(activate=False)
        try:
            client.wait_for_engines(3, timeout=60, interactive=False)
            text = "hello"
            for engine, mark in enumerate(("-front", "-mid", "-back")):
                text = client[engine].apply_sync(step, text, mark)
            assert text == ANSWER
            return time.perf_counter() - start
        finally:
            client.close()
            cluster.stop_cluster_sync()


if __name__ == "__main__":
    match sys.argv[1]:
        case "ours":
            with own_home():
                tell({"seconds": asyncio.run(ours())})
        case "ray":
            tell({"seconds": ray()})
        case "ipyparallel":
            tell({"seconds": ipyparallel()})
