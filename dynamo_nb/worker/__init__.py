"""A worker process: one service, served in a process of its own that is also a Jupyter kernel."""
