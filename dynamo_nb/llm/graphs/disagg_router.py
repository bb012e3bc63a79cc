"""Workers that leave long prompts to others; the router knows which of them has what in its cache."""

from dynamo_nb.llm import Frontend, PrefillWorker, Processor, Router, VllmWorker

Frontend.link(Processor).link(Router).link(VllmWorker).link(PrefillWorker)
