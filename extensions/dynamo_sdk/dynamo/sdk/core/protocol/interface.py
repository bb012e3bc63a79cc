from dynamo_nb.sdk import AbstractService, DynamoTransport
from dynamo_nb.sdk.links import LinkBook
from dynamo_nb.sdk.service_args import ComponentType, LeaseConfig

LinkedServices = LinkBook
"""In the original SDK there is one for the whole process; here every module or notebook has its own."""

__all__ = ["AbstractService", "ComponentType", "DynamoTransport", "LeaseConfig", "LinkedServices"]
