"""Workers that compute prompts and answers; the router knows which of them has what in its cache."""

from dynamo_nb.llm import Frontend, Processor, Router, VllmWorker

Frontend.link(Processor).link(Router).link(VllmWorker)
