"""The allocation of GPUs to workers."""

import pytest

from dynamo_nb.errors import PlacementError
from dynamo_nb.supervisor.gpu_allocator import GpuAllocator
from dynamo_nb.supervisor.gpus import Gpu, Inventory, inventory


@pytest.fixture
def allocator(tmp_path):
    """Returns allocators with the same locks, as the deployments of one user have."""

    def make(*ids, busy=""):
        found = Inventory([Gpu(i, busy=busy if i == busy else "") for i in ids])
        return GpuAllocator(tmp_path / "gpus", lambda: found)

    return make


@pytest.mark.parametrize(
    ("requests", "allocated"),
    [
        ([("a", 1), ("b", 1), ("c", 1)], ["0", "1", "2"]),
        ([("a", 2), ("b", 1)], ["0,1", "2"]),
        ([("a", 0), ("b", 3)], ["", "0,1,2"]),
        ([("a", 0.5), ("b", 0.5), ("c", 0.5)], ["0", "0", "1"]),
        ([("a", 0.5), ("b", 1), ("c", 0.5)], ["0", "1", "0"]),
        ([("a", 1), ("b", 0.3), ("c", 0.3), ("d", 0.3), ("e", 0.3)], ["0", "1", "1", "1", "2"]),
    ],
)
def test_workers_get_whole_gpus_and_shares_fill_one_gpu_after_another(allocator, requests, allocated):
    gpus = allocator("0", "1", "2")

    assert [",".join(gpus.take(worker, amount)) for worker, amount in requests] == allocated


def test_a_preferred_gpu_is_allocated_first(allocator):
    gpus = allocator("0", "1", "2")
    gpus.take("a", 1)
    before = gpus.take("b", 1)
    gpus.free("a")
    gpus.free("b")

    assert gpus.take("b again", 1, prefer=before) == before


def test_too_few_gpus_are_an_error_that_names_their_users_and_allocates_nothing(allocator):
    gpus = allocator("0", "1", "2", busy="2")
    gpus.take("Prefill.0", 1)

    with pytest.raises(PlacementError) as error:
        gpus.take("Decode.0", 2)

    assert error.value.what == "Decode.0 needs 2 GPU, and 1 can be allocated"
    assert error.value.where == "3 on this machine; GPU 0: Prefill.0; GPU 1: free; GPU 2: 2"
    assert gpus.take("Decode.0", 1) == ["1"]


def test_deployments_do_not_share_a_gpu_and_a_freed_one_is_available_to_others(allocator):
    first, second = allocator("0", "1"), allocator("0", "1")
    first.take("a", 0.5)

    assert second.take("b", 1) == ["1"]
    with pytest.raises(PlacementError, match="GPU 0: another deployment; GPU 1: b"):
        second.take("c", 0.5)
    first.free("a")
    assert second.take("c", 1) == ["0"]


def test_a_machine_without_gpus_is_named_in_the_error(allocator):
    with pytest.raises(PlacementError, match="this machine has no GPU"):
        allocator().take("a", 1)


@pytest.mark.parametrize(
    ("named", "ids"), [("0,1", ["0", "1"]), (" 3 ,", ["3"]), ("", []), ("GPU-8f,MIG-1", ["GPU-8f", "MIG-1"])]
)
def test_a_variable_names_the_inventory(monkeypatch, named, ids):
    monkeypatch.setenv("DYNAMO_GPUS", named)

    assert [gpu.id for gpu in inventory().gpus] == ids
