import pytest

from dynamo_nb.llm.messages import Sampling, TextRequest, TokenDelta
from dynamo_nb.llm.text.tokenizer import Tokenizer
from dynamo_nb.llm.text.writer import Writer
from dynamo_nb.llm.tiny import tiny_model

TOKENIZER = Tokenizer(str(tiny_model()))
TOKENS = TOKENIZER.encode("The worker keeps what it has read, so that the next question is answered sooner.")


def written(size, **parameters):
    """The deltas up to the finish, with `size` tokens in each."""
    request = TextRequest(request_id="r", model="tiny", prompt="", sampling=Sampling(), **parameters)
    writer = Writer(TOKENIZER, request, [], "")
    deltas = []
    for start in range(0, len(TOKENS), size):
        tokens = TOKENS[start : start + size]
        last = start + size >= len(TOKENS)
        deltas.append(writer.write(TokenDelta(tokens, "length" if last else "", [[(token, -1.0)] for token in tokens])))
        if deltas[-1].finish:
            return deltas
    raise AssertionError("no finish")


@pytest.mark.parametrize("stop", ["next", "t it has r", ".", "keeps"])
def test_a_stop_text_ends_the_answer_at_the_same_token_for_every_size_of_deltas(stop):
    one_by_one = written(1, stop=(stop,))
    text = TOKENIZER.decode(TOKENS)
    assert "".join(delta.text for delta in one_by_one) == text[: text.index(stop)]
    count = sum(delta.tokens for delta in one_by_one)
    assert stop in TOKENIZER.decode(TOKENS[:count])
    assert stop not in TOKENIZER.decode(TOKENS[: count - 1])
    for size in (2, 3, 7, len(TOKENS)):
        deltas = written(size, stop=(stop,))
        assert "".join(delta.text for delta in deltas) == text[: text.index(stop)]
        assert sum(delta.tokens for delta in deltas) == count
        assert [entry for delta in deltas for entry in delta.logprobs] == [
            entry for delta in one_by_one for entry in delta.logprobs
        ]
        assert deltas[-1].finish == "stop"


@pytest.mark.parametrize("stop", [(), ("never",), ("sooner.x",)])
def test_without_a_stop_text_every_token_is_written(stop):
    for size in (1, 4, len(TOKENS)):
        deltas = written(size, stop=stop)
        assert "".join(delta.text for delta in deltas) == TOKENIZER.decode(TOKENS)
        assert sum(len(delta.logprobs) for delta in deltas) == sum(delta.tokens for delta in deltas) == len(TOKENS)
        assert deltas[-1].finish == "length"
