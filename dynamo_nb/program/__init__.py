"""A program: the graph of services that a target names, and where its code is."""
