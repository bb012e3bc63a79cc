"""LLM inference graphs: ready services and engines, usable whole or one by one."""
