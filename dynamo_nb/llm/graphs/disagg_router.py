"""Workers that send long prompts to prefill workers. A router knows the KV cache of each."""

from dynamo_nb.llm import Frontend, PrefillWorker, Processor, Router, VllmWorker

Frontend.link(Processor).link(Router).link(VllmWorker).link(PrefillWorker)
