"""Measurements of a deployment: traffic, `top`, `bench`, `trace`, and their drawings."""
