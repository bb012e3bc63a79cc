from dynamo_nb.sdk import depends

__all__ = ["depends"]
