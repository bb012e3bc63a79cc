"""Bundles: a GraphSpec as a folder, with code, configuration and the files that other machines need to run it."""

from dynamo_nb.bundle.folder import CODE_FOLDER, CONFIG_FILE, GRAPH_FILE, export, read_code, read_spec

__all__ = ["CODE_FOLDER", "CONFIG_FILE", "GRAPH_FILE", "export", "read_code", "read_spec"]
