"""`%dynamo serve?`: the help of a verb, asked for as IPython users ask.

IPython takes the last word before a question mark for the name of an object, and would show the function `serve`.
"""

from __future__ import annotations

import tokenize
from collections.abc import Sequence
from typing import Any

from IPython.core.inputtransformer2 import TokenTransformBase, assemble_continued_line, find_end_of_continued_line

_LAYOUT = {tokenize.INDENT, tokenize.DEDENT, tokenize.NEWLINE, tokenize.NL, tokenize.COMMENT, tokenize.ENDMARKER}
_MAGIC = "%dynamo"


class VerbHelp(TokenTransformBase):  # type: ignore[misc]
    """Makes `%dynamo VERB …?` and `?%dynamo VERB` lines ask for the help of the verb.

    It works on tokens, as IPython's own transformers do, so that what stands in a string is left alone.
    """

    priority = 4
    """Before HelpEnd, which has 5."""

    @classmethod
    def find(cls, tokens_by_line: Sequence[Sequence[Any]]) -> VerbHelp | None:
        for line in tokens_by_line:
            tokens = [token for token in line if token.type not in _LAYOUT and token.string.strip()]
            words = [token.string for token in tokens]
            marks = words and (words[-1] == "?" or words[0] == "?")
            if marks and _verb([word for word in words if word != "?"]) is not None:
                return cls(tokens[0].start)
        return None

    def transform(self, lines: list[str]) -> list[str]:
        at, column = self.start_line, self.start_col
        end = find_end_of_continued_line(lines, at)
        line = assemble_continued_line(lines, (at, column), end)
        verb = line.strip().strip("?").split()[1]
        call = f"get_ipython().run_line_magic('dynamo', {'help ' + verb!r})\n"
        return [*lines[:at], lines[at][:column] + call, *lines[end + 1 :]]


def _verb(words: Sequence[str]) -> str | None:
    """The verb of a line of words, if it is `%dynamo VERB …` or, as automagic has it, `dynamo VERB …`."""
    if words[:1] == ["%"]:
        words = words[1:]
    return words[1] if len(words) > 1 and words[0] == "dynamo" and words[1].isidentifier() else None
