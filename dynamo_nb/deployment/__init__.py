"""Serving a graph: from a plan to a running deployment, and the handle that a user holds."""
