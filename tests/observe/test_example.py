"""Plausible values for JSON schemas."""

from enum import Enum
from typing import Annotated, Literal

import jsonschema
import pytest
from pydantic import BaseModel, Field, TypeAdapter

from dynamo_nb import dynamo_endpoint, service
from dynamo_nb.observe.example import example


class Colour(Enum):
    RED = "red"


class Leaf(BaseModel):
    text: str
    size: int = 3


class Tree(BaseModel):
    name: str
    leaf: Leaf
    below: list["Tree"] = []


@pytest.mark.parametrize(
    "kind",
    [
        str,
        int,
        float,
        bool,
        None,
        list[int],
        tuple[int, str],
        dict[str, int],
        Literal["a", "b"],
        Colour,
        int | None,
        list[Leaf],
        Tree,
        Annotated[int, Field(gt=4, le=9)],
        Annotated[float, Field(ge=0.5, le=0.7)],
        Annotated[str, Field(min_length=8)],
        Annotated[str, Field(max_length=2)],
    ],
    ids=str,
)
def test_the_example_fits_its_schema(kind):
    schema = TypeAdapter(kind).json_schema()
    jsonschema.validate(example(schema), schema)


def test_what_has_a_default_is_left_to_it():
    assert example(TypeAdapter(Leaf).json_schema()) == {"text": "hello"}


def test_an_endpoint_can_be_called_with_the_example_of_its_input():
    @service
    class Asked:
        @dynamo_endpoint()
        async def ask(self, tree: Tree, leaf: Leaf, text: str, count: int = 2) -> str:
            return text

    given = example(vars(Asked)["ask"].schema()["input"])
    args, _ = vars(Asked)["ask"].bind((), given)
    assert isinstance(args[0], Tree)
    assert args[2] == "hello"
