"""Three services in a row, as small as they can be: what starting them costs is the starting."""

from dynamo_nb import depends, dynamo_api, dynamo_endpoint, service


@service(dynamo={"namespace": "bench"})
class Backend:
    def __init__(self, mark: str = "-back"):
        self.mark = mark

    @dynamo_endpoint()
    async def generate(self, text: str) -> str:
        return text + self.mark


@service(dynamo={"namespace": "bench"})
class Middle:
    backend = depends(Backend)

    @dynamo_endpoint()
    async def generate(self, text: str) -> str:
        return await self.backend.generate(text + "-mid")


@service(dynamo={"namespace": "bench"})
class Frontend:
    middle = depends(Middle)

    @dynamo_endpoint()
    async def generate(self, text: str) -> str:
        return await self.middle.generate(text + "-front")

    @dynamo_api()
    async def say(self, text: str) -> str:
        return await self.middle.generate(text + "-front")
