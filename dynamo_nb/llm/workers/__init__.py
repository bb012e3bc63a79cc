"""Workers that hold an engine: those that answer, those that compute prompts for others, and the queue between them."""
