"""The verbs. Importing this package registers all of them, in the order in which `dynamo --help` lists them."""

from dynamo_nb.cli.verbs import graphs, deployments, inspection, measurement, testing, usage  # isort: skip

__all__ = ["deployments", "graphs", "inspection", "measurement", "testing", "usage"]
