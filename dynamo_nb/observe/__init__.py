"""Seeing the work of a deployment: values, and their drawings."""
