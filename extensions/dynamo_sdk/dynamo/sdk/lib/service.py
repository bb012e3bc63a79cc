from dynamo_nb.sdk import service

__all__ = ["service"]
