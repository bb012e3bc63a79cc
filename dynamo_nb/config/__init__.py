"""Layers of configuration, made one effective configuration in which every value knows its origin."""
