import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamo_nb.errors import DynamoError, InvalidArgument
from dynamo_nb.llm.text.tokenizer import ByteDetokenizer, Detokenizer, Tokenizer
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
def test_a_text_is_restored_token_by_token(text, kind):
    tokens = TOKENIZER.encode(text)
    shown = pieces(tokens, [1] * len(tokens), kind)
    assert "".join(shown) == TOKENIZER.decode(tokens)
    assert "\ufffd" not in "".join(shown)


@KINDS
@settings(deadline=None, max_examples=200)
@given(tokens=st.lists(st.integers(0, TOKENIZER.size - 1), max_size=40), sizes=st.lists(st.integers(0, 4), max_size=20))
def test_the_pieces_of_any_tokens_equal_the_text_of_all(kind, tokens, sizes):
    assert "".join(pieces(tokens, sizes, kind)) == TOKENIZER.decode(tokens)


@KINDS
def test_a_character_is_never_split(kind):
    tokens = TOKENIZER.encode("a世b")
    whole = TOKENIZER.decode(tokens)
    shown = ""
    for piece in pieces(tokens, [1] * len(tokens), kind):
        shown += piece
        assert whole.startswith(shown)


def test_a_chat_is_encoded_with_the_chat_template_of_the_model():
    tokens = TOKENIZER.chat([{"role": "user", "content": "hello"}])
    assert "hello" in TOKENIZER.decode(tokens)
    assert len(tokens) > len(TOKENIZER.encode("hello"))


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\ude00\ud83d"], ids=ascii)
def test_half_of_a_surrogate_pair_is_a_question_mark(text):
    expected = "".join("?" if "\ud800" <= character <= "\udfff" else character for character in text)
    assert TOKENIZER.encode(text) == TOKENIZER.encode(expected)


@pytest.mark.parametrize("depth", [1, 70, 300, 500, 900, 990, 5000, 10**5])
def test_deeply_nested_arguments_of_a_call_are_written_unchanged_or_refused_or_left_out(depth):
    arguments = '{"a": ' + "[" * depth + "]" * depth + "}"
    call = {"type": "function", "function": {"name": "f", "arguments": arguments}}
    try:
        text = TOKENIZER.decode(TOKENIZER.chat([{"role": "assistant", "content": None, "tool_calls": [call]}]))
    except InvalidArgument as error:
        text = str(error)
    assert arguments in text or (depth > 300 and ("the chat template rejected" in text or '"arguments": {}' in text))


def test_a_text_far_over_the_limit_is_not_tokenised_to_its_end():
    for text, most in (("word " * 10**6, 100), (" " * 10**6, 1000)):
        with pytest.raises(InvalidArgument, match=f"more than {most} tokens, which is the context length"):
            TOKENIZER.encode(text, most)
    with pytest.raises(InvalidArgument, match="which is the context length"):
        TOKENIZER.chat([{"role": "user", "content": "word " * 10**6}], most=100)


@pytest.mark.parametrize("text", [*TEXTS, "", "word " * 3000, " " * 3000, "the language " * 3000])
def test_a_text_within_the_limit_is_encoded_for_every_limit(text):
    tokens = TOKENIZER.encode(text)
    assert all(TOKENIZER.encode(text, most) == tokens for most in (len(tokens), 2 * len(tokens), 10**6))


def test_a_folder_without_a_tokenizer_is_an_error(tmp_path):
    with pytest.raises(DynamoError, match="cannot be loaded"):
        Tokenizer(str(tmp_path))


def test_a_byte_level_tokenizer_is_recognised():
    assert isinstance(TOKENIZER.detokenizer(), ByteDetokenizer)


@pytest.fixture(scope="module")
def fallback(tmp_path_factory):
    """A tokenizer like that of Llama 2 and Mistral: words include the space before them, other characters are bytes."""
    tokenizers = pytest.importorskip("tokenizers")
    folder = tmp_path_factory.mktemp("fallback")
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "▁hello", "▁world", *"helowrd\n"]
    names += ["<tool_call>", "</tool_call>"]
    vocabulary = {name: number for number, name in enumerate(names)}
    own = tokenizers.Tokenizer(
        tokenizers.models.BPE(vocab=vocabulary, merges=[], byte_fallback=True, unk_token="<unk>")
    )
    replace, prepend = tokenizers.normalizers.Replace(" ", "▁"), tokenizers.normalizers.Prepend("▁")
    own.normalizer = tokenizers.normalizers.Sequence([prepend, replace])
    decoders = tokenizers.decoders
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    own.decoder = decoders.Sequence(steps)
    special = ("<unk>", "<s>", "</s>", "<tool_call>", "</tool_call>")
    own.add_special_tokens([tokenizers.AddedToken(name, special=True, normalized=False) for name in special])
    own.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>"}')
    return Tokenizer(str(folder)), vocabulary


@settings(deadline=None, max_examples=200)
@given(text=st.text(alphabet="aé世🚢 ho", max_size=14))
def test_with_byte_fallback_characters_of_several_bytes_are_never_split(fallback, text):
    tokenizer, _ = fallback
    tokens, detokenizer = tokenizer.encode(text), tokenizer.detokenizer()
    shown = [detokenizer.feed([token]) for token in tokens]
    assert "\ufffd" not in "".join(shown)
    assert "".join([*shown, detokenizer.end()]) == tokenizer.decode(tokens)


def test_an_answer_begins_with_the_space_after_its_prompt(fallback):
    tokenizer, vocabulary = fallback
    detokenizer = tokenizer.detokenizer(tokenizer.encode("hello"))
    tokens = [vocabulary[name] for name in ("▁world", "</s>", "▁hello")]
    assert [detokenizer.feed(piece) for piece in ([], [tokens[0]], [tokens[1]], [tokens[2]])] == [
        "",
        " world",
        "",
        " hello",
    ]
    assert tokenizer.piece(vocabulary["▁world"]) == (" world", b" world")


def test_the_marks_of_a_tool_call_are_text_although_they_are_special_tokens(fallback):
    tokenizer, vocabulary = fallback
    tokens = [vocabulary[name] for name in ("<tool_call>", "h", "</tool_call>", "</s>")]
    detokenizer = tokenizer.detokenizer()
    assert "".join([detokenizer.feed([token]) for token in tokens]) == "<tool_call>h</tool_call>"


def test_bytes_that_never_form_a_character_are_written_at_the_end(fallback):
    tokenizer, vocabulary = fallback
    detokenizer = tokenizer.detokenizer()
    assert "".join([detokenizer.feed([vocabulary["<0xE4>"]]) for _ in range(200)]).count("\ufffd") >= 100
