"""Runs the notebooks of this repository with papermill, and finds what they show."""

import re
from pathlib import Path

import papermill
from nbconvert import HTMLExporter

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
WITH_VLLM = ("disaggregated_prefill.ipynb", "llm_serving.ipynb")  # run by test_vllm_notebooks.py


def run_and_make_a_page(name):
    """Runs a notebook in the current folder without errors, and makes a page of it that has all its drawings."""
    done = papermill.execute_notebook(NOTEBOOKS / name, name, progress_bar=False)
    assert not [o for o in outputs_of(done) if o.output_type == "error" or o.get("name") == "stderr"]
    drawings = drawings_in(done)
    assert drawings
    page, _ = HTMLExporter(embed_images=True).from_notebook_node(done)
    shown = re.findall(r"<svg.*?</svg>|data:image/svg\+xml;base64,", page, re.DOTALL)
    assert len(shown) >= len(drawings)
    assert "application/vnd.jupyter.widget-view+json" not in page


def outputs_of(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def drawings_in(notebook):
    return [o.data["image/svg+xml"] for o in outputs_of(notebook) if "image/svg+xml" in o.get("data", {})]
