"""The papermill engine `dynamo`: `papermill --engine dynamo notebook.ipynb out.ipynb`.

It runs a notebook as papermill does, and beyond that ends every deployment of the notebook, shows the last lines of its
workers under the cell that failed, and says which cells did not run because of it.
"""

from dynamo_papermill.engine import DynamoEngine

__all__ = ["DynamoEngine"]
