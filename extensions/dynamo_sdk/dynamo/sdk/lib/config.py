from dynamo_nb.sdk.service_config import ServiceConfig

__all__ = ["ServiceConfig"]
