"""Text to tokens and back, by the model's own tokenizer."""

from __future__ import annotations

import os
import re
from codecs import getincrementaldecoder
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from dynamo_nb.errors import DynamoError, InvalidArgument
from dynamo_nb.llm.text.tools import BEGIN, END

REPLACEMENT: Final = "\ufffd"
KEPT: Final = 65_536  # tokens whose texts are kept
_BYTE: Final = re.compile(r"<0x([0-9A-F]{2})>")  # how vocabularies of SentencePiece write a byte
LONGEST_OPEN: Final = 64  # tokens without a whole character at their end, from which on they have none
LAST_OF_PROMPT: Final = 8  # tokens of a prompt behind which an answer is decoded
MARKS: Final = (BEGIN, END)  # are read in an answer's text, also where they are special tokens

GLIMPSE: Final = 8  # characters for each token of a context: a text has some four for each, and rarely more than this
SLACK: Final = 256  # tokens: as many more the beginning of a text may have than the whole, cut within a long word


def _byte_letters() -> dict[str, int]:
    """The letters by which byte-level vocabularies write bytes: printable ones by themselves, others from 256 on."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("\xa1"), ord("\xac") + 1), *range(ord("\xae"), ord("\xff") + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + place): byte for place, byte in enumerate(others)}


_BYTE_OF: Final = _byte_letters()


class Tokenizer:
    """A tokenizer of transformers with what a server needs of it. Loading it takes seconds."""

    def __init__(self, model: str) -> None:
        """model: a folder, or a name that transformers finds. Raises DynamoError when there is none."""
        os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # of torch, which is not needed
        from transformers import AutoTokenizer

        try:
            self._own: Any = AutoTokenizer.from_pretrained(model)
        except (OSError, ValueError) as error:
            raise DynamoError(
                f"the tokenizer of {model!r} cannot be loaded: {error}",
                where=str(model),
                remedy="give `model` a folder with a tokenizer in it, or the name of a model",
            ) from error
        self.model = model
        self.size = len(self._own)
        fast = getattr(self._own, "backend_tokenizer", None)
        self._decode = fast.decode if fast is not None else self._own.decode
        self.piece = lru_cache(maxsize=KEPT)(self._piece)
        self.is_bytes = fast is not None and type(fast.decoder).__name__ == "ByteLevel"
        special = fast.get_added_tokens_decoder() if fast is not None else {}
        self.special = {token for token, added in special.items() if added.special and added.content not in MARKS}
        self._slow = fast is None
        self._plain = [] if self.is_bytes else list(self._own.encode("a", add_special_tokens=False))
        self.bytes_of = lru_cache(maxsize=KEPT)(self._bytes_of)

    def encode(self, text: str, most: int = 0) -> list[int]:
        """The tokens of a prompt, with those that the model wants at its beginning.

        most: raises InvalidArgument, without the work for all of it, where the text surely has more tokens; 0: takes
        any.
        """
        return self._encode(text, most, "prompt", special=True)

    def chat(
        self, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None = None, most: int = 0
    ) -> list[int]:
        """The tokens of a conversation, up to where the model is to answer. most: see `encode`.

        Raises InvalidArgument where there is no chat template, or it refuses the messages.
        """
        from jinja2.exceptions import TemplateError

        if not self._own.chat_template:
            raise InvalidArgument(
                f"{self.model} has no chat template", where="messages", remedy="ask for a completion instead"
            )
        try:
            text = self._own.apply_chat_template(
                messages, tools=tools or None, tokenize=False, add_generation_prompt=True
            )
        except (TemplateError, TypeError, KeyError, RecursionError) as error:
            raise InvalidArgument(f"the chat template refuses the messages: {error}", where="messages") from error
        return self._encode(text, most, "messages", special=False)

    def _encode(self, text: str, most: int, where: str, *, special: bool) -> list[int]:
        # Tokenising takes two hundred times a text's own memory, so that one of megabytes is first looked into.
        glimpse = most * GLIMPSE
        while 0 < glimpse < len(text):
            if len(self._own.encode(text[:glimpse], add_special_tokens=special)) > most + SLACK:
                raise InvalidArgument(
                    f"the prompt has more than {most} tokens, the whole context", where=where, remedy="shorten it"
                )
            glimpse *= 2
        return list(self._own.encode(text, add_special_tokens=special))

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens, without special ones."""
        told = [token for token in tokens if token not in self.special]
        return str(self._decode(told, skip_special_tokens=self._slow)) if told else ""

    def _piece(self, token: int) -> tuple[str, bytes]:
        """The text of one token by itself, special or not, and its bytes, which may be a part of a character."""
        behind = self._plain  # the first token of a text may be written without the space that it stands for
        text = str(self._decode([*behind, token], skip_special_tokens=False))
        text = text[len(self._decode(behind, skip_special_tokens=False)) :] if behind else text
        if REPLACEMENT not in text:
            return text, text.encode()
        letters = self._own.convert_ids_to_tokens(token)
        if byte := _BYTE.fullmatch(letters):
            return text, bytes([int(byte[1], 16)])
        return text, bytes(_BYTE_OF.get(letter, ord("?")) for letter in letters)

    def _bytes_of(self, token: int) -> bytes:
        """What a token adds to a text, of a byte-level tokenizer: nothing where it is special."""
        if token in self.special:
            return b""
        letters = self._own.convert_ids_to_tokens(token) or ""
        try:
            return bytes(map(_BYTE_OF.__getitem__, letters))
        except KeyError:  # one that was added, and is written as it is
            return str(letters).encode()

    def detokenizer(self, prompt: Sequence[int] = ()) -> Detokenizer | ByteDetokenizer:
        """What makes the text of one answer to a prompt."""
        return ByteDetokenizer(self) if self.is_bytes else Detokenizer(self, prompt)


class ByteDetokenizer:
    """Text from tokens as they come, where each is some bytes, whatever stands before it. See Detokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._bytes_of = tokenizer.bytes_of
        self._decode = getincrementaldecoder("utf-8")("replace").decode

    def feed(self, tokens: Sequence[int]) -> str:
        """The characters that are whole now."""
        return self._decode(b"".join(map(self._bytes_of, tokens)))

    def end(self) -> str:
        """What is left: a character that was never finished."""
        return self._decode(b"", final=True)


class Detokenizer:
    """Text from tokens as they come: never half a character, and the same as of prompt and answer at once.

    Some tokenizers write a token otherwise at the beginning of a text than after another; so that each piece is decoded
    behind the one before it, whose text is then taken off. Some write a whole run of bytes as no characters for as long
    as the last of them is not whole.
    """

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._before = list(prompt[-LAST_OF_PROMPT:])  # whose text has been given
        self._open: list[int] = []  # whose text has not, or not all
        self._given = 0  # characters of `_open` that have been given

    def feed(self, tokens: Sequence[int]) -> str:
        """The characters that are whole now."""
        if not tokens:
            return ""
        self._open += tokens
        text = self._text()
        whole = len(text.rstrip(REPLACEMENT)) if len(self._open) < LONGEST_OPEN else len(text)
        new = text[self._given : whole]
        if whole < len(text):
            self._given = max(self._given, whole)
        else:
            self._close()
        return new

    def end(self) -> str:
        """What is left: a character that was never finished."""
        text = self._text()
        new = text[self._given :]
        self._close()
        return new

    def _close(self) -> None:
        # Behind special ones alone the next would be written as at the beginning of a text.
        if not self._tokenizer.special.issuperset(self._open):
            self._before = self._open
        self._open, self._given = [], 0

    def _text(self) -> str:
        decode = self._tokenizer.decode
        return decode(self._before + self._open)[len(decode(self._before)) :]
