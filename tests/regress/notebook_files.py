"""Notebooks as files, made from the texts of their cells."""

import nbformat

SERVICE = """\
%load_ext dynamo_nb
from dynamo_nb import dynamo_endpoint, serve, service
@service
class B:
    @dynamo_endpoint()
    async def divide(self, x: int) -> int:
        print("dividing by", x)
        return 10 // x
"""


def write_notebook(path, *cells, parameters=False):
    """Writes a notebook with these code cells. parameters: the first one is the cell of the parameters."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
    notebook.cells = [nbformat.v4.new_code_cell(text) for text in cells]
    if parameters:
        notebook.cells[0].metadata.tags = ["parameters"]
    nbformat.write(notebook, path)
    return path


def texts_of(path, cell):
    """The outputs of a cell of an executed notebook, as text."""
    outputs = nbformat.read(path, 4).cells[cell].outputs
    return "\n".join(output.get("text") or output.get("evalue") or "" for output in outputs)
