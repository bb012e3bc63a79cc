"""The import paths of the SDK's documentation and of its first releases."""
