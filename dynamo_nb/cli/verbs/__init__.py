"""The verbs. Importing this package registers all of them, in the order in which `dynamo --help` lists them."""

from dynamo_nb.cli.verbs import graphs, deployments, inspection, measurement, usage  # isort: skip

__all__ = ["deployments", "graphs", "inspection", "measurement", "usage"]
