from dynamo_nb.sdk import abstract_endpoint, api, endpoint

__all__ = ["abstract_endpoint", "api", "endpoint"]
