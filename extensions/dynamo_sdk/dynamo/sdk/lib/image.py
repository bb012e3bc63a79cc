"""The image for services with `@service(image=DYNAMO_IMAGE)`."""

import os

DYNAMO_IMAGE: str | None = os.environ.get("DYNAMO_IMAGE")
"""The environment variable of this name. None has the same effect as a decorator without `image`."""
