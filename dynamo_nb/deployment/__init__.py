"""Serving a graph: the plan, `serve()`, `attach()`, and the handle of what is being served."""
