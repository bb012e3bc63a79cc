import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamo_nb.errors import DynamoError, InvalidArgument
from dynamo_nb.llm.text.tokens import ByteDetokenizer, Detokenizer, Tokenizer
from dynamo_nb.llm.tiny import tiny_model

TOKENIZER = Tokenizer(str(tiny_model()))
KINDS = pytest.mark.parametrize("kind", [ByteDetokenizer, Detokenizer])
TEXTS = ["plain words", "Grüße, 世界!", "👩‍👩‍👧‍👦 family", " leading and trailing ", "\n\n\ttabs", "é" * 40]


def pieces(tokens, sizes, kind=ByteDetokenizer):
    detokenizer = kind(TOKENIZER)
    shown, start = [], 0
    for size in sizes:
        shown.append(detokenizer.feed(tokens[start : start + size]))
        start += size
    return [*shown, detokenizer.feed(tokens[start:]), detokenizer.end()]


@pytest.mark.parametrize("text", TEXTS)
@KINDS
def test_text_comes_back_whole_token_by_token(text, kind):
    tokens = TOKENIZER.encode(text)
    shown = pieces(tokens, [1] * len(tokens), kind)
    assert "".join(shown) == TOKENIZER.decode(tokens)
    assert "\ufffd" not in "".join(shown)


@KINDS
@settings(deadline=None, max_examples=200)
@given(tokens=st.lists(st.integers(0, TOKENIZER.size - 1), max_size=40), sizes=st.lists(st.integers(0, 4), max_size=20))
def test_whatever_tokens_come_the_pieces_make_what_all_of_them_make(kind, tokens, sizes):
    assert "".join(pieces(tokens, sizes, kind)) == TOKENIZER.decode(tokens)


@KINDS
def test_half_a_character_is_never_shown(kind):
    tokens = TOKENIZER.encode("a世b")
    whole = TOKENIZER.decode(tokens)
    shown = ""
    for piece in pieces(tokens, [1] * len(tokens), kind):
        shown += piece
        assert whole.startswith(shown)


def test_a_chat_becomes_the_tokens_of_the_models_own_template():
    tokens = TOKENIZER.chat([{"role": "user", "content": "hello"}])
    assert "hello" in TOKENIZER.decode(tokens)
    assert len(tokens) > len(TOKENIZER.encode("hello"))


def test_messages_that_the_template_refuses_are_an_invalid_argument():
    with pytest.raises(InvalidArgument, match="template"):
        TOKENIZER.chat(["no message"])


def test_a_text_of_far_too_many_tokens_is_not_read_to_its_end():
    for text, most in (("word " * 10**6, 100), (" " * 10**6, 1000)):
        with pytest.raises(InvalidArgument, match=f"more than {most} tokens, the whole context"):
            TOKENIZER.encode(text, most)
    with pytest.raises(InvalidArgument, match="the whole context"):
        TOKENIZER.chat([{"role": "user", "content": "word " * 10**6}], most=100)


@pytest.mark.parametrize("text", [*TEXTS, "", "word " * 3000, " " * 3000, "the language " * 3000])
def test_a_text_that_fits_is_read_whatever_room_there_is_beside_it(text):
    tokens = TOKENIZER.encode(text)
    assert all(TOKENIZER.encode(text, most) == tokens for most in (len(tokens), 2 * len(tokens), 10**6))


def test_a_model_without_a_tokenizer_says_what_to_give(tmp_path):
    with pytest.raises(DynamoError, match="cannot be loaded"):
        Tokenizer(str(tmp_path))


def test_a_byte_level_tokenizer_is_known_as_one():
    assert isinstance(TOKENIZER.detokenizer(), ByteDetokenizer)
