import asyncio
import dataclasses
import inspect
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Optional
from typing import TypedDict as PlainTypedDict

import msgspec
import pytest
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from dynamo_nb import api, depends, dynamo_endpoint, service
from dynamo_nb.errors import DeadlineExceeded, DefinitionError, EndpointError, InvalidArgument


class Request(BaseModel):
    text: str
    count: int = 1


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


class Token(msgspec.Struct):
    number: int
    text: str = ""


class Options(TypedDict):
    loud: bool


class Unchecked(PlainTypedDict):
    loud: bool


@service
class Backend:
    def __init__(self):
        self.closed = asyncio.Event()

    @dynamo_endpoint()
    async def words(self, text: str):
        """Yields the words one by one."""
        try:
            for word in text.split():
                yield word
        finally:
            self.closed.set()

    @dynamo_endpoint()
    async def one(self, text: str, *, times: int = 1) -> str:
        return text * times

    @dynamo_endpoint()
    async def never(self):
        await asyncio.Event().wait()

    @dynamo_endpoint()
    async def one_and_never(self):
        yield 1
        await asyncio.Event().wait()

    @dynamo_endpoint()
    async def times_out(self):
        raise TimeoutError

    @dynamo_endpoint()
    async def model(self, request: Request) -> Request:
        return request

    @dynamo_endpoint()
    async def maybe(self, request: Request | None = None):
        return request

    @dynamo_endpoint()
    async def optional(self, request: Optional[Request] = None):  # noqa: UP045
        return request

    @dynamo_endpoint()
    async def annotated(self, request: Annotated[Request, "a request"]):
        return request

    @dynamo_endpoint()
    async def tokens(self, tokens: list[Token]) -> dict[str, Token]:
        return {token.text: token for token in tokens}

    @dynamo_endpoint()
    async def token(self, token: Token | None) -> Token | None:
        return token

    @dynamo_endpoint()
    async def point(self, point: Point):
        return point

    @dynamo_endpoint()
    async def options(self, options: Options):
        return options

    @dynamo_endpoint()
    async def unchecked(self, options: Unchecked):
        return options

    @dynamo_endpoint()
    async def many(self, *numbers: int, **named: float):
        return numbers, named

    @dynamo_endpoint()
    async def anything(self, value):
        return value

    @dynamo_endpoint()
    async def share(self, value: Annotated[float, Field(gt=0)]):
        return value

    @dynamo_endpoint()
    async def as_declared(self) -> Request:
        return {"text": "a"}

    @dynamo_endpoint()
    async def stream_as_declared(self) -> AsyncIterator[Request]:
        yield {"text": "a"}
        yield {"text": "b"}

    @dynamo_endpoint()
    async def bare_generator(self) -> AsyncGenerator:
        yield 1

    @dynamo_endpoint()
    async def not_as_declared(self) -> Request:
        return {"words": "a"}

    @dynamo_endpoint()
    async def only_for_type_checkers(self, request: "Missing"):  # noqa: F821
        return request

    @dynamo_endpoint()
    async def fails(self):
        raise KeyError("mine")

    @api()
    def plain(self, text: str):
        return text


# --- await, iterate, result


async def test_awaiting_a_stream_returns_a_list():
    assert await Backend().words("a b c") == ["a", "b", "c"]


async def test_iterating_a_stream_yields_its_items():
    assert [word async for word in Backend().words("a b c")] == ["a", "b", "c"]


async def test_awaiting_one_answer_returns_it():
    assert await Backend().one("ab", times=2) == "abab"


async def test_iterating_one_answer_yields_one_item():
    assert [item async for item in Backend().one("ab")] == ["ab"]


def test_result_needs_no_await():
    assert Backend().one("ab").result() == "ab"
    assert Backend().words("a b").result(timeout=10) == ["a", "b"]


async def test_result_works_where_a_loop_is_running():
    assert Backend().one("ab").result() == "ab"


def test_result_raises_after_its_timeout():
    @service
    class Slow:
        @dynamo_endpoint()
        async def wait(self):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        Slow().wait().result(timeout=0.01)


async def test_leaving_the_loop_early_stops_the_stream():
    backend = Backend()
    async for _ in backend.words("a b c"):
        break
    await asyncio.wait_for(backend.closed.wait(), 10)


async def test_a_synchronous_http_endpoint_can_be_called_too():
    assert await Backend().plain("a") == "a"


async def test_an_exception_of_the_endpoint_reaches_the_caller_unchanged():
    with pytest.raises(KeyError, match="mine"):
        await Backend().fails()


async def test_an_endpoint_can_be_called_through_the_class():
    assert await Backend.one(Backend(), "a") == "a"


# --- arguments


@pytest.mark.parametrize("endpoint", ["model", "maybe", "optional", "annotated"])
@pytest.mark.parametrize("given", [Request(text="a", count=2), {"text": "a", "count": 2}, '{"text": "a", "count": 2}'])
async def test_a_model_parameter_takes_models_dicts_and_json(endpoint, given):
    assert await getattr(Backend(), endpoint)(given) == Request(text="a", count=2)


async def test_an_optional_model_can_be_none():
    assert await Backend().maybe() is None
    assert await Backend().optional(None) is None


@pytest.mark.parametrize("given", [Point(1), {"x": 1}, '{"x": 1}'])
async def test_a_dataclass_parameter_takes_objects_dicts_and_json(given):
    assert await Backend().point(given) == Point(1)


@pytest.mark.parametrize("given", [Token(1), {"number": 1}, '{"number": 1}'])
async def test_a_struct_parameter_takes_objects_dicts_and_json(given):
    assert await Backend().token(given) == Token(1)
    assert await Backend().token(None) is None
    assert await Backend().tokens([{"number": 1, "text": "a"}]) == {"a": Token(1, "a")}


async def test_the_error_names_a_wrong_field_of_a_struct():
    with pytest.raises(InvalidArgument, match=r"'token' does not fit: .*\$\.number"):
        await Backend().token({"number": "one"})


@pytest.mark.parametrize("given", [{"loud": True}, '{"loud": true}'])
async def test_a_typed_dict_parameter_takes_dicts_and_json(given):
    assert await Backend().options(given) == {"loud": True}


async def test_an_annotation_that_pydantic_rejects_is_not_checked():
    assert await Backend().unchecked({"loud": True}) == {"loud": True}


async def test_models_from_an_earlier_run_of_their_cell_are_accepted():
    class Earlier(BaseModel):
        text: str
        count: int = 1

    @dataclasses.dataclass
    class EarlierPoint:
        x: int
        y: int = 0

    assert await Backend().model(Earlier(text="a")) == Request(text="a")
    assert await Backend().maybe(Earlier(text="a")) == Request(text="a")
    assert await Backend().point(EarlierPoint(1)) == Point(1)


async def test_items_of_variadic_parameters_are_checked_one_by_one():
    assert await Backend().many(1, "2", a=1) == ((1, 2), {"a": 1.0})
    with pytest.raises(InvalidArgument, match="'numbers' does not fit"):
        Backend().many(1, "x")


async def test_a_parameter_without_annotation_takes_anything():
    thing = object()
    assert await Backend().anything(thing) is thing


async def test_an_annotation_that_cannot_be_evaluated_is_not_checked():
    assert await Backend().only_for_type_checkers(3) == 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda b: b.one(), r"Backend\.one: missing a required argument: 'text'"),
        (lambda b: b.one("a", 2), r"Backend\.one: too many positional arguments"),
        (lambda b: b.one("a", time=2), r"Backend\.one: got an unexpected keyword argument 'time'"),
        (lambda b: b.one(3), r"Backend\.one: the argument 'text' does not fit: Input should be a valid string, not 3"),
        (lambda b: b.model({"txt": "a"}), r"the argument 'request' does not fit: text: Field required"),
        (lambda b: b.model("{text"), r"the argument 'request' does not fit: Invalid JSON"),
        (lambda b: b.model({"text": "a", "count": "x"}), r"count: .*valid integer.*not 'x'"),
        (lambda b: b.share(-1), r"the argument 'value' does not fit: Input should be greater than 0, not -1"),
    ],
)
def test_a_wrong_argument_raises_when_the_call_is_written(call, message):
    with pytest.raises(InvalidArgument, match=message) as caught:
        call(Backend())
    assert caught.value.where.startswith("Backend.")
    assert isinstance(caught.value, ValueError)


# --- answers


async def test_answers_are_converted_to_the_declared_type():
    assert await Backend().as_declared() == Request(text="a")
    assert await Backend().stream_as_declared() == [Request(text="a"), Request(text="b")]
    assert [item async for item in Backend().stream_as_declared()] == [Request(text="a"), Request(text="b")]
    assert [item async for item in Backend().as_declared()] == [Request(text="a")]


async def test_a_generator_without_item_type_may_yield_anything():
    assert await Backend().bare_generator() == [1]


async def test_an_answer_of_another_type_is_an_error():
    with pytest.raises(
        EndpointError, match=r"the answer of Backend.not_as_declared does not match .*text: Field required"
    ):
        await Backend().not_as_declared()


# --- what a user sees


def test_an_endpoint_has_the_signature_and_docstring_of_its_method():
    assert str(inspect.signature(Backend().one)) == "(text: str, *, times: int = 1) -> str"
    assert Backend().words.__doc__ == "Yields the words one by one."
    assert Backend().words.__name__ == "words"
    assert repr(Backend().one) == "<endpoint Backend.one(text: str, *, times: int = 1) -> str>"
    assert Backend.words.__doc__ == "Yields the words one by one."


async def test_a_timeout_limits_a_call_in_this_process():
    backend = Backend()
    assert await backend.one("a").using(timeout=5) == "a"
    with pytest.raises(DeadlineExceeded):
        await backend.never().using(timeout=0.01)
    items = aiter(backend.one_and_never().using(timeout=0.05))
    assert await anext(items) == 1
    with pytest.raises(DeadlineExceeded):
        await anext(items)


async def test_a_timeout_error_of_the_endpoint_is_not_a_deadline():
    with pytest.raises(TimeoutError) as caught:
        await Backend().times_out().using(timeout=5)
    assert not isinstance(caught.value, DeadlineExceeded)


def test_a_policy_is_a_known_name_or_an_object_with_pick():
    with pytest.raises(DefinitionError, match=r"did you mean 'round_robin'\?"):
        depends(Backend, policy="round-robin")
    with pytest.raises(DefinitionError, match="pick"):
        depends(Backend, policy=3)


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": float("inf")},
        {"timeout": float("nan")},
        {"timeout": "1"},
        {"timeout": True},
        {"key": 5},
        {"instance_id": "first"},
        {"policy": "round-robin"},
        {"tiemout": 1},
    ],
)
def test_a_wrong_option_raises_when_the_call_is_written(options):
    with pytest.raises(InvalidArgument, match=next(iter(options))):
        Backend().one("a").using(**options)
