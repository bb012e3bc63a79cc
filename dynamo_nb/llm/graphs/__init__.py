"""The four graphs of a language model, each a module to serve: `dynamo serve dynamo_nb.llm.graphs.agg:Frontend -f …`.

The configuration of each lies beside it (`folder`). Over it, `tiny.yaml` or `tiny_disagg.yaml` serves the tiny model on
a machine without a GPU.
"""

from pathlib import Path

folder = Path(__file__).parent
"""Where the configurations are: `serve(Frontend, folder / "agg.yaml", folder / "tiny.yaml")`."""
