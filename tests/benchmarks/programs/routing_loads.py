"""Routing under every load in simulated time: the default policy, or the best of all others for each figure.

The figures do not depend on the machine: this measures decisions, not speed.

Usage: routing_loads.py default|'best other' LOAD ROUTERS
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "llm"))

from place import tell
from simulated_routing import DEFAULT, WAYS, summary

SEEDS = 3


def main(who, load, routers):
    ways = [DEFAULT] if who == "default" else [way for way in WAYS if way != DEFAULT]
    results = [summary(load, way, routers, SEEDS) for way in ways]
    return {figure: min(getattr(result, figure) for result in results) for figure in ("median", "p99", "least")}


if __name__ == "__main__":
    tell(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
