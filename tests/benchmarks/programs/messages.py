"""The models that requests and answers are made of where they are not plain dicts."""

from pydantic import BaseModel


class Request(BaseModel):
    n: int = 1
    prompt: str = "x" * 100


class Answer(BaseModel):
    token: int = 7
    text: str = "hello"
