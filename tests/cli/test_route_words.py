"""Routes on a command line, with and without quotation."""

import pytest

from dynamo_nb.cli.verbs.measurement import with_one_target


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("bench POST /generate -c 4", ["bench", "POST /generate", "-c", "4"]),
        ("bench get /items?a=1", ["bench", "get /items?a=1"]),
        ("trace Frontend POST /generate --payload x", ["trace", "Frontend POST /generate", "--payload", "x"]),
        ("bench GET http://127.0.0.1:8000/x", ["bench", "GET http://127.0.0.1:8000/x"]),
        ("bench Frontend.generate --payload /x", ["bench", "Frontend.generate", "--payload", "/x"]),
        ("bench", ["bench"]),
        ("bench GET", ["bench", "GET"]),
    ],
)
def test_the_words_of_a_route_are_one_target(line, words):
    assert with_one_target(line.split()) == words


def test_a_route_in_quotation_stays_as_it_is():
    assert with_one_target(["bench", "POST /generate", "-c", "4"]) == ["bench", "POST /generate", "-c", "4"]
