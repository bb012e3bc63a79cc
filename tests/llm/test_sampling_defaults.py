"""Sampling parameters that a request leaves out come from the model, then from the engine."""

import json

import msgspec
import pytest

from dynamo_nb.llm.api.bodies import ChatBody, CompletionBody, read
from dynamo_nb.llm.api.request_checks import requests_of
from dynamo_nb.llm.messages import ModelInfo, TokenRequest
from dynamo_nb.llm.sampling_defaults import completed, model_defaults

INFO = ModelInfo(model="m", context=100, block_size=16)
ABSENT = "absent"
# name, the engine's default, another value, the model's value
PARAMETERS = [
    ("temperature", 1.0, 0.0, 0.7),
    ("top_p", 1.0, 0.5, 0.9),
    ("top_k", 0, 7, 20),
    ("min_p", 0.0, 0.1, 0.2),
    ("presence_penalty", 0.0, -2.0, 0.3),
    ("frequency_penalty", 0.0, 2.0, 0.4),
    ("repetition_penalty", 1.0, 1.1, 1.2),
    ("max_tokens", 0, 5, 11),
]
MODEL = {"max_new_tokens" if name == "max_tokens" else name: own for name, _, _, own in PARAMETERS}
OTHER_KEYS = {"eos_token_id": 2, "do_sample": True, "transformers_version": "4.48.0", "typical_p": None}


def cases():
    for name, default, other, own in PARAMETERS:
        yield name, ABSENT, default, own
        yield name, None, default, own
        if name != "max_tokens":  # there is no value that means the engine's default
            yield name, default, default, default
        yield name, other, other, other


@pytest.mark.parametrize("kind", [ChatBody, CompletionBody])
@pytest.mark.parametrize(("name", "given", "by_engine", "by_model"), [*cases()], ids=str)
def test_the_request_wins_then_the_model_then_the_engine(kind, name, given, by_engine, by_model):
    if kind is CompletionBody and name == "max_tokens" and given in (ABSENT, None):
        by_engine = by_model = 16  # OpenAI's default for completions
    fields = {"messages": [{"role": "user", "content": "hi"}]} if kind is ChatBody else {"prompt": "p"}
    body = {"model": "m", **fields} | ({} if given is ABSENT else {name: given})
    (request,) = requests_of(read(kind, json.dumps(body).encode()), "id", "own", INFO)
    sent = TokenRequest(request_id="r", tokens=[1], sampling=request.sampling)
    sampling = msgspec.msgpack.decode(msgspec.msgpack.encode(sent), type=TokenRequest).sampling

    assert getattr(completed(sampling), name) == by_engine
    assert getattr(completed(sampling, model_defaults(MODEL | OTHER_KEYS)), name) == by_model
    assert completed(completed(sampling, model_defaults(MODEL))) == completed(sampling, model_defaults(MODEL))
