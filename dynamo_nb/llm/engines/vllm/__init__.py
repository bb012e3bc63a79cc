"""The engine that serves with vLLM."""
