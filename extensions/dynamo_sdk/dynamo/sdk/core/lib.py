from dynamo.sdk.lib.image import DYNAMO_IMAGE
from dynamo_nb.sdk import depends, liveness, readiness, service

__all__ = ["DYNAMO_IMAGE", "depends", "liveness", "readiness", "service"]
