"""Events of changes, exits of processes, and bounds of what the supervisor remembers."""

import signal

import pytest
from toy_deployment import S, release

from dynamo_nb.control.events import MOST_EVENTS, ServiceError
from dynamo_nb.supervisor.change_events import change_events
from dynamo_nb.supervisor.event_log import LONGEST_DETAIL, LONGEST_TEXT, EventLog
from dynamo_nb.supervisor.oom_kills import OomKills, exit_text
from dynamo_nb.supervisor.reconcile import Running, changes
from dynamo_nb.supervisor.service_errors import MOST_ERRORS, ServiceErrors

BEFORE = release(B=S(workers=2), F=S(needs="B")).spec


def events(after, before=BEFORE):
    running = {
        name: Running(before.fingerprint(name), tuple(range(service.workers)), before.identity(name))
        for name, service in before.started.items()
    }
    return [(event.kind, event.text) for event in change_events(before, after, changes(running, after))]


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (release(B=S(workers=2), F=S(needs="B")), []),
        (release(B=S(workers=4), F=S(needs="B")), [("scaled", "B was scaled from 2 to 4 workers")]),
        (release(B=S(workers=1), F=S(needs="B")), [("scaled", "B was scaled from 2 to 1 worker")]),
        (release(B=S(2, code="new"), F=S(needs="B")), [("updated", "B was replaced (code): 2 new workers")]),
        (release(B=S(2, limit=1), F=S(needs="B")), [("updated", "B was replaced (configuration): 2 new workers")]),
        (
            release(B=S(2, code="new", limit=1), F=S(needs="B")),
            [("updated", "B was replaced (code and configuration): 2 new workers")],
        ),
        (
            release(C=S(), B=S(2), F=S(needs="BC")),
            [("linked", "F uses C"), ("updated", "C was started with 1 worker")],
        ),
        (
            release(F=S()),
            [("unlinked", "F no longer uses B"), ("updated", "B was stopped: nothing uses it any more")],
        ),
    ],
)
def test_a_change_leaves_an_event_for_each_service_and_link(after, expected):
    assert [event for event in events(after.spec) if "F was replaced" not in event[1]] == expected


def test_the_first_release_is_one_event():
    (event,) = change_events(None, BEFORE, [])
    assert (event.kind, event.text) == ("started", "serves 2 services with 3 workers")


async def test_the_log_of_events_is_bounded():
    log, seen = EventLog(), []
    log.on_event = seen.append
    for _ in range(MOST_EVENTS + 50):
        log.add("updated", "x" * 10_000, detail="y" * 100_000)
    found = await log.read()
    assert [event["number"] for event in found] == list(range(51, MOST_EVENTS + 51))
    assert len(found[0]["text"]) == LONGEST_TEXT
    assert len(found[0]["detail"]) == LONGEST_DETAIL
    assert len(seen) == MOST_EVENTS + 50
    assert [event["number"] for event in await log.read(after=MOST_EVENTS + 48)] == [MOST_EVENTS + 49, MOST_EVENTS + 50]


async def test_a_closed_log_takes_no_more_events():
    log = EventLog()
    log.add("stopping", "x")
    log.close()
    log.add("worker ended", "x")
    assert len(await log.read()) == 1


def error(id_, last, count=1, traceback="", service="B"):
    return ServiceError(
        id=id_,
        service=service,
        endpoint="e",
        kind="K",
        message=f"at {last}",
        count=count,
        first=last,
        last=last,
        traceback=traceback,
    )


async def test_errors_of_several_workers_add_up():
    errors = ServiceErrors()
    errors.add([error("a", 5.0, 3, "trace"), error("b", 6.0)])
    errors.add([error("a", 4.0, 2, "other"), error("a", 9.0, 1, "other")])
    errors.add([error("c", 1.0, service="F")])
    found = await errors.read("B")
    assert [(e["id"], e["count"], e["first"], e["last"], e["message"], e["traceback"]) for e in found] == [
        ("a", 6, 4.0, 9.0, "at 9.0", "trace"),
        ("b", 1, 6.0, 6.0, "at 6.0", ""),
    ]
    assert len(await errors.read()) == 3
    assert errors.changes == 3


async def test_the_errors_of_a_service_are_bounded():
    errors = ServiceErrors()
    errors.add([error(str(i), float(i)) for i in range(10_000)])
    assert [e["id"] for e in await errors.read("B")] == [str(i) for i in range(9999, 9999 - MOST_ERRORS, -1)]


@pytest.fixture
def kernel_counts(tmp_path):
    """Returns the folders of procfs and the cgroups, and a function that sets the number of kills for memory."""
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "cgroup").write_text("0::/pod/container\n")
    (tmp_path / "vmstat").write_text("nr_free_pages 5\noom_kill 70\n")
    events = tmp_path / "pod" / "container" / "memory.events"
    events.parent.mkdir(parents=True)

    def set_kills(number):
        events.write_text(f"low 0\noom 9\noom_kill {number}\n")

    set_kills(2)
    return tmp_path, set_kills


def test_a_process_that_the_kernel_killed_for_its_memory_is_recognised(kernel_counts):
    folder, set_kills = kernel_counts
    kills = OomKills(folder, folder)
    assert exit_text(-signal.SIGKILL, kills) == "killed by signal 9 (SIGKILL)"
    set_kills(3)
    assert exit_text(-signal.SIGKILL, kills) == "killed by signal 9 (SIGKILL), probably because memory ran out"
    assert exit_text(-signal.SIGKILL, kills) == "killed by signal 9 (SIGKILL)"
    set_kills(4)
    kills.forget()
    assert exit_text(-signal.SIGKILL, kills) == "killed by signal 9 (SIGKILL)"


def test_without_a_cgroup_the_kills_of_the_machine_count(kernel_counts):
    folder, _ = kernel_counts
    (folder / "self" / "cgroup").unlink()
    kills = OomKills(folder, folder)
    assert not kills.take()
    (folder / "vmstat").write_text("oom_kill 71\n")
    assert kills.take()


def test_an_exit_is_described():
    kills = OomKills()
    assert exit_text(3, kills) == "with exit code 3"
    assert exit_text(-signal.SIGSEGV, kills) == "killed by signal 11 (SIGSEGV)"
