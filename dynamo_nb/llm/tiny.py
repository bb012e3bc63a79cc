"""A language model of 150,000 random weights, generated when it is needed: any engine serves it, on any laptop."""

from __future__ import annotations

import json
import os
import tempfile
from array import array
from collections.abc import Iterator
from math import sqrt
from pathlib import Path
from random import Random
from typing import Any, Final

NAME: Final = "dynamo-tiny-1"  # the number changes with the content of the files
VOCABULARY: Final = 512
HIDDEN: Final = 64
HEADS: Final = 2  # of size 32, the smallest that vLLM's attention supports
INNER: Final = 128
LAYERS: Final = 2
CONTEXT: Final = 16384
SEED: Final = 20240
LAST_FILE: Final = "config.json"  # written last: a folder with this file is complete
SPECIAL: Final = ("<|end|>", "<|begin|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")
END: Final = 0
TEMPLATE: Final = """\
{%- if tools %}<|system|>
You may call these tools:
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}
<|end|>
{% endif %}
{%- for message in messages %}
{%- if message.role not in ("system", "user", "assistant", "tool") %}
{{- raise_exception("no such role: " ~ message.role) }}
{%- endif %}
{{- "<|" ~ message.role ~ "|>\\n" ~ (message.content or "") }}
{%- for call in message.tool_calls or [] %}
<tool_call>
{{ call.function | tojson }}
</tool_call>
{%- endfor %}
{{- "<|end|>\\n" }}
{%- endfor %}
{%- if add_generation_prompt %}{{ "<|assistant|>\\n" }}{% endif %}"""
LINES: Final = (
    "A language model reads tokens and writes tokens, one after another, until it comes to an end.",
    "The worker keeps the keys and values of what it has read, so that the next question is answered sooner.",
    "The router knows which worker holds which blocks, and sends the request where most of its prompt is.",
    "What is the capital of France? The capital of France is Paris. What is the largest planet? It is Jupiter.",
    "Write a short story about a ship, a storm and a light; tell me why the sky is blue and how bread is made.",
    "Grüße aus Köln: schöne Straßen, große Brücken. Voilà un café. ¿Dónde está la estación? こんにちは世界 🚢",
    'def answer(question: str, tokens: int = 128) -> str:\n    return json.dumps({"answer": question, "tokens": 128})',
)


def tiny_model(folder: str | os.PathLike[str] | None = None, *, layers: int = LAYERS) -> Path:
    """Returns the folder of a small Llama with tokenizer and chat template, the same on every machine.

    The weights have 32 bits: with 16, the most likely tokens are often equally likely, and the choice depends on what
    else is computed at the time. Set vLLM's `dtype` to `float32` for repeatable answers.

    Args:
        folder: The model's folder; by default in the user's cache. Generated if missing, in less than a second.
        layers: Number of layers; more layers make a slower model.
    """
    if folder is None:
        folder = (
            Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
            / "dynamo_nb"
            / (NAME if layers == LAYERS else f"{NAME}-{layers}")
        )
    folder = Path(folder).absolute()
    if (folder / LAST_FILE).exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    # Several processes may generate it at the same time: every file is moved here complete, and all are equal.
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as draft:
        for name, content in _files(layers):
            path = Path(draft, name)
            path.write_bytes(content)
            path.replace(folder / name)
    return folder


def _files(layers: int) -> Iterator[tuple[str, bytes]]:
    yield "model.safetensors", _safetensors(layers)
    yield "tokenizer.json", _tokenizer().encode()
    yield (
        "tokenizer_config.json",
        _json(
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "bos_token": SPECIAL[1],
                "eos_token": SPECIAL[END],
                "pad_token": SPECIAL[END],
                "model_max_length": CONTEXT,
                "clean_up_tokenization_spaces": False,
                "chat_template": TEMPLATE,
            }
        ),
    )
    yield "generation_config.json", _json({"bos_token_id": 1, "eos_token_id": END, "pad_token_id": END})
    yield (
        LAST_FILE,
        _json(
            {
                "architectures": ["LlamaForCausalLM"],
                "model_type": "llama",
                "torch_dtype": "float32",
                "vocab_size": VOCABULARY,
                "hidden_size": HIDDEN,
                "intermediate_size": INNER,
                "num_hidden_layers": layers,
                "num_attention_heads": HEADS,
                "num_key_value_heads": HEADS,
                "head_dim": HIDDEN // HEADS,
                "hidden_act": "silu",
                "max_position_embeddings": CONTEXT,
                "rms_norm_eps": 1e-5,
                "rope_theta": 10000.0,
                "attention_bias": False,
                "mlp_bias": False,
                "tie_word_embeddings": False,
                "bos_token_id": 1,
                "eos_token_id": END,
                "pad_token_id": END,
            }
        ),
    )


def _json(data: dict[str, Any]) -> bytes:
    return json.dumps(data, indent=2).encode()


def _tokenizer() -> str:
    """Byte-level BPE: every text has tokens, and a token may be part of a character."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        min_frequency=1,
        show_progress=False,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(LINES, trainer)
    return str(tokenizer.to_str())


def _shapes(layers: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "model.embed_tokens.weight", (VOCABULARY, HIDDEN)
    for layer in range(layers):
        for name in ("input_layernorm", "post_attention_layernorm"):
            yield f"model.layers.{layer}.{name}.weight", (HIDDEN,)
        for name in "qkvo":
            yield f"model.layers.{layer}.self_attn.{name}_proj.weight", (HIDDEN, HIDDEN)
        yield f"model.layers.{layer}.mlp.gate_proj.weight", (INNER, HIDDEN)
        yield f"model.layers.{layer}.mlp.up_proj.weight", (INNER, HIDDEN)
        yield f"model.layers.{layer}.mlp.down_proj.weight", (HIDDEN, INNER)
    yield "model.norm.weight", (HIDDEN,)
    yield "lm_head.weight", (VOCABULARY, HIDDEN)


def _safetensors(layers: int) -> bytes:
    """The weights in the safetensors format: the length of the header, the header as JSON, the numbers.

    `Random.random` returns the same numbers in every version of Python.
    """
    uniform = Random(SEED).random  # noqa: S311
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = bytearray()
    for name, shape in _shapes(layers):
        if len(shape) == 1:
            weights = array("f", [1.0] * shape[0])
        else:
            # A variance of 1 for each row's sum of squares; inside, twice the width, so that earlier tokens matter.
            width = sqrt(3.0 / shape[1]) * (1.0 if name == "lm_head.weight" else 2.0)
            weights = array("f", (width * (2.0 * uniform() - 1.0) for _ in range(shape[0] * shape[1])))
        start = len(data)
        data += weights.tobytes()
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [start, len(data)]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data
