"""Blocks of the KV cache: their names, which worker holds which, and the cost of a placement."""
