"""Example values for JSON schemas."""

import dataclasses
from datetime import datetime
from enum import Enum
from typing import Annotated, Literal
from uuid import UUID

import jsonschema
import pytest
from annotated_types import Len
from pydantic import BaseModel, Field, TypeAdapter
from typing_extensions import TypedDict

from dynamo_nb import dynamo_endpoint, service
from dynamo_nb.observe.example import example


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Message(BaseModel):
    role: str
    content: str | list[dict[str, str]]


class Chat(BaseModel):
    model: str
    messages: list[Message] = Field(min_length=1)
    temperature: float = Field(gt=0, le=2)
    top_p: float = 1.0
    seed: int | None = None


class Tree(BaseModel):
    value: int
    left: "Tree | None"
    children: list["Tree"]


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0


class Options(TypedDict):
    depth: Annotated[int, Field(ge=3, multiple_of=5)]
    colour: Colour


@pytest.mark.parametrize(
    "annotation",
    [
        *(str, int, float, bool, None, list[int], dict[str, int], tuple[int, str], set[str]),
        *(Message, Chat, Tree, Point, Options, Colour, datetime, UUID, bytes),
        *(int | None, Literal["a", "b"], list[Chat] | str, Annotated[list[str], Len(2, 3)]),
        *(Annotated[str, Field(min_length=12)], Annotated[str, Field(max_length=2)]),
        *(Annotated[int, Field(gt=10, lt=12)], Annotated[float, Field(gt=0, lt=0.5)], Annotated[int, Field(le=-3)]),
    ],
    ids=str,
)
def test_an_example_is_valid(annotation):
    adapter = TypeAdapter(annotation)
    schema = adapter.json_schema()

    value = example(schema)

    jsonschema.validate(value, schema)
    adapter.validate_python(value, strict=False)
    assert value == example(schema)


def test_an_example_has_the_required_properties_only():
    value = example(Chat.model_json_schema())

    assert list(value) == ["model", "messages", "temperature"]
    assert value["messages"] == [{"role": "user", "content": "Hello"}]


def test_an_example_in_the_schema_is_used():
    schema = {"type": "object", "properties": {"prompt": {"type": "string", "examples": ["Why is the sky blue?"]}}}

    assert example(schema) == {"prompt": "Why is the sky blue?"}


def test_an_empty_schema_has_the_example_null():
    assert example({}) is None


def test_an_endpoint_accepts_the_example_of_its_input():
    @service
    class Asked:
        @dynamo_endpoint()
        async def ask(self, tree: Tree, point: Point, text: str, count: int = 2) -> str:
            return text

    given = example(vars(Asked)["ask"].schema()["input"])
    args, _ = vars(Asked)["ask"].bind((), given)
    assert isinstance(args[0], Tree)
    assert args[2] == "hello"
