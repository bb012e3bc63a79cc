"""Text to tokens and back, with the model's own tokenizer."""

from __future__ import annotations

import os
import re
from codecs import getincrementaldecoder
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any, Final

from dynamo_nb.errors import DynamoError, InvalidArgument
from dynamo_nb.llm.text.chat_template import ChatTemplate, template_text
from dynamo_nb.llm.text.tools import BEGIN, END

REPLACEMENT: Final = "\ufffd"
CACHED_TOKENS: Final = 65_536  # tokens whose text is cached
_BYTE: Final = re.compile(r"<0x([0-9A-F]{2})>")  # how SentencePiece vocabularies write a byte
MAX_INCOMPLETE: Final = 64  # tokens that may wait for the end of a character; further ones do not form one
CONTEXT_TOKENS: Final = 8  # last tokens of the prompt, as the context in which an answer is decoded
MARKS: Final = (BEGIN, END)  # are part of an answer's text, even if they are special tokens

CHARACTERS_PER_TOKEN: Final = 8  # more than nearly any text has; the average is about 4
SLACK: Final = 256  # tokens that the beginning of a text may have more than the whole, if it ends within a long word


def _byte_letters() -> dict[str, int]:
    """The letters for bytes in byte-level vocabularies: printable bytes are themselves, others start at 256."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("\xa1"), ord("\xac") + 1), *range(ord("\xae"), ord("\xff") + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + index): byte for index, byte in enumerate(others)}


_BYTE_OF: Final = _byte_letters()


class Tokenizer:
    """A tokenizer of transformers with the methods that a server needs. Loading takes seconds.

    Args:
        model: A folder, or a name that transformers finds.
        chat_template: The text of a chat template, or the path of its file; "" for that of the model.

    Raises:
        DynamoError: The tokenizer cannot be loaded, or the chat template is not valid.
    """

    def __init__(self, model: str, chat_template: str = "") -> None:
        os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # about torch, which is not needed
        from transformers import AutoTokenizer

        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(model)
        except (OSError, ValueError) as error:
            raise DynamoError(
                f"the tokenizer of {model!r} cannot be loaded: {error}",
                where=str(model),
                remedy="set `model` to a folder with a tokenizer, or to the name of a model",
            ) from error
        self.model = model
        self.size = len(self._tokenizer)
        fast = getattr(self._tokenizer, "backend_tokenizer", None)
        self._decode = fast.decode if fast is not None else self._tokenizer.decode
        self.piece = lru_cache(maxsize=CACHED_TOKENS)(self._piece)
        self.is_bytes = fast is not None and type(fast.decoder).__name__ == "ByteLevel"
        special = fast.get_added_tokens_decoder() if fast is not None else {}
        self.special_tokens = {
            added.content: token for token, added in special.items() if added.special and added.content not in MARKS
        }
        self.special = set(self.special_tokens.values())
        self._slow = fast is None
        self._template = cache(self._find_template)
        if chat_template:
            self._tokenizer.chat_template = template_text(chat_template)
            self._template(has_tools=False)
        self._letter = [] if self.is_bytes else list(self._tokenizer.encode("a", add_special_tokens=False))
        self.bytes_of = lru_cache(maxsize=CACHED_TOKENS)(self._bytes_of)

    def encode(self, text: str, most: int = 0) -> list[int]:
        """Returns the tokens of a prompt, with the special tokens that the model expects at the beginning.

        Args:
            text: The prompt.
            most: A limit of tokens; 0 for none.

        Raises:
            InvalidArgument: The text clearly exceeds `most`. It is not tokenised to its end then.
        """
        return self._encode(text, most, "prompt", special=True)

    def chat(
        self,
        messages: list[dict[str, Any]],
        tools: list[dict[str, Any]] | None = None,
        most: int = 0,
        variables: dict[str, Any] | None = None,
    ) -> list[int]:
        """Returns the tokens of a conversation, up to the point where the model answers.

        Args:
            messages: Messages in the form of OpenAI's API.
            tools: Tools in the form of OpenAI's API.
            most: See `encode`.
            variables: See `ChatTemplate.prompt`.

        Raises:
            InvalidArgument: The model has no chat template, a message is invalid, the template rejects the messages, or
                the text exceeds `most`.
        """
        text = self._template(has_tools=bool(tools)).prompt(messages, tools or [], variables)
        return self._encode(text, most, "messages", special=False)

    def _find_template(self, *, has_tools: bool) -> ChatTemplate:
        if not self._tokenizer.chat_template:
            raise InvalidArgument(
                f"{self.model} has no chat template",
                where="messages",
                remedy="set Processor.chat_template, or use the completions endpoint",
            )
        source = self._tokenizer.get_chat_template(tools=[] if has_tools else None)
        return ChatTemplate(self._tokenizer, source, has_tools=has_tools)

    def _encode(self, text: str, most: int, where: str, *, special: bool) -> list[int]:
        text = text.encode(errors="replace").decode()  # half a surrogate pair, which arguments of calls may contain
        # Tokenising takes two hundred times the memory of the text: of megabytes, the beginning is checked first.
        length = most * CHARACTERS_PER_TOKEN
        while 0 < length < len(text):
            if len(self._tokenizer.encode(text[:length], add_special_tokens=special)) > most + SLACK:
                raise InvalidArgument(
                    f"the prompt has more than {most} tokens, which is the context length",
                    where=where,
                    remedy="shorten the prompt",
                )
            length *= 2
        return list(self._tokenizer.encode(text, add_special_tokens=special))

    def decode(self, tokens: Sequence[int]) -> str:
        """Returns the text of tokens, without special ones."""
        shown = [token for token in tokens if token not in self.special]
        return str(self._decode(shown, skip_special_tokens=self._slow)) if shown else ""

    def decode_all(self, tokens: Sequence[int]) -> str:
        """Returns the text of tokens, with special ones."""
        return str(self._decode(tokens, skip_special_tokens=False))

    def _piece(self, token: int) -> tuple[str, bytes]:
        """The text of a single token, special or not, and its bytes, which may be part of a character."""
        before = self._letter  # some tokenizers write the first token of a text without its space
        text = str(self._decode([*before, token], skip_special_tokens=False))
        text = text[len(self._decode(before, skip_special_tokens=False)) :] if before else text
        if REPLACEMENT not in text:
            return text, text.encode()
        letters = self._tokenizer.convert_ids_to_tokens(token)
        if byte := _BYTE.fullmatch(letters):
            return text, bytes([int(byte[1], 16)])
        return text, bytes(_BYTE_OF.get(letter, ord("?")) for letter in letters)

    def _bytes_of(self, token: int) -> bytes:
        """The bytes of a token of a byte-level tokenizer; none for a special token."""
        if token in self.special:
            return b""
        letters = self._tokenizer.convert_ids_to_tokens(token) or ""
        try:
            return bytes(map(_BYTE_OF.__getitem__, letters))
        except KeyError:  # an added token, which is not written in byte letters
            return str(letters).encode()

    def detokenizer(self, prompt: Sequence[int] = ()) -> Detokenizer | ByteDetokenizer:
        """Returns a detokenizer for one answer to a prompt."""
        return ByteDetokenizer(self) if self.is_bytes else Detokenizer(self, prompt)


class ByteDetokenizer:
    """Text from the tokens of a byte-level tokenizer, whose bytes do not depend on earlier tokens. See Detokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._bytes_of = tokenizer.bytes_of
        self._decode = getincrementaldecoder("utf-8")("replace").decode

    def feed(self, tokens: Sequence[int]) -> str:
        """Returns the characters that are complete now."""
        return self._decode(b"".join(map(self._bytes_of, tokens)))

    def end(self) -> str:
        """Returns the rest: a character that was never completed."""
        return self._decode(b"", final=True)


class Detokenizer:
    """Text from tokens as they come. It never splits a character, and equals the text of prompt and answer together.

    Some tokenizers write a token differently at the beginning of a text. So each piece is decoded together with the
    piece before it, whose text is then removed. Some decode a run of bytes to nothing until its last character is
    complete.
    """

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._before = list(prompt[-CONTEXT_TOKENS:])  # tokens whose text was returned
        self._open: list[int] = []  # tokens whose text was not returned, or only in part
        self._returned = 0  # characters of `_open` that were returned

    def feed(self, tokens: Sequence[int]) -> str:
        """Returns the characters that are complete now."""
        if not tokens:
            return ""
        self._open += tokens
        text = self._text()
        complete = len(text.rstrip(REPLACEMENT)) if len(self._open) < MAX_INCOMPLETE else len(text)
        new = text[self._returned : complete]
        if complete < len(text):
            self._returned = max(self._returned, complete)
        else:
            self._close()
        return new

    def end(self) -> str:
        """Returns the rest: a character that was never completed."""
        text = self._text()
        new = text[self._returned :]
        self._close()
        return new

    def _close(self) -> None:
        # After nothing but special tokens, the next token would be written as at the beginning of a text.
        if not self._tokenizer.special.issuperset(self._open):
            self._before = self._open
        self._open, self._returned = [], 0

    def _text(self) -> str:
        decode = self._tokenizer.decode
        return decode(self._before + self._open)[len(decode(self._before)) :]
