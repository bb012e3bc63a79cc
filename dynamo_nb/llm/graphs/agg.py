"""Workers that compute prompts and answers. The processor uses them in turns."""

from dynamo_nb.llm import Frontend, Processor, VllmWorker

Frontend.link(Processor).link(VllmWorker)
