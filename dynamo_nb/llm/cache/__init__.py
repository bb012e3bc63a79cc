"""Blocks of the KV cache: their names, who holds which, and what a placement costs."""
