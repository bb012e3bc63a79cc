"""A causal language model of transformers, loaded."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dynamo_nb.errors import EngineError
from dynamo_nb.llm.engines.torch.cache import new_cache

if TYPE_CHECKING:
    from torch import Tensor

INSTALL: Final = "pip install 'dynamo-nb[torch]'"
PATHS: Final = ("/", ".", "~")  # what a model's name on a hub does not begin with


class TorchOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a model is loaded.

    model: its folder, or its name on the hub. dtype: torch's name of one, or "auto" for that of the weights. device:
    torch's name of one; "" for the GPU where there is one. threads: that compute on a CPU; 0 for torch's own choice.
    context: tokens of prompt and answer together; 0 for as many as the model was made for.
    """

    model: str
    dtype: str = "auto"
    device: str = ""
    threads: int = 0
    context: int = 0


class TorchModel:
    """The weights, and what is computed with them. Belongs to the thread that has made it.

    context: tokens of prompt and answer together. vocabulary: how many tokens it has. ends: those that end an answer.
    Raises EngineError where torch, the model or the device is not there, or does not fit.
    """

    def __init__(self, options: TorchOptions) -> None:
        where = f"model {options.model!r}"
        try:
            import torch
            from transformers import AutoModelForCausalLM
        except ImportError as error:
            raise EngineError(f"torch cannot be used: {error}", where="TorchEngine", remedy=INSTALL) from error
        if options.model.startswith(PATHS) and not Path(options.model).expanduser().is_dir():
            raise EngineError(f"there is no folder {options.model!r}", where=where, remedy="check the path")
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
        self.ends: tuple[int, ...] = tuple(ends) if isinstance(ends, list) else () if ends is None else (ends,)
        self._last = {"logits_to_keep": 1} if _takes(self._model, "logits_to_keep") else {}
        self._warm_up(where)

    def _warm_up(self, where: str) -> None:
        """Computes three tokens: loads the kernels, and shows what cannot be served before a request does."""
        import torch

        cache = new_cache()
        with torch.inference_mode():
            self.logits([[0, 0]], [0], cache)
            self.logits([[0]], [2], cache)
        if {layer.get_seq_length() for layer in cache.layers} != {3}:
            raise EngineError("the model keeps no keys and values", where=where, remedy="serve it with vLLM")

    def logits(self, tokens: list[list[int]], first: list[int], cache: Any, mask: Tensor | None = None) -> Tensor:
        """What comes after these tokens, `[rows, vocabulary]`. Their keys and values are added to the cache.

        tokens: as many in each row. first: the position of each row's first one. mask: `[rows, columns]`, which columns
        of the cache, the new ones included, are no padding; None where all are.
        """
        import torch

        ids = torch.tensor(tokens, device=self.device)
        positions = torch.tensor(first, device=self.device)[:, None]
        if ids.shape[1] > 1:
            positions = positions + torch.arange(ids.shape[1], device=self.device)
        answer = self._model(
            input_ids=ids,
            position_ids=positions,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
            **self._last,
        )
        logits: Tensor = answer.logits[:, -1]
        return logits

    def embedding(self, tokens: list[int]) -> list[float]:
        """The mean of the last hidden states of all tokens, made as long as 1."""
        import torch

        ids = torch.tensor([tokens], device=self.device)
        states = self._model.base_model(input_ids=ids, use_cache=False).last_hidden_state[0]
        vector: list[float] = torch.nn.functional.normalize(states.float().mean(0), dim=0).tolist()
        return vector


def _context(options: TorchOptions, most: int) -> int:
    """most: that the model was made for; 0 where it does not say."""
    if options.context and (not most or options.context <= most):
        return options.context
    if options.context:
        raise EngineError(
            f"the model was made for {most} tokens, not {options.context}",
            where=f"model {options.model!r}",
            remedy=f"give it a max_model_len of at most {most}",
        )
    if not most:
        raise EngineError(
            "the model does not say how long its context is",
            where=f"model {options.model!r}",
            remedy="give it a max_model_len",
        )
    return most


def _takes(model: Any, name: str) -> bool:
    return name in inspect.signature(model.forward).parameters
