"""OpenAI's API: the parameters of requests, the form of answers and errors, and the admission of requests."""
