"""Requests as a person writes them: an endpoint, and a payload in JSON."""

import json

import pytest

from dynamo_nb.errors import InvalidArgument, NoSuchEndpoint, NoSuchService
from dynamo_nb.observe.request import Request


@pytest.mark.parametrize(
    ("target", "payload", "answer"),
    [
        ("Backend.say", '{"text": "a", "times": 3}', "aaa"),
        ("Backend.say", '{"text": "a"}', "a"),
        ("Backend.say", '"a b"', "a b"),
        ("Frontend.say", '"through"', "through"),
        ("frontend.say", '"in lower case"', "in lower case"),
        ("Backend.echo", '{"any": {"keys": [1]}}', {"any": {"keys": [1]}}),
        ("Backend.echo", '{"message": {"a": 1}}', {"a": 1}),
        ("Backend.count", "3", [0, 1, 2]),
        ("Backend.nothing", None, None),
    ],
)
def test_a_request_is_called_with_its_payload(deployment, target, payload, answer):
    assert Request.parse(deployment, target, payload).call().result() == answer


def test_a_payload_is_read_from_a_file(deployment, tmp_path):
    (tmp_path / "one.json").write_text(json.dumps({"text": "from a file"}))

    assert Request.parse(deployment, "Backend.say", f"@{tmp_path}/one.json").call().result() == "from a file"


def test_each_line_of_a_file_is_a_payload(deployment, tmp_path):
    (tmp_path / "lines.jsonl").write_text('"a"\n\n{"text": "b", "times": 2}\n')

    requests = Request.parse_all(deployment, "backend.say", f"@{tmp_path}/lines.jsonl")

    assert [request.call().result() for request in requests] == ["a", "bb"]


def test_the_error_of_a_missing_payload_shows_a_working_example(deployment):
    with pytest.raises(InvalidArgument, match=r"Backend\.say needs a payload: text") as caught:
        Request.parse(deployment, "backend.say")

    example = caught.value.remedy.partition("--payload '")[2].rstrip("'")
    assert Request.parse(deployment, "backend.say", example).call().result() == "hello"


@pytest.mark.parametrize(
    ("target", "payload", "error", "message"),
    [
        ("frontnd.say", '"a"', NoSuchService, "did you mean 'Frontend'?"),
        ("frontend.sya", '"a"', NoSuchEndpoint, "did you mean 'say'?"),
        ("say", '"a"', NoSuchEndpoint, "Backend.count"),
        ("backend.say", '{"text', InvalidArgument, "is not JSON"),
        ("backend.say", "@nowhere.json", InvalidArgument, "nowhere.json"),
    ],
)
def test_a_faulty_request_has_a_clear_error(deployment, target, payload, error, message):
    with pytest.raises(error) as caught:
        Request.parse(deployment, target, payload)

    assert message in str(caught.value)


def test_the_error_names_the_line_that_is_not_json(deployment, tmp_path):
    (tmp_path / "lines.jsonl").write_text('"a"\nb\n')

    with pytest.raises(InvalidArgument, match=r"lines\.jsonl:2"):
        Request.parse_all(deployment, "backend.say", f"@{tmp_path}/lines.jsonl")
