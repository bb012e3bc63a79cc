"""Every benchmark with its peers, in one run: `make bench`, or `python tests/benchmarks/run.py`.

Prints a table, and writes benchmarks.json and benchmarks.svg.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

from goals import BENCHMARKS
from plot import svg
from report import lines_of, machine, table
from rounds import alternate

ROUNDS = 5
QUIET = 0.2  # cores that others may keep busy, in the median, for the figures to count
FOLDER = Path(__file__).parents[2] / "build"


def main() -> int:
    """Gives 1 if a program failed; a goal that is missed is a figure like others."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = list(dict.fromkeys(benchmark.name for benchmark in BENCHMARKS))
    parser.add_argument("--only", action="append", choices=names, help="this benchmark; may be repeated")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--to", type=Path, default=FOLDER, help="folder for the JSON and the plot")
    options = parser.parse_args()
    environment = machine()
    began = time.time()
    lines, raw, failed, disturbed = [], {}, False, []
    for benchmark in BENCHMARKS:
        if options.only and benchmark.name not in options.only:
            continue
        rounds = 1 if benchmark.is_exact else options.rounds
        measured = alternate(benchmark.programs, rounds, lambda what, of=benchmark.name: say(f"{of}, {what}"))
        lines += lines_of(benchmark, measured)
        raw.setdefault(benchmark.name, {}).update(
            {who: {"rounds": m.figures, "disturbed": m.disturbed, "skipped": m.skipped} for who, m in measured.items()}
        )
        for one in measured.values():
            failed = failed or bool(one.errors)
            for error in one.errors:
                say(error)
        disturbed += [cores for one in measured.values() for cores in one.disturbed]
    print(table(lines))
    if disturbed and (others := statistics.median(disturbed)) > QUIET:
        print(f"NOT QUIET: others kept {others:.1f} of {environment['cores']} cores busy; these figures prove nothing")
    options.to.mkdir(parents=True, exist_ok=True)
    result = {
        "began": began,
        "seconds": time.time() - began,
        "rounds": options.rounds,
        "machine": environment,
        "disturbed": statistics.median(disturbed) if disturbed else None,
        "rows": [line.as_json() for line in lines],
        "measured": raw,
    }
    (options.to / "benchmarks.json").write_text(json.dumps(result, indent=1))
    title = f"dynamo_nb against its goals: medians of {options.rounds} rounds, {environment['cores']} cores"
    (options.to / "benchmarks.svg").write_text(svg(lines, title))
    print(f"written: {options.to / 'benchmarks.json'}, {options.to / 'benchmarks.svg'}")
    return int(failed)


def say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
