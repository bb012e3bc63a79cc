"""A processor that makes tokens as fast as it can, behind the frontend."""

from dynamo_nb import depends, dynamo_endpoint, service
from dynamo_nb.llm.frontend import Frontend
from dynamo_nb.llm.interfaces import TextProcessor
from dynamo_nb.llm.messages import Embedding, ModelInfo, ServedModel, TextDelta, TextRequest

MODEL = "fast"


@service(dynamo={"namespace": "bench"})
class Fast(TextProcessor):
    @dynamo_endpoint()
    async def generate(self, request: TextRequest) -> TextDelta:
        for number in range(request.sampling.max_tokens):
            yield TextDelta(f" token{number}", 1)
        yield TextDelta("", 0, "stop")

    @dynamo_endpoint()
    async def embed(self, request: TextRequest) -> Embedding:
        raise NotImplementedError

    @dynamo_endpoint()
    async def models(self) -> list[ServedModel]:
        return [ServedModel(MODEL, ModelInfo(model=MODEL, context=1_000_000, block_size=16))]


@service(dynamo={"namespace": "bench"})
class Api(Frontend):
    processor = depends(Fast)
