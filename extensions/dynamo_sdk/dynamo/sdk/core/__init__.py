"""The import paths of later releases of the SDK."""
