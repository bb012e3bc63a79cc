"""vLLM's own HTTP server in the test's process, on the engine of a VllmEngine."""

from contextlib import asynccontextmanager

import httpx

from dynamo_nb.llm.tiny import tiny_model


@asynccontextmanager
async def vllm_client(engine, *options):
    """An HTTP client of vLLM's server. options: of `vllm serve`."""
    from vllm.entrypoints.launchers.api_server.app_state import init_app_state
    from vllm.entrypoints.launchers.app import build_app
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    model = ["--model", str(tiny_model()), "--served-model-name", "tiny"]
    args = make_arg_parser(FlexibleArgumentParser()).parse_args([*model, *options])
    llm = engine._running()
    tasks = await llm.get_supported_tasks()
    app = build_app(args, tasks)
    await init_app_state(llm, app.state, args, tasks)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://vllm") as client:
        yield client
    app.state._state.clear()  # the engine is freed when it stops, and not at the end of the process
