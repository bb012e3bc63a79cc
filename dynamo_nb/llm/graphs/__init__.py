"""Four graphs of a language model. Each is a module to serve: `dynamo serve dynamo_nb.llm.graphs.agg:Frontend -f …`.

The configuration of each graph is in the same folder (`folder`). Added to it, `tiny.yaml` or `tiny_disagg.yaml` serves
the tiny model on a machine without a GPU.
"""

from pathlib import Path

folder = Path(__file__).parent
"""The folder of the configurations: `serve(Frontend, folder / "agg.yaml", folder / "tiny.yaml")`."""
