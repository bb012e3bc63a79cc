"""A loaded causal language model of transformers."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dynamo_nb.errors import EngineError
from dynamo_nb.llm.engines.torch.cache import new_cache
from dynamo_nb.llm.engines.torch.options import TorchOptions
from dynamo_nb.llm.model_folder import PATH_STARTS
from dynamo_nb.llm.sampling_defaults import model_defaults

if TYPE_CHECKING:
    from torch import Tensor

INSTALL: Final = "pip install 'dynamo-nb[torch]'"


class TorchModel:
    """The weights, and the computations with them. Used only by the thread that created it.

    Args:
        options: Options to load the model.

    Attributes:
        device: The torch device.
        context: Tokens of prompt and answer together.
        vocabulary: Number of tokens in the vocabulary.
        end_tokens: Tokens that end an answer.
        sampling: The model's own sampling parameters, see `model_defaults`.

    Raises:
        EngineError: torch, the model or the device is missing, or the model cannot be served.
    """

    def __init__(self, options: TorchOptions) -> None:
        check_options(options)
        import torch
        from transformers import AutoModelForCausalLM

        where = f"model {options.model!r}"
        if options.threads:
            torch.set_num_threads(options.threads)
        folder = str(Path(options.model).expanduser()) if options.model.startswith("~") else options.model
        self.device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._model = AutoModelForCausalLM.from_pretrained(folder, dtype=options.dtype).to(self.device).eval()
        config = self._model.config.get_text_config()
        self.vocabulary = int(self._model.get_input_embeddings().weight.shape[0])
        self.context = _context(options, getattr(config, "max_position_embeddings", None) or 0)
        ends = self._model.generation_config.eos_token_id
        ends = config.eos_token_id if ends is None else ends
        self.end_tokens: tuple[int, ...] = tuple(ends) if isinstance(ends, list) else () if ends is None else (ends,)
        self.sampling = model_defaults(self._model.generation_config.to_diff_dict())
        self._last_logits = {"logits_to_keep": 1} if _has_parameter(self._model, "logits_to_keep") else {}
        self._warm_up(where)

    def _warm_up(self, where: str) -> None:
        """Computes three tokens. Loads the kernels, and fails now if the model cannot be served."""
        import torch

        cache = new_cache()
        with torch.inference_mode():
            self.logits([[0, 0]], [0], cache)
            self.logits([[0]], [2], cache)
        if {layer.get_seq_length() for layer in cache.layers} != {3}:
            raise EngineError("the model keeps no keys and values", where=where, remedy="serve it with vLLM")

    def logits(self, tokens: list[list[int]], first: list[int], cache: Any, mask: Tensor | None = None) -> Tensor:
        """Returns the logits after the last token of each row, and adds the keys and values of all to the cache.

        Args:
            tokens: `[rows, new columns]`, the tokens to compute.
            first: `[rows]`, the position of the first token of each row.
            cache: See `new_cache`.
            mask: `[rows, columns]`, True for the columns of the cache, including the new ones, that are not padding;
                None if there is no padding.

        Returns:
            `[rows, vocabulary]`.
        """
        import torch

        ids = torch.tensor(tokens, device=self.device)
        positions = torch.tensor(first, device=self.device)[:, None]
        if ids.shape[1] > 1:
            positions = positions + torch.arange(ids.shape[1], device=self.device)
        output = self._model(
            input_ids=ids,
            position_ids=positions,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
            **self._last_logits,
        )
        logits: Tensor = output.logits[:, -1]
        return logits

    def embedding(self, tokens: list[int]) -> list[float]:
        """Returns the mean of the last hidden states of all tokens, scaled to length 1."""
        import torch

        ids = torch.tensor([tokens], device=self.device)
        states = self._model.base_model(input_ids=ids, use_cache=False).last_hidden_state[0]
        vector: list[float] = torch.nn.functional.normalize(states.float().mean(0), dim=0).tolist()
        return vector


def check_options(options: TorchOptions) -> None:
    """Raises EngineError where torch is missing, and for a model or a dtype that does not exist."""
    try:
        import torch
        import transformers  # noqa: F401
    except ImportError as error:
        raise EngineError(f"torch cannot be imported: {error}", where="TorchEngine", remedy=INSTALL) from error
    where = f"model {options.model!r}"
    if options.model.startswith(PATH_STARTS) and not Path(options.model).expanduser().is_dir():
        raise EngineError(f"no folder {options.model!r}", where=where, remedy="check the path")
    if options.dtype != "auto" and not isinstance(getattr(torch, options.dtype, None), torch.dtype):
        raise EngineError(f"torch has no dtype {options.dtype!r}", where=where, remedy="use one such as 'bfloat16'")


def _context(options: TorchOptions, trained: int) -> int:
    """The context length. trained: that of the model's configuration; 0 if it has none."""
    requested, where = options.max_model_len, f"model {options.model!r}"
    if requested and (not trained or requested <= trained):
        return requested
    if requested:
        raise EngineError(
            f"max_model_len is {requested}, but the model was made for {trained} tokens",
            where=where,
            remedy=f"set max_model_len to at most {trained}",
        )
    if not trained:
        raise EngineError(
            "the model has no context length in its configuration", where=where, remedy="set max_model_len"
        )
    return trained


def _has_parameter(model: Any, name: str) -> bool:
    return name in inspect.signature(model.forward).parameters
