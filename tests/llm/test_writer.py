import pytest

from dynamo_nb.llm.messages import Sampling, TextRequest, TokenDelta
from dynamo_nb.llm.text.tokenizer import Tokenizer
from dynamo_nb.llm.text.writer import Writer, with_stop_tokens
from dynamo_nb.llm.tiny import tiny_model

TOKENIZER = Tokenizer(str(tiny_model()))
TOKENS = TOKENIZER.encode("The worker keeps what it has read, so that the next question is answered sooner.")


def written(size, min_tokens=0, **parameters):
    """The deltas up to the finish, with `size` tokens in each."""
    request = TextRequest(
        request_id="r", model="tiny", prompt="", sampling=Sampling(min_tokens=min_tokens), **parameters
    )
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


@pytest.mark.parametrize("stop", [("e",), ("keeps",), (".",), ("e", " t"), ("ext", "next q"), ("The worker",)], ids=str)
@pytest.mark.parametrize("min_tokens", [0, 1, 2, 5, 9, len(TOKENS) - 1, len(TOKENS), 1000])
def test_stop_texts_that_end_within_min_tokens_are_passed_over(stop, min_tokens):
    texts = [TOKENIZER.decode(TOKENS[:count]) for count in range(len(TOKENS) + 1)]
    passed = len(texts[min(min_tokens, len(TOKENS))])
    ends = [
        (end, end - len(each))
        for each in stop
        for end in range(passed + 1, len(texts[-1]) + 1)
        if texts[-1][:end].endswith(each)
    ]
    end, start = min(ends, default=(len(texts[-1]), len(texts[-1])))
    for size in (1, 2, 7, len(TOKENS)):
        deltas = written(size, min_tokens, stop=stop)
        assert "".join(delta.text for delta in deltas) == texts[-1][:start]
        assert deltas[-1].finish == ("stop" if ends else "length")
        assert len(texts[sum(delta.tokens for delta in deltas)]) >= end


@pytest.mark.parametrize(
    ("stop", "stop_tokens"),
    [
        ((), (7,)),
        (("<|end|>",), (7, TOKENIZER.special_tokens["<|end|>"])),
        (("word", "<|end|>"), (7, TOKENIZER.special_tokens["<|end|>"])),
        (("<|user|>",), (7, TOKENIZER.special_tokens["<|user|>"])),
        (("<|tool|>", "<|begin|>"), (7, TOKENIZER.special_tokens["<|tool|>"], TOKENIZER.special_tokens["<|begin|>"])),
        ((" <|end|>",), (7,)),
        (("<|end",), (7,)),
        (("<tool_call>",), (7,)),
        (tuple(TOKENIZER.special_tokens), (7, *TOKENIZER.special_tokens.values())),
    ],
    ids=str,
)
def test_a_stop_text_that_is_one_special_token_is_a_stop_token(stop, stop_tokens):
    assert with_stop_tokens(Sampling(stop_tokens=(7,)), stop, TOKENIZER).stop_tokens == stop_tokens
