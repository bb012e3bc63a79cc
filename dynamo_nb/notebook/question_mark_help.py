"""`%dynamo serve?` shows the help of a verb.

IPython takes the last word before a question mark for the name of an object, and would show the function `serve`.
"""

from __future__ import annotations

import tokenize
from collections.abc import Sequence
from typing import Any

from IPython.core.inputtransformer2 import TokenTransformBase, assemble_continued_line, find_end_of_continued_line

_LAYOUT = {tokenize.INDENT, tokenize.DEDENT, tokenize.NEWLINE, tokenize.NL, tokenize.COMMENT, tokenize.ENDMARKER}


class QuestionMarkHelp(TokenTransformBase):  # type: ignore[misc]
    """Turns lines such as `%dynamo VERB …?` and `?%dynamo VERB` into `%dynamo help VERB`.

    It works on tokens, as IPython's own transformers do, so strings with such text stay as they are.
    """

    priority = 4
    """Before IPython's HelpEnd, which has 5."""

    @classmethod
    def find(cls, tokens_by_line: Sequence[Sequence[Any]]) -> QuestionMarkHelp | None:
        """Returns a transformer for the first such line, or None."""
        for line in tokens_by_line:
            tokens = [token for token in line if token.type not in _LAYOUT and token.string.strip()]
            words = [token.string for token in tokens]
            asks = words and (words[-1] == "?" or words[0] == "?")
            if asks and _verb([word for word in words if word != "?"]) is not None:
                return cls(tokens[0].start)
        return None

    def transform(self, lines: list[str]) -> list[str]:
        """Returns the lines with the call of the help in place of the line that was found."""
        at, column = self.start_line, self.start_col
        end = find_end_of_continued_line(lines, at)
        line = assemble_continued_line(lines, (at, column), end)
        verb = line.strip().strip("?").split()[1]
        call = f"get_ipython().run_line_magic('dynamo', {'help ' + verb!r})\n"
        return [*lines[:at], lines[at][:column] + call, *lines[end + 1 :]]


def _verb(words: Sequence[str]) -> str | None:
    """The verb of `%dynamo VERB …`, or of `dynamo VERB …` as IPython's automagic accepts it; None for other lines."""
    if words[:1] == ["%"]:
        words = words[1:]
    return words[1] if len(words) > 1 and words[0] == "dynamo" and words[1].isidentifier() else None
