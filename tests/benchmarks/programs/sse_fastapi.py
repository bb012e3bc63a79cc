"""A FastAPI application as one would write it, that streams the same events. Its argument is its port."""

import json
import sys
import time
import uuid

import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

app = FastAPI()


@app.post("/v1/completions")
async def completions(body: dict) -> StreamingResponse:
    frame = {
        "id": f"cmpl-{uuid.uuid4().hex}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": body["model"],
    }

    def event(text, finish=None):
        choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}
        return f"data: {json.dumps({**frame, 'choices': [choice]})}\n\n"

    async def events():
        for number in range(body["max_tokens"]):
            yield event(f" token{number}")
        yield event("", "stop")
        yield "data: [DONE]\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
