import pytest
from toy_deployment import toy_workers

from dynamo_nb.runtime.connection_settings import ConnectionSettings
from dynamo_nb.supervisor.controller import Controller
from dynamo_nb.supervisor.gpu_allocator import GpuAllocator
from dynamo_nb.supervisor.gpus import Gpu, Inventory
from dynamo_nb.supervisor.placement import Placement
from dynamo_nb.supervisor.ports import Ports
from dynamo_nb.supervisor.registry import WorkerRegistry


@pytest.fixture
async def new_controller(tmp_path):
    """Returns a function that makes a controller on a machine with GPUs, and the log of its workers' steps."""
    controllers = []

    def make(gpus=0, faults=(), hangs=None):
        placement = Placement(
            folder=tmp_path,
            access=ConnectionSettings(),
            worker_host=None,
            kernels=False,
            shared=False,
            ports=Ports("127.0.0.1", 0),
            gpus=GpuAllocator(tmp_path / "locks", lambda: Inventory([Gpu(str(n)) for n in range(gpus)])),
        )
        log = []
        registry = WorkerRegistry(placement, on_change=lambda: None, worker_class=toy_workers(log, faults, hangs or {}))
        controllers.append(Controller(registry))
        return controllers[-1], log

    yield make
    for controller in controllers:
        await controller._restarts.cancel()
        for service in list(controller.registry.placement.ports._held):
            controller.registry.placement.ports.release(service)
