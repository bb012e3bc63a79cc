"""The image that services ask for by `image=DYNAMO_IMAGE`."""

import os

DYNAMO_IMAGE: str | None = os.environ.get("DYNAMO_IMAGE")
"""What the environment says; None is as good as not giving `image` at all."""
