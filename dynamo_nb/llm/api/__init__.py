"""OpenAI's API: what requests may say, how answers are written, who may come in."""
