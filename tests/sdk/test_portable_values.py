"""What is sent is read back equal: arguments, answers and the items of streams, over the features of every model."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import ipaddress
import pathlib
import re
import threading
import typing
import uuid
import zoneinfo
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar

import msgspec
import pydantic
import pydantic.alias_generators
import pytest
import typing_extensions

from dynamo_nb.errors import DefinitionError
from dynamo_nb.runtime.codec import decode, encode
from dynamo_nb.sdk import dynamo_endpoint, service
from dynamo_nb.sdk.tagged import Outgoing
from dynamo_nb.sdk.values import Shape

T = TypeVar("T")


def as_argument(annotation, value):
    """The value in the handler: checked by the caller, sent, and checked by the worker."""
    caller, worker = Shape(annotation), Shape(annotation)
    fitted = value if caller.free else caller.fit(value)
    return fitted, worker.fit(decode(encode([Outgoing(fitted, caller.pack_fitted)]))[0])


def as_answer(annotation, value):
    """The value at the caller: sent by the worker, and checked by the caller; and as if there were no connection."""
    shape = Shape(annotation)
    received = decode(encode([Outgoing(value, shape.pack)]))[0]
    return Shape(annotation).fit(value), Shape(annotation).fit(received)


class Alias(pydantic.BaseModel):
    max_tokens: int = pydantic.Field(16, alias="maxTokens")


class ValidationAlias(pydantic.BaseModel):
    a: int = pydantic.Field(1, validation_alias="x")


class SerializationAlias(pydantic.BaseModel):
    a: int = pydantic.Field(1, serialization_alias="x")
    model_config = pydantic.ConfigDict(serialize_by_alias=True)


class Choices(pydantic.BaseModel):
    a: int = pydantic.Field(1, validation_alias=pydantic.AliasChoices("x", pydantic.AliasPath("y", 0)))


class Path(pydantic.BaseModel):
    a: int = pydantic.Field(1, validation_alias=pydantic.AliasPath("deep", 0))


class Generated(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(alias_generator=pydantic.alias_generators.to_camel)
    max_tokens: int = 16


class Populated(Generated):
    model_config = pydantic.ConfigDict(populate_by_name=True)


class NameOnly(Generated):
    model_config = pydantic.ConfigDict(validate_by_name=True, validate_by_alias=False)


class Swapped(pydantic.BaseModel):
    a: int = pydantic.Field(1, alias="b")
    b: int = pydantic.Field(2, alias="a")


class Before(pydantic.BaseModel):
    text: str

    @pydantic.field_validator("text", mode="before")
    @classmethod
    def strip(cls, value):
        return value.removeprefix(">")


class After(pydantic.BaseModel):
    n: int

    @pydantic.field_validator("n")
    @classmethod
    def double(cls, value):
        return value * 2


class Wrap(pydantic.BaseModel):
    n: Annotated[int, pydantic.WrapValidator(lambda value, inner: inner(value) + 1)]


class Plain(pydantic.BaseModel):
    n: Annotated[int, pydantic.PlainValidator(lambda value: int(value) + 1)]


class ModelValidators(pydantic.BaseModel):
    n: int = 0
    runs: int = 0

    @pydantic.model_validator(mode="before")
    @classmethod
    def count(cls, data):
        return {**data, "n": data.get("n", 0) + 1}

    @pydantic.model_validator(mode="after")
    def count_after(self):
        self.runs += 1
        return self


class FieldSerializer(pydantic.BaseModel):
    n: int = 3

    @pydantic.field_serializer("n")
    def write(self, value):
        return f"number {value}"


class WrapSerializer(pydantic.BaseModel):
    n: Annotated[int, pydantic.WrapSerializer(lambda value, inner: inner(value) + 1)] = 3


class ModelSerializer(pydantic.BaseModel):
    n: int = 3

    @pydantic.model_serializer
    def write(self):
        return "all of it"


class WrapModelSerializer(ModelSerializer):
    @pydantic.model_serializer(mode="wrap")
    def write(self, inner):
        return {"wrapped": inner(self)}


class Excluded(pydantic.BaseModel):
    secret: int = pydantic.Field(1, exclude=True)


class Computed(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    n: int = 1

    @pydantic.computed_field
    @property
    def twice(self) -> int:
        return self.n * 2


class Allow(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    a: int = pydantic.Field(1, alias="x")


class Forbid(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    a: int = pydantic.Field(1, alias="x")


class Private(pydantic.BaseModel):
    n: int = 1
    _seen: set[int] = pydantic.PrivateAttr(default_factory=set)

    def seeing(self, n):
        self._seen.add(n)
        return self


class Frozen(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True)
    n: int = pydantic.Field(1, alias="N")


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)
    day: dt.date
    key: uuid.UUID


class Cat(pydantic.BaseModel):
    kind: Literal["cat"] = pydantic.Field("cat", alias="type")
    lives: int = 9


class Dog(pydantic.BaseModel):
    kind: Literal["dog"] = pydantic.Field("dog", alias="type")


class Owner(pydantic.BaseModel):
    pet: Cat | Dog = pydantic.Field(discriminator="kind")


class SameA(pydantic.BaseModel):
    x: int


class SameB(pydantic.BaseModel):
    x: int


class SubModel(SameA):
    y: int = pydantic.Field(2, alias="why")


class Box(pydantic.BaseModel, Generic[T]):
    content: T = pydantic.Field(alias="Content")


class Root(pydantic.RootModel[dict[str, dt.date]]):
    pass


class RootList(pydantic.RootModel[list[Alias]]):
    pass


class Nested(pydantic.BaseModel):
    asks: dict[str, list[Alias]] = pydantic.Field(alias="Asks")
    other: Nested | None = None


class Opaque:
    def __init__(self, text):
        self.text = text

    def __eq__(self, other):
        return isinstance(other, Opaque) and self.text == other.text

    __hash__ = None


class Custom(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    opaque: Annotated[
        Opaque,
        pydantic.PlainSerializer(lambda value: value.text),
        pydantic.BeforeValidator(lambda value: value if isinstance(value, Opaque) else Opaque(value)),
    ] = pydantic.Field(alias="o")
    n: int = pydantic.Field(1, alias="N")


class Anything(pydantic.BaseModel):
    value: Any


class Locked(pydantic.BaseModel):
    n: int = 1
    _lock: Any = pydantic.PrivateAttr(default_factory=threading.Lock)

    def __eq__(self, other):
        return self.n == other.n and type(self._lock) is type(other._lock)

    __hash__ = None


@dataclasses.dataclass
class Point:
    x: int
    path: pathlib.PurePosixPath
    total: int = dataclasses.field(init=False)
    seed: dataclasses.InitVar[int] = 0

    def __post_init__(self, seed):
        self.total = self.x + seed


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Slotted:
    tags: frozenset[str]


@pydantic.dataclasses.dataclass
class PydanticPoint:
    day: dt.date
    x: int = pydantic.Field(alias="X")

    @pydantic.field_validator("x")
    @classmethod
    def double(cls, value):
        return value * 2


class Pair(NamedTuple):
    a: int
    day: dt.date | str = "none"


class Typed(typing_extensions.TypedDict, total=False):
    day: dt.date
    n: Annotated[int, pydantic.Field(alias="N")]


class Color(enum.Enum):
    RED = "red"
    PAIR = (1, 2)


class Odd(enum.Enum):
    YES = True
    NONE = None


class Bits(enum.IntFlag):
    A = 1
    B = 2


class Word(enum.StrEnum):
    A = "a"


class Struct(msgspec.Struct, rename="camel", omit_defaults=True):
    max_tokens: int = 16
    day: dt.date | None = None


class Array(msgspec.Struct, array_like=True, frozen=True):
    a: int
    path: bytes = b"x"


class TagA(msgspec.Struct, tag="A"):
    x: int


class TagB(msgspec.Struct, tag=True, tag_field="kind"):
    x: int


class TagC(msgspec.Struct, tag=True, tag_field="kind"):
    x: int


class Holder(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    struct: Struct = pydantic.Field(alias="S")
    either: TagB | TagC


class MyStr(str):
    __slots__ = ()


class Dicts(pydantic.BaseModel):
    counts: collections.Counter[str]
    ordered: collections.OrderedDict[str, int] = collections.OrderedDict(b=1, a=2)
    default: collections.defaultdict[str, int] = collections.defaultdict(int, a=1)


@dataclasses.dataclass
class Unchecked:
    counts: dict[str, int]
    names: list[str]
    path: str = ""


class Revalidated(After):
    model_config = pydantic.ConfigDict(revalidate_instances="always")


class RevalidatedSubclass(After):
    model_config = pydantic.ConfigDict(revalidate_instances="subclass-instances")


class SubOfRevalidated(RevalidatedSubclass):
    pass


class Doubled(NamedTuple):
    n: Annotated[int, pydantic.AfterValidator(lambda n: n * 2)]


class Loose(msgspec.Struct):
    value: Any
    others: list[Loose] = []


class PostInit(msgspec.Struct, frozen=True):
    n: int

    def __post_init__(self):
        msgspec.structs.force_setattr(self, "n", self.n + 1)


class AroundPostInit(msgspec.Struct):
    inner: PostInit


class PointStruct(msgspec.Struct):
    point: Slotted


class Sentinel(enum.Enum):
    MISSING = object()
    POINT = Slotted(tags=frozenset("a"))
    NAN = float("nan")


class RootText(pydantic.RootModel[int | str]):
    pass


class Listed(pydantic.BaseModel):
    tags: list[str] = []

    def tagged(self, tags):
        self.tags = tags
        return self


NOW = dt.datetime.fromisoformat("2026-11-01T01:30:00.000005")
ROWS: list[tuple[Any, Any]] = [
    (Alias, Alias(maxTokens=99)),
    (ValidationAlias, ValidationAlias(x=5)),
    (SerializationAlias, SerializationAlias(a=5)),
    (Choices, Choices(x=5)),
    (Choices, Choices(y=[6])),
    (Path, Path(deep=[7])),
    (Generated, Generated(maxTokens=99)),
    (Populated, Populated(max_tokens=99)),
    (NameOnly, NameOnly(max_tokens=99)),
    (Swapped, Swapped(a=1, b=5)),
    (Before, Before(text=">>a")),
    (After, After(n=1)),
    (Wrap, Wrap(n=1)),
    (Plain, Plain(n=1)),
    (ModelValidators, ModelValidators(n=4)),
    (FieldSerializer, FieldSerializer()),
    (WrapSerializer, WrapSerializer()),
    (ModelSerializer, ModelSerializer(n=4)),
    (WrapModelSerializer, WrapModelSerializer(n=4)),
    (Excluded, Excluded(secret=5)),
    (Computed, Computed(n=5)),
    (Allow, Allow(x=5, a=6, b={dt.date(2026, 1, 2)})),
    (Forbid, Forbid(x=5)),
    (Private, Private(n=2).seeing(3)),
    (Locked, Locked(n=4)),
    (Frozen, Frozen(N=5)),
    (Strict, Strict(day=dt.date(2026, 1, 2), key=uuid.UUID(int=5))),
    (Owner, Owner(pet={"type": "dog"})),
    (Cat | Dog, Dog()),
    (Annotated[Cat | Dog, pydantic.Field(discriminator="kind")], Dog()),
    (SameA | SameB, SameB(x=1)),
    (SameA, SubModel(x=1, why=5)),
    (Box[Alias], Box[Alias](Content=Alias(maxTokens=9))),
    (Box[int] | Box[str], Box[str](Content="5")),
    (Root, Root({"a": dt.date(2026, 1, 2)})),
    (RootList, RootList([Alias(maxTokens=4)])),
    (Nested, Nested(Asks={"a": [Alias(maxTokens=4)]}, other=Nested(Asks={}))),
    (Custom, Custom(o="text", N=5)),
    (Anything, Anything(value={"a": {1, 2}, (1, 2): [dt.timedelta(1)], dt.date(2026, 1, 2): 3})),
    (Anything, Anything(value=2**200)),
    (Anything, Anything(value=[2**64, -(2**70), 1])),
    (list[Alias], [Alias(maxTokens=4)]),
    (dict[str, Alias | None], {"a": None, "b": Alias(maxTokens=4)}),
    (Alias | None, Alias(maxTokens=4)),
    (tuple[Alias, ...], (Alias(maxTokens=4),)),
    (Point, Point(1, pathlib.PurePosixPath("a"), 5)),
    (Slotted, Slotted(tags=frozenset("ab"))),
    (PydanticPoint, PydanticPoint(X=2, day=dt.date(2026, 1, 2))),
    (list[Point | Slotted], [Slotted(tags=frozenset()), Point(1, pathlib.PurePosixPath("/"))]),
    (Pair, Pair(1, dt.date(2026, 1, 2))),
    (Pair, Pair(1, "2026-01-02")),
    (Typed, {"day": dt.date(2026, 1, 2), "N": 5}),
    (Color, Color.PAIR),
    (Color | str, Color.RED),
    (Color | str, "red"),
    (Odd | int, Odd.YES),
    (Odd, Odd.NONE),
    (pydantic.RootModel[dt.date], pydantic.RootModel[dt.date](dt.date(2026, 1, 2))),
    (pydantic.RootModel[Alias | None], pydantic.RootModel[Alias | None](Alias(maxTokens=3))),
    (pydantic.Secret[dt.date], pydantic.Secret[dt.date](dt.date(2026, 1, 2))),
    (Bits, Bits.A | Bits.B),
    (Word | int, Word.A),
    (Literal["a", 1], 1),
    (dict[Color, int], {Color.RED: 1, Color.PAIR: 2}),
    (dict[tuple[int, str], int], {(1, "a"): 1}),
    (dict[dt.date, int], {dt.date(2026, 1, 2): 1}),
    (dict[int, str], {1: "a"}),
    (dict[frozenset[int], int], {frozenset({1}): 1}),
    (dt.date | str, "2026-01-02"),
    (dt.date | str, dt.date(2026, 1, 2)),
    (dt.datetime | dt.date, dt.date(2026, 1, 2)),
    (dt.datetime, NOW.replace(tzinfo=zoneinfo.ZoneInfo("America/New_York"), fold=1)),
    (dt.datetime, NOW.replace(tzinfo=dt.timezone(dt.timedelta(hours=5, seconds=7)))),
    (dt.time, NOW.time()),
    (dt.timedelta | str, dt.timedelta(-1, 5, 7)),
    (decimal.Decimal | float, decimal.Decimal("1.10")),
    (decimal.Decimal | float, 1.5),
    (fractions.Fraction, fractions.Fraction(1, 3)),
    (uuid.UUID | str, uuid.UUID(int=7)),
    (set[int] | list[int], {1}),
    (set[int] | list[int], [1]),
    (frozenset[dt.date], frozenset({dt.date(2026, 1, 2)})),
    (tuple[int, str] | list[int], (1, "a")),
    (collections.deque[int], collections.deque([1, 2], maxlen=2)),
    (bytes | str, b"\xff"),
    (bytearray | bytes, bytearray(b"a")),
    (complex, 1 + 2j),
    (range, range(1, 9, 3)),
    (pathlib.Path | str, pathlib.Path("/a")),
    (re.Pattern[str], re.compile("a", re.IGNORECASE)),
    (ipaddress.IPv4Address | str, ipaddress.IPv4Address("1.2.3.4")),
    (ipaddress.IPv6Network, ipaddress.IPv6Network("::/8")),
    (pydantic.HttpUrl, pydantic.HttpUrl("http://a.b/c?d=e")),
    (pydantic.PostgresDsn, pydantic.PostgresDsn("postgres://a:b@c/d")),
    (pydantic.SecretStr, pydantic.SecretStr("no")),
    (pydantic.SecretBytes, pydantic.SecretBytes(b"no")),
    (pydantic.Secret[int], pydantic.Secret[int](5)),
    (MyStr | int, MyStr("a")),
    (zoneinfo.ZoneInfo, zoneinfo.ZoneInfo("Europe/Berlin")),
    (Annotated[int, pydantic.AfterValidator(lambda n: n * 2)], 2),
    (Annotated[bool, pydantic.AfterValidator(lambda n: not n)], True),
    (list[Annotated[str, pydantic.BeforeValidator(lambda text: text[1:])]], ["abc"]),
    (Struct, Struct(max_tokens=9, day=dt.date(2026, 1, 2))),
    (list[Array], [Array(1)]),
    (TagA | None, TagA(1)),
    (TagB | TagC, TagC(1)),
    (TagA | Alias, Alias(maxTokens=5)),
    (TagA | Alias, TagA(5)),
    (Holder, Holder(S=Struct(max_tokens=9), either=TagC(1))),
    (Dicts, Dicts(counts={"a": 1})),
    (Anything, Anything(value=[collections.Counter("aab"), collections.OrderedDict({(1, 2): {3}})])),
    (collections.Counter[str], collections.Counter("aab")),
    (collections.defaultdict[str, list[int]], collections.defaultdict(list, a=[1])),
    (Unchecked, Unchecked(collections.Counter("a"), ("a", "b"), pathlib.PurePosixPath("a"))),
    (Listed, Listed().tagged(("a", "b"))),
    (list[Listed], [Listed().tagged({"a"})]),
    (Revalidated, Revalidated(n=1)),
    (Revalidated | None, Revalidated(n=1)),
    (list[RevalidatedSubclass], [SubOfRevalidated(n=1)]),
    (Doubled, Doubled(1)),
    (list[Doubled], [Doubled(1)]),
    (Loose, Loose({1, 2})),
    (Loose, Loose((1, dt.date(2026, 1, 2)))),
    (Loose, Loose({"a": [{1: {2}}], (1, 2): 2**70})),
    (list[Loose] | None, [Loose(1), Loose(None, [Loose(pathlib.PurePosixPath("a"))])]),
    (Loose, Loose({"a": [1, None, {"b": 1.5}]})),
    (PostInit, PostInit(1)),
    (dict[str, PostInit], {"a": PostInit(1)}),
    (AroundPostInit, AroundPostInit(PostInit(1))),
    (Anything | PostInit, PostInit(1)),
    (PointStruct, PointStruct(Slotted(tags=frozenset("a")))),
    (Sentinel, Sentinel.MISSING),
    (list[Sentinel], [Sentinel.POINT, Sentinel.NAN]),
    (Sentinel | None, Sentinel.POINT),
    (RootText, "5"),
    (RootText | None, RootText("5")),
    (int, 2**70),
    (list[int], [1, -(2**64)]),
    (dict[str, int | None], {"a": 2**64}),
    (Any, 2**200),
]
IDS = [f"{number} {getattr(annotation, '__name__', annotation)}" for number, (annotation, _) in enumerate(ROWS)]


def same(one, other):
    assert type(one) is type(other)
    assert one == other
    assert isinstance(one, (set, frozenset)) or " object at 0x" in repr(one) or repr(one) == repr(other)
    for name in ("__dict__", "__pydantic_fields_set__", "__pydantic_private__", "__pydantic_extra__"):
        if not isinstance(one, (enum.Enum, Locked, Custom)) and hasattr(one, "__pydantic_fields_set__"):
            assert getattr(one, name, None) == getattr(other, name, None)


@pytest.mark.parametrize(("annotation", "value"), ROWS, ids=IDS)
def test_an_argument_is_read_back_equal(annotation, value):
    same(*as_argument(annotation, value))


@pytest.mark.parametrize(("annotation", "value"), ROWS, ids=IDS)
def test_an_answer_is_read_back_equal(annotation, value):
    same(*as_answer(annotation, value))


@pytest.mark.parametrize(("annotation", "value"), ROWS, ids=IDS)
def test_a_value_in_a_model_is_read_back_equal(annotation, value):
    config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    fields = {"field": (annotation, pydantic.Field(alias="Other"))}
    model = pydantic.create_model("Around", __config__=config, **fields).model_construct(field=value)
    same(*as_answer(type(model), model))


@pytest.mark.parametrize(("annotation", "value"), ROWS, ids=IDS)
def test_its_type_can_be_the_type_of_a_parameter(annotation, value):
    assert Shape(annotation).obstacle == ""


class Unsendable:
    pass


class HasUnsendable(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    lock: Unsendable


@dataclasses.dataclass
class AlsoUnsendable:
    inner: list[HasUnsendable]


@pytest.mark.parametrize(
    ("annotation", "named"),
    [
        (Unsendable, "Unsendable"),
        (HasUnsendable, "HasUnsendable.lock"),
        (AlsoUnsendable, "HasUnsendable.lock"),
        (Unsendable | None, "Unsendable"),
        (dict[str, list[Unsendable]], "Unsendable"),
        (threading.Thread, "Thread"),
        (typing.Callable[[int], int], "Callable"),
        (type[int], "type"),
        (typing.Iterator[int], "Iterator"),
        (typing.IO[str], "IO"),
        (ValueError, "ValueError"),
    ],
    ids=str,
)
def test_a_type_that_cannot_be_sent_is_refused_where_the_endpoint_is_defined(annotation, named):
    class Takes:
        @dynamo_endpoint()
        async def run(self, value: annotation) -> str:
            return ""

    class Returns:
        @dynamo_endpoint()
        async def run(self) -> annotation:
            return ""

    for cls in (Takes, Returns):
        cls.run.function.__annotations__ = {
            name: annotation if hint == "annotation" else str for name, hint in cls.run.function.__annotations__.items()
        }
        with pytest.raises(DefinitionError, match=rf"(?s){re.escape(named)}.*dataclass"):
            service(cls)


# --- classes that are declared differently elsewhere: their cell ran again, or the other service is of another version


def versions(kind):
    """Two classes of one name, the second with another field, and a value of the first."""
    if kind == "model":
        old = pydantic.create_model("Ask", n=(int, pydantic.Field(alias="N")))
        new = pydantic.create_model("Ask", n=(int, pydantic.Field(alias="N")), more=(int, pydantic.Field(5, alias="M")))
        return old, new, old(N=3)
    if kind == "equal model":
        old, new = (pydantic.create_model("Ask", n=(int, pydantic.Field(alias="N"))) for _ in range(2))
        return old, new, old(N=3)
    if kind == "struct":
        old = msgspec.defstruct("Ask", [("n", int)], rename="upper")
        return old, msgspec.defstruct("Ask", [("n", int), ("more", int, 5)], rename="upper"), old(n=3)
    old = dataclasses.make_dataclass("Ask", [("n", int)])
    return old, dataclasses.make_dataclass("Ask", [("n", int), ("more", int, 5)]), old(n=3)


@pytest.mark.parametrize("kind", ["model", "equal model", "struct", "dataclass"])
@pytest.mark.parametrize("around", [lambda hint: hint, lambda hint: hint | None], ids=["itself", "optional"])
def test_a_value_of_an_earlier_class_becomes_one_of_the_present_class(kind, around):
    old, new, value = versions(kind)
    here = Shape(around(new)).fit(value)
    received = Shape(around(new)).fit(decode(encode([Outgoing(value, Shape(around(old)).pack)]))[0])
    for result in (here, received):
        assert type(result) is new
        assert (result.n, getattr(result, "more", 5)) == (3, 5)


@pytest.mark.parametrize("kind", ["model", "equal model", "dataclass"])
def test_a_list_of_values_of_an_earlier_class_becomes_a_list_of_the_present_class(kind):
    old, new, value = versions(kind)
    assert [type(item) for item in Shape(list[new]).fit([value])] == [new]
    received = Shape(list[new]).fit(decode(encode([Outgoing([value], Shape(list[old]).pack)]))[0])
    assert [type(item) for item in received] == [new]


def test_two_classes_of_one_name_are_told_apart():
    one, two = (pydantic.create_model("Ask", n=(int, ...)) for _ in range(2))
    annotation = one | two
    for value in (one(n=1), two(n=1)):
        assert type(as_argument(annotation, value)[1]) is type(value)


def test_a_receiver_without_an_annotation_sees_plain_data():
    received = decode(encode([Outgoing(Nested(Asks={"a": [Alias(maxTokens=4)]}), Shape(Nested).pack)]))[0]
    assert received == {"asks": {"a": [{"max_tokens": 4}]}, "other": None}
    assert isinstance(received, dict)


def test_a_value_that_passes_through_a_service_without_annotations_stays_equal():
    first = decode(encode([Outgoing(Alias(maxTokens=4), Shape(Alias).pack)]))[0]
    shape = Shape(Alias)
    second = decode(encode([Outgoing(shape.fit(first), shape.pack_fitted)]))[0]
    assert Shape(Alias).fit(second) == Alias(maxTokens=4)


@pytest.mark.parametrize("data", [{"n": 1}, {"max_tokens": {}}, [1], "text", 5, None])
def test_a_state_that_does_not_fit_its_class_is_an_error_of_the_value(data):
    from dynamo_nb.sdk.tagged import Tagged

    for state in (None, [0], [1, 2, 3, 4, 5, 6, 7], "x"):
        received = decode(encode([Tagged("Alias", data, state)]))[0]
        try:
            value = Shape(Alias).fit(received)
        except ValueError:
            continue
        assert isinstance(value, Alias)


LATE = """
from __future__ import annotations
from dynamo_nb import dynamo_endpoint, service

@service
class Late:
    @dynamo_endpoint()
    async def run(self, value: Unsendable) -> str:
        return ""

class Unsendable: ...
"""


def test_a_type_that_is_defined_after_its_service_is_refused_when_the_graph_is_assembled(project):
    project.write("late.py", LATE)
    with pytest.raises(DefinitionError, match="Unsendable"):
        _ = project.plan_source("late:Late").plan().spec
