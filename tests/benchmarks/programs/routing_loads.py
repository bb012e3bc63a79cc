"""Routing under every load in simulated time: the default policy, or the best of all others for each figure.

The figures do not depend on the machine: this measures decisions, not speed.

Usage: routing_loads.py default|others ROUTERS
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "llm"))

from place import tell
from simulated_routing import DEFAULT, LOADS, WAYS, summary

SEEDS = 3


def main(who, routers):
    figures = {}
    for load in LOADS:
        ways = [DEFAULT] if who == "default" else [way for way in WAYS if way != DEFAULT]
        results = [summary(load, way, routers, SEEDS) for way in ways]
        figures[f"{load}: median"] = min(result.median for result in results)
        figures[f"{load}: p99"] = min(result.p99 for result in results)
        figures[f"{load}: least"] = min(result.least for result in results)
    return figures


if __name__ == "__main__":
    tell(main(sys.argv[1], int(sys.argv[2])))
