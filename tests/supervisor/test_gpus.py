"""GPUs by CUDA's rules, and who uses them, from recorded answers of the driver."""

import os
import signal
import subprocess
from random import Random
from types import SimpleNamespace

import psutil
import pytest

from dynamo_nb.control.options import Options
from dynamo_nb.errors import PlacementError
from dynamo_nb.supervisor.gpu_allocator import GpuAllocator
from dynamo_nb.supervisor.gpus import Inventory, inventory, memory_by_process
from dynamo_nb.supervisor.journal import Journal
from dynamo_nb.supervisor.nvml import devices, fault
from dynamo_nb.supervisor.resource_usage import UsageMeter

UUIDS = ["GPU-8f3a11aa-0", "GPU-8f3a22bb-1", "GPU-c4-2"]
REFUSED = "refused"


class RecordedNvml:
    """Answers like pynvml, as a driver has answered. processes: of each handle; REFUSED raises."""

    class NVMLError(Exception):
        pass

    class NVMLError_LibraryNotFound(NVMLError):
        pass

    def __init__(self, uuids=UUIDS, instances=None, processes=None, lost=(), driver=True, mig_known=True, **more):
        self.uuids, self.instances, self.processes = list(uuids), instances or {}, processes or {}
        self.lost, self.driver, self.mig_known = lost, driver, mig_known
        self.mig, self.modes, self.models = more.get("mig", ()), more.get("modes", {}), more.get("models", {})

    def _check(self, fine):
        if not fine:
            raise self.NVMLError

    def nvmlInit(self):
        self._check(self.driver)

    def nvmlShutdown(self):
        pass

    def nvmlDeviceGetCount(self):
        return len(self.uuids)

    def nvmlDeviceGetHandleByIndex(self, number):
        self._check(number not in self.lost)
        return self.uuids[number]

    def nvmlDeviceGetUUID(self, handle):
        return handle

    def nvmlDeviceGetName(self, handle):
        return self.models.get(handle, b"NVIDIA H200")

    def nvmlDeviceGetMigMode(self, handle):
        self._check(self.mig_known)
        current = handle in self.mig or handle in self.instances
        return int(current), int(current)

    def nvmlDeviceGetComputeMode(self, handle):
        self._check(handle in self.uuids)  # instances have none
        return self.modes.get(handle, 0)

    def nvmlDeviceGetMaxMigDeviceCount(self, handle):
        self._check(self.mig_known)
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle, number):
        self._check(number < len(self.instances.get(handle, [])))
        return self.instances[handle][number]

    def nvmlDeviceGetComputeRunningProcesses(self, handle):
        found = self.processes.get(handle, {})
        self._check(found != REFUSED)
        return [SimpleNamespace(pid=pid, usedGpuMemory=memory) for pid, memory in found.items()]


DIVIDED = {UUIDS[0]: ["MIG-a1", "MIG-a2"], UUIDS[2]: ["MIG-c1"]}


def ids(nvml, **owner):
    found = inventory(machine=devices(nvml), **owner)
    return " ".join(gpu.id for gpu in found.gpus), found.reason


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    monkeypatch.delenv("DYNAMO_GPUS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.parametrize(
    ("visible", "found", "reason"),
    [
        (None, "0 1 2", ""),
        ("0,1,2", "0 1 2", ""),
        ("2,0", "2 0", ""),
        ("", "", ""),
        ("-1", "", "'-1' is ignored"),
        ("0,-1,1", "0", "'-1,1' is ignored"),
        ("1,5,0", "1", "'5,0' is ignored"),
        ("5", "", "'5' is ignored"),
        ("0,0", "", "0 is named twice"),
        ("0,5,0", "", "0 is named twice"),
        ("0,00", "", "0 is named twice"),
        (" 1 , 2", "1 2", ""),
        ("1gpu2,2ampere", "1 2", ""),
        ("+1", "1", ""),
        ("none", "", "'none' is ignored"),
        ("0,,1", "0", "',1' is ignored"),
        ("0,GPU-c4", "0", "'GPU-c4' is ignored"),
        ("GPU-c4-2,GPU-8f3a11aa-0", "2 0", ""),
        ("GPU-c4", "2", ""),
        ("GPU-8f3a2", "1", ""),
        ("GPU-8f3a", "", "'GPU-8f3a' is ignored"),
        ("GPU-c4,GPU-8f3a,GPU-8f3a1", "2", "'GPU-8f3a,GPU-8f3a1' is ignored"),
        ("GPU-c4,1", "2", "'1' is ignored"),
        ("GPU-c4,GPU-c4-2", "", "GPU-c4-2 names a GPU for the second time"),
        ("GPU-c4,GPU-c4", "", "GPU-c4 is named twice"),
        ("gpu-c4", "", "'gpu-c4' is ignored"),
        ("MIG-a1", "", "'MIG-a1' is ignored"),
    ],
)
def test_cuda_visible_devices_is_read_by_cudas_rules(monkeypatch, visible, found, reason):
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    shown, why = ids(RecordedNvml())

    assert shown == found
    assert reason in why
    assert visible is None or why.startswith(f"CUDA_VISIBLE_DEVICES={visible}")


def test_torch_reads_cuda_visible_devices_in_the_same_way(monkeypatch):
    cuda = pytest.importorskip("torch").cuda
    monkeypatch.setattr(cuda, "_raw_device_uuid_nvml", lambda: UUIDS)
    monkeypatch.setattr(cuda, "_raw_device_count_nvml", lambda: len(UUIDS))
    parts = [
        "0",
        "1",
        "2",
        "3",
        "-1",
        "+1",
        " 0",
        "1 ",
        "00",
        "",
        "1a",
        "x",
        "GPU-8f3a",
        "GPU-8f3a1",
        "GPU-c",
        "GPU-c4-2",
    ]
    machine, drawn = devices(RecordedNvml()), Random(5)
    for _ in range(5000):
        text = ",".join(drawn.choices(parts, k=drawn.randint(1, 4)))
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", text)
        expected = cuda._parse_visible_devices()
        if expected and isinstance(expected[0], str):
            expected = cuda._transform_uuid_to_ordinals(expected, UUIDS)
        expected = expected[: cuda._device_count_nvml()]
        assert [int(gpu.id) for gpu in inventory(machine=machine).gpus] == expected, text


@pytest.mark.parametrize(
    ("visible", "found"),
    [
        (None, "MIG-a1 MIG-a2 1 MIG-c1"),
        ("MIG-a2", "MIG-a2"),
        ("MIG-c,MIG-a2", "MIG-c1 MIG-a2"),
        ("MIG-a", ""),
        ("MIG-x,MIG-a1", ""),
        ("0", "MIG-a1"),
        ("1,2", "1 MIG-c1"),
        ("GPU-8f3a11", "MIG-a1"),
        ("MIG-a1,MIG-a1", ""),
    ],
)
def test_an_instance_of_a_divided_gpu_is_a_gpu(monkeypatch, visible, found):
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    assert ids(RecordedNvml(instances=DIVIDED))[0] == found


@pytest.mark.parametrize(
    ("nvml", "found"),
    [
        (RecordedNvml(driver=False), ""),
        (RecordedNvml(lost=[1]), "0 2"),
        (RecordedNvml(mig_known=False), "0 1 2"),
        (RecordedNvml(processes={UUIDS[0]: REFUSED}), "0 1 2"),
    ],
    ids=["no driver", "a GPU that has fallen off the bus", "a driver without MIG", "a list of processes is refused"],
)
def test_what_the_driver_refuses_is_left_out(nvml, found):
    assert ids(nvml)[0] == found


@pytest.mark.parametrize(
    ("machine", "visible", "found", "reason"),
    [
        ({"mig": [UUIDS[0]]}, None, "1 2", "GPU 0 is in MIG mode and has no instance"),
        ({"mig": [UUIDS[0]]}, "0,1", "1", "GPU 0 is in MIG mode and has no instance"),
        ({"mig": [UUIDS[0]]}, "GPU-8f3a11", "", "CUDA_VISIBLE_DEVICES=GPU-8f3a11; GPU 0 is in MIG mode"),
        ({"mig": UUIDS}, None, "", "GPU 2 is in MIG mode and has no instance"),
        ({"modes": {UUIDS[1]: 2}}, None, "0 2", "GPU 1 is in the compute mode PROHIBITED"),
        ({"modes": {UUIDS[1]: 3}}, None, "0 1 2", ""),
    ],
)
def test_a_gpu_that_cuda_cannot_use_is_left_out_with_the_reason(monkeypatch, machine, visible, found, reason):
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    shown, why = ids(RecordedNvml(**machine))

    assert shown == found
    assert reason in why


MIXED = {UUIDS[0]: b"NVIDIA T400"}


@pytest.mark.parametrize(
    ("visible", "order", "models", "warned"),
    [
        ("1", None, MIXED, True),
        ("1,0", "FASTEST_FIRST", MIXED, True),
        ("1", "PCI_BUS_ID", MIXED, False),
        ("GPU-c4", None, MIXED, False),
        ("1", None, {}, False),
        (None, None, MIXED, False),
    ],
)
def test_numbers_of_unequal_gpus_are_said_to_follow_nvidia_smi(
    monkeypatch, tmp_path, dynamo_home, visible, order, models, warned
):
    for name, value in (("CUDA_VISIBLE_DEVICES", visible), ("CUDA_DEVICE_ORDER", order)):
        monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
    gpus = GpuAllocator(tmp_path / "locks", lambda: inventory(machine=devices(RecordedNvml(models=models))))

    gpus.take("a", 1)

    assert any("set CUDA_DEVICE_ORDER=PCI_BUS_ID" in warning for warning in gpus.warnings) == warned


@pytest.mark.parametrize(
    ("instances", "requests", "allocated"),
    [
        (DIVIDED, [1, 1, 1, 1], ["MIG-a1", "MIG-a2", "1", "MIG-c1"]),
        (DIVIDED, [2], [None]),
        ({UUIDS[0]: ["MIG-a1", "MIG-a2"]}, [2, 1], ["1,2", "MIG-a1"]),
        ({UUIDS[0]: ["MIG-a1", "MIG-a2"]}, [3, 2], [None, "1,2"]),
        (DIVIDED, [0.5, 0.5], ["MIG-a1", "MIG-a1"]),
    ],
    ids=["one each", "two, of instances", "two whole ones", "three", "shares"],
)
def test_a_worker_gets_one_instance_or_whole_gpus(tmp_path, dynamo_home, instances, requests, allocated):
    machine = devices(RecordedNvml(instances=instances))
    gpus = GpuAllocator(tmp_path / "locks", lambda: inventory(machine=machine))

    for number, (amount, expected) in enumerate(zip(requests, allocated, strict=True)):
        if expected is None:
            with pytest.raises(PlacementError) as error:
                gpus.take(f"a.{number}", amount)
            assert "CUDA shows a process one MIG instance at most" in error.value.where
        else:
            assert ",".join(gpus.take(f"a.{number}", amount)) == expected


@pytest.mark.parametrize(
    ("named", "machine", "found", "busy", "warning"),
    [
        ("0", {}, "0", "process", ""),
        ("1", {}, "1", "", ""),
        ("GPU-8f3a11", {}, "0", "process", ""),
        ("GPU-8f3a11,GPU-8f3a11aa-0", {}, "0", "process", ""),
        ("GPU-c4,MIG-a2", {"instances": {UUIDS[0]: ["MIG-a1", "MIG-a2"]}}, "2 MIG-a2", "", ""),
        ("0", {"instances": {UUIDS[0]: ["MIG-a1", "MIG-a2"]}}, "MIG-a1", "", ""),
        ("7", {}, "7", "", "DYNAMO_GPUS names 7, which is not a GPU of this machine"),
        ("0", {"mig": [UUIDS[0]]}, "0", "process", "DYNAMO_GPUS names 0, which is in MIG mode and has no instance"),
        ("7", {"uuids": []}, "7", "", ""),
    ],
)
def test_dynamo_gpus_names_gpus_of_the_machine(
    monkeypatch, tmp_path, dynamo_home, process, named, machine, found, busy, warning
):
    monkeypatch.setenv("DYNAMO_GPUS", named)
    nvml = RecordedNvml(**{"processes": {UUIDS[0]: {process: 2**30}}, **machine})
    gpus = GpuAllocator(tmp_path / "locks", lambda: inventory(machine=devices(nvml)))

    assert ids(nvml)[0] == found
    if busy:
        with pytest.raises(PlacementError, match=f"process {process}"):
            gpus.take("a", 1)
    else:
        gpus.take("a", 1)
        assert gpus.warnings == ((warning,) if warning else ())


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (None, ""),
        (RecordedNvml.NVMLError_LibraryNotFound(), ""),
        (RecordedNvml.NVMLError("Driver/library version mismatch"), "does not answer: Driver/library version mismatch"),
        (RecordedNvml.NVMLError("Insufficient Permissions"), "does not answer: Insufficient Permissions"),
    ],
    ids=["it answers", "no driver", "after an update of the driver", "no permission"],
)
def test_why_the_driver_does_not_answer(monkeypatch, tmp_path, dynamo_home, error, reason):
    nvml = RecordedNvml([])
    if error is not None:
        monkeypatch.setattr(nvml, "nvmlInit", lambda: (_ for _ in ()).throw(error))
    monkeypatch.setattr("dynamo_nb.supervisor.gpus.fault", lambda: fault(nvml))
    monkeypatch.setattr("dynamo_nb.supervisor.gpus.devices", lambda: devices(nvml))

    assert reason in fault(nvml)
    assert bool(fault(nvml)) == bool(reason)
    with pytest.raises(PlacementError) as refused:
        GpuAllocator(tmp_path / "locks").take("a", 1)
    assert refused.value.where.startswith("this machine has no GPU")
    assert reason in refused.value.where


@pytest.mark.parametrize(
    ("named", "found", "reason"),
    [
        ("0,0", "", "DYNAMO_GPUS=0,0: 0 is named twice"),
        ("0,-1,1", "0", "'-1,1' is ignored"),
        ("1,0", "1 0", ""),
        ("GPU-8f,MIG-1", "GPU-8f MIG-1", ""),
        ("none", "", "'none' is ignored"),
    ],
)
def test_dynamo_gpus_follows_the_same_rules(monkeypatch, tmp_path, named, found, reason):
    monkeypatch.setenv("DYNAMO_GPUS", named)

    shown, why = ids(RecordedNvml())

    assert (shown, reason in why) == (found, True)
    with pytest.raises(PlacementError) as error:
        GpuAllocator(tmp_path / "locks").take("a", 3)
    assert reason in error.value.where


@pytest.fixture
def process():
    """A process that is neither the owner's nor the deployment's."""
    started = subprocess.Popen(["setsid", "sleep", "1000"])
    yield started.pid
    started.kill()
    started.wait()


def users(**processes):
    return RecordedNvml(UUIDS[:1], processes={UUIDS[0]: processes.get("on", {})})


def test_the_owners_use_leaves_a_gpu_free_and_is_said(tmp_path, dynamo_home):
    machine = devices(users(on={os.getpid(): 2**29}))
    gpus = GpuAllocator(tmp_path / "locks", lambda: inventory(os.getpid(), None, machine), owner="shop.ipynb")

    assert gpus.take("Backend.0.1", 1) == ["0"]

    name = psutil.Process().name()
    assert gpus.warnings == (
        f"GPU 0 is used by Backend.0.1, and also by shop.ipynb: process {os.getpid()} ({name}, 0.5 GiB)",
    )
    gpus.free("Backend.0.1")
    assert gpus.warnings == ()


@pytest.mark.parametrize("owned", [True, False], ids=["with an owner", "detached"])
def test_the_process_that_serves_leaves_a_gpu_free_while_it_lives(process, tmp_path, owned):
    journal = Journal(Options(folder=str(tmp_path), client=process, owner=process if owned else None))
    machine = devices(users(on={process: 2**30}))
    (gpu,) = inventory(journal.client, None, machine).gpus
    assert (gpu.busy, bool(gpu.owner_use)) == ("", True)

    os.kill(process, signal.SIGKILL)
    psutil.Process(process).wait()

    assert journal.client is None


def test_a_gpu_that_the_owner_uses_is_taken_last(tmp_path, dynamo_home):
    machine = devices(RecordedNvml(processes={UUIDS[0]: {os.getpid(): 2**29}}))
    gpus = GpuAllocator(tmp_path / "locks", lambda: inventory(os.getpid(), None, machine))

    assert gpus.take("a", 2) == ["1", "2"]


@pytest.mark.parametrize(
    ("owner", "supervisor", "busy"),
    [
        pytest.param(None, None, True, id="of another process"),
        pytest.param("parent", None, False, id="of a child of the owner"),
        pytest.param(None, "parent", False, id="of a worker of the deployment"),
        pytest.param("itself", "parent", False, id="of both"),
    ],
)
def test_whose_use_makes_a_gpu_busy(process, owner, supervisor, busy):
    pids = {"parent": os.getpid(), "itself": process, None: None}

    (gpu,) = inventory(pids[owner], pids[supervisor], devices(users(on={process: None}))).gpus

    assert bool(gpu.busy) == busy


def test_a_process_outside_of_the_container_makes_a_gpu_busy():
    (gpu,) = inventory(os.getpid(), os.getpid(), devices(users(on={2**22 + 1: 2**30}))).gpus

    assert gpu.busy == f"process {2**22 + 1} (not visible here, 1.0 GiB)"


def test_the_inventory_is_read_anew_at_each_placement(process, tmp_path, dynamo_home):
    nvml = users(on={process: 2**30})
    gpus = GpuAllocator(tmp_path / "locks", lambda: inventory(machine=devices(nvml)))
    with pytest.raises(PlacementError, match=f"process {process}"):
        gpus.take("a", 1)

    nvml.processes = {}
    assert gpus.take("a", 1) == ["0"]
    gpus.free("a")

    nvml.processes = {UUIDS[0]: {process: 2**30}}
    with pytest.raises(PlacementError, match=f"process {process}"):
        gpus.take("a", 1)


@pytest.mark.parametrize(
    ("nvml", "used", "complete"),
    [
        pytest.param(RecordedNvml(processes={UUIDS[0]: {7: 5, 8: 1}, UUIDS[1]: {7: 2}}), {7: 7, 8: 1}, True, id="all"),
        pytest.param(RecordedNvml(processes={UUIDS[0]: REFUSED, UUIDS[1]: {7: 2}}), {7: 2}, False, id="a refusal"),
        pytest.param(
            RecordedNvml(processes={UUIDS[0]: {7: None}, UUIDS[1]: {8: 2}}), {7: 0, 8: 2}, False, id="unknown"
        ),
        pytest.param(
            RecordedNvml(instances=DIVIDED, processes={"MIG-a1": {7: 5}, UUIDS[0]: {7: 5}}), {7: 5}, True, id="MIG"
        ),
        pytest.param(RecordedNvml(driver=False), {}, False, id="no driver"),
    ],
)
def test_the_memory_of_processes(nvml, used, complete):
    assert memory_by_process(devices(nvml)) == (used, complete)


@pytest.mark.parametrize(
    ("processes", "memory"),
    [({os.getpid(): 5}, 5), ({}, 0), (REFUSED, None), ({os.getpid(): None}, None)],
    ids=["used", "unused", "refused", "unknown"],
)
def test_a_worker_whose_memory_is_unknown_has_none_and_not_zero(monkeypatch, processes, memory):
    machine = devices(RecordedNvml(UUIDS[:1], processes={UUIDS[0]: processes}))
    monkeypatch.setattr("dynamo_nb.supervisor.gpus.devices", lambda: machine)

    found = UsageMeter().read([os.getpid()], gpus=True)

    assert found[os.getpid()].gpu_memory == memory
    assert found[os.getpid()].memory > 0


def test_nothing_is_read_for_workers_without_gpus(tmp_path):
    def read():
        raise AssertionError("read")

    assert GpuAllocator(tmp_path / "locks", read).take("a", 0) == []
    assert Inventory().gpus == ()
