"""The papermill engine `dynamo`: `papermill --engine dynamo notebook.ipynb out.ipynb`.

It runs a notebook like papermill. In addition, it ends every deployment of the notebook, adds the last log lines of the
workers to the output of a failed cell, and marks the cells that did not run because of it.
"""

from dynamo_papermill.engine import DynamoEngine

__all__ = ["DynamoEngine"]
