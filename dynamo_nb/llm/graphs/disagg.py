"""Workers that leave long prompts to others; the processor takes them in turns."""

from dynamo_nb.llm import Frontend, PrefillWorker, Processor, VllmWorker

Frontend.link(Processor).link(VllmWorker).link(PrefillWorker)
