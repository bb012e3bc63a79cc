from dynamo_nb.config.service_config import ServiceConfig

__all__ = ["ServiceConfig"]
