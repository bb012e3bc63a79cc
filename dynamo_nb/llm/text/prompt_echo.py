"""The prompt in an answer: its text, and what the model thinks of its tokens."""

from __future__ import annotations

from dynamo_nb.llm.messages import PromptToken, TextDelta, TextLogprob, TextRequest, TokenDelta
from dynamo_nb.llm.text.tokenizer import Tokenizer


class PromptEcho:
    """Adds the prompt to the first piece of an answer, as the request asks for it.

    Args:
        tokenizer: The model's tokenizer.
        request: The request.
        tokens: The tokens of its prompt.
    """

    def __init__(self, tokenizer: Tokenizer, request: TextRequest, tokens: list[int]) -> None:
        self._tokenizer, self._request, self._tokens = tokenizer, request, tokens

    @property
    def text(self) -> str:
        """The prompt as text, if the answer begins with it."""
        if not self._request.echo:
            return ""
        prompt = self._request.prompt
        return prompt if isinstance(prompt, str) else self._tokenizer.decode_all(prompt)

    def add(self, piece: TextDelta, delta: TokenDelta) -> None:
        """Adds the prompt.

        Args:
            piece: The first piece of the answer.
            delta: The tokens from which it was written.
        """
        sampling = self._request.sampling
        piece.text = self.text + piece.text
        if self._request.echo and sampling.logprobs is not None:
            piece.logprobs = self._logprobs(delta, sampling.logprobs) + piece.logprobs
        if self._request.prompt_logprobs:
            piece.prompt_logprobs = [
                [PromptToken(token, self._tokenizer.piece(token)[0], logprob, rank) for token, logprob, rank in entry]
                for entry in delta.prompt_logprobs
            ]

    def _logprobs(self, delta: TokenDelta, most: int) -> list[TextLogprob]:
        """An entry for each token of the prompt; the first has no probability, since nothing is before it."""
        piece = self._tokenizer.piece
        found = [TextLogprob(*piece(token), None) for token in self._tokens[:1]]
        for (token, logprob, _), *others in delta.prompt_logprobs:
            top = [(*piece(other), value) for other, value, rank in others if rank <= most]
            found.append(TextLogprob(*piece(token), logprob, top))
        return found
