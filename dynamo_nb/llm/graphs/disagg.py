"""Workers that send long prompts to prefill workers. The processor uses them in turns."""

from dynamo_nb.llm import Frontend, PrefillWorker, Processor, VllmWorker

Frontend.link(Processor).link(VllmWorker).link(PrefillWorker)
