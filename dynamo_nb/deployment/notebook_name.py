"""The name by which `serve` and `attach` find the notebook extension.

A module of its own, so that loading the extension does not import what serving needs.
"""

NOTEBOOK = "__dynamo_notebook__"
"""Among the global names of a notebook. Its value is a `deployment.start.Notebook`."""
