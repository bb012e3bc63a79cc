"""Conversations served by four EchoWorkers: how soon they are answered, and how much of their prompts was in a cache.

The engines take the time of a GPU without using a core, and every way to route is asked exactly the same.

Usage: routing.py round-robin                 the processor takes the workers in turns
       routing.py first_token|overlap|blocks  the router chooses, by this policy
"""

import asyncio
import sys

from place import own_home, tell

from dynamo_nb import serve
from dynamo_nb.llm import EchoWorker, Processor, Router
from dynamo_nb.llm.messages import TextRequest
from dynamo_nb.llm.workload import conversations, oracle, replay

WORKERS, BLOCK, MODEL = 4, 16, "echo"
CONFIG = {
    "Processor.served_model_name": MODEL,
    "EchoWorker": {
        "ServiceArgs": {"workers": WORKERS},
        "tokens_per_second": 200,
        "prefill_tokens_per_second": 5000,
        "block_size": BLOCK,
        "blocks": 1024,
        "slots": 32,
    },
}


async def run(way):
    workload = conversations()
    if way == "round-robin":
        Processor.link(EchoWorker)
        config = {"Processor.router": way}
    else:
        Processor.link(Router).link(EchoWorker)
        # With weight 1 `blocks` weighs what is written as much as what is read. Here, where one answer does not slow
        # another, it then finds 0.82 of what the oracle does.
        config = {"Router.policy": way, "Router.prefill_weight": 8}
    async with await serve(Processor, CONFIG, config, http_port=0) as deployment:

        def send(request):
            name, sampling = request.request_id, request.sampling
            asked = TextRequest(request_id=name, model=MODEL, prompt=request.tokens, sampling=sampling)
            return deployment.Processor.generate(asked)

        result = await replay(workload, send)
    return {
        "first_token_s": result.first_token(),
        "first_token_p90_s": result.first_token(0.9),
        "hit_rate": result.hit_rate,
        "of_oracle": result.hit_rate / oracle(workload, BLOCK),
        "tokens_per_s": result.tokens_per_second,
        "seconds": result.seconds,
    }


if __name__ == "__main__":
    with own_home():
        tell(asyncio.run(run(sys.argv[1])))
