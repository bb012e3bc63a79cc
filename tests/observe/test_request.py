"""Calls as they are written on a command line."""

import json

import pytest

from dynamo_nb.errors import InvalidArgument, NoSuchEndpoint, NoSuchService, TargetError
from dynamo_nb.observe.request import Request

pytestmark = pytest.mark.slow

PROGRAM = """
from dynamo_nb import dynamo_endpoint, service


@service
class Backend:
    @dynamo_endpoint()
    async def join(self, first: str = "-", second: str = "-") -> str:
        return f"{first} {second}"

    @dynamo_endpoint()
    async def total(self, numbers: list[int]) -> int:
        return sum(numbers)
"""


@pytest.fixture(scope="module")
def deployment(module_project):
    module_project.write("program.py", PROGRAM)
    with module_project.serve("program:Backend").result() as deployment:
        yield deployment


@pytest.mark.parametrize(
    ("target", "payload", "answer"),
    [
        ("Backend.join", None, "- -"),
        ("backend.join", '{"second": "b", "first": "a"}', "a b"),
        ("Backend.join", '"a"', "a -"),
        ("BACKEND.total", "[1, 2, 3]", 6),
    ],
)
def test_a_payload_is_the_arguments_by_name_or_the_one_argument(deployment, target, payload, answer):
    request = Request.parse(deployment, target, payload)
    assert [request.call().result() for _ in range(2)] == [answer, answer]


def test_a_payload_can_stand_in_a_file(deployment, tmp_path):
    (tmp_path / "payload.json").write_text(json.dumps({"first": "a"}))
    assert Request.parse(deployment, "Backend.join", f"@{tmp_path}/payload.json").call().result() == "a -"


@pytest.mark.parametrize(
    ("target", "payload", "error", "said"),
    [
        ("join", None, TargetError, "Service.endpoint"),
        ("Bakend.join", None, NoSuchService, "did you mean 'Backend'"),
        ("Backend.jion", None, NoSuchEndpoint, "did you mean 'join'"),
        ("Backend.join", "{first: a}", InvalidArgument, "no JSON"),
        ("Backend.join", "@no_such_file", InvalidArgument, "no_such_file"),
    ],
)
def test_what_cannot_be_called_is_told(deployment, target, payload, error, said):
    with pytest.raises(error) as told:
        Request.parse(deployment, target, payload)
    assert said in str(told.value)


def test_arguments_that_do_not_fit_are_told_before_anything_is_sent(deployment):
    with pytest.raises(InvalidArgument, match="'numbers' does not fit"):
        Request.parse(deployment, "Backend.total", '"x"').call()
