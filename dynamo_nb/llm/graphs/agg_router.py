"""Workers that compute prompts and answers. A router knows the KV cache of each."""

from dynamo_nb.llm import Frontend, Processor, Router, VllmWorker

Frontend.link(Processor).link(Router).link(VllmWorker)
