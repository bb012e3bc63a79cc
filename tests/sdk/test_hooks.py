import pytest

from dynamo_nb import async_on_shutdown, async_on_start, liveness, on_shutdown, readiness, service
from dynamo_nb.sdk.hooks import hooks_of, run_hooks


class Recorder:
    def __init__(self):
        self.ran = []


class Base(Recorder):
    @async_on_start
    async def open_base(self):
        self.ran.append("open base")

    @on_shutdown
    def close_base(self):
        self.ran.append("close base")


class Mixin:
    @async_on_start
    def open_mixin(self):
        self.ran.append("open mixin")


@service
class Served(Mixin, Base):
    @async_on_start
    async def open_served(self):
        self.ran.append("open served")

    @async_on_start
    def open_again(self):
        self.ran.append("open again")

    @async_on_shutdown
    async def close_served(self):
        self.ran.append("close served")

    @liveness
    def alive(self):
        return True

    @readiness
    async def ready(self):
        return False


async def test_inherited_hooks_run_first_sync_or_async():
    served = Served()
    await run_hooks(served, "start")
    await run_hooks(served, "shutdown")
    assert served.ran == [
        "open base",
        "open mixin",
        "open served",
        "open again",
        "close base",
        "close served",
    ]


async def test_probes_return_their_answers():
    assert await run_hooks(Served(), "liveness") == [True]
    assert await run_hooks(Served(), "readiness") == [False]


async def test_an_override_replaces_a_hook():
    class Over(Base):
        async def open_base(self):
            await super().open_base()
            self.ran.append("and more")

    over = Over()
    await run_hooks(over, "start")
    assert over.ran == ["open base", "and more"]


async def test_a_hook_that_a_subclass_marks_again_runs_once():
    class Again(Base):
        @async_on_start
        async def open_base(self):
            self.ran.append("again")

    again = Again()
    await run_hooks(again, "start")
    assert again.ran == ["again"]


async def test_an_exception_of_a_hook_is_raised():
    class Broken(Base):
        @async_on_start
        def fail(self):
            raise RuntimeError("no weights")

    with pytest.raises(RuntimeError, match="no weights"):
        await run_hooks(Broken(), "start")


def test_a_hook_is_an_ordinary_method():
    served = Served()
    served.close_base()
    assert served.ran == ["close base"]
    assert async_on_shutdown is on_shutdown
    assert hooks_of(Recorder, "start") == []
