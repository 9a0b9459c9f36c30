"""`python -m bench [--quick] [--json FILE]`: measure the berm that E2B_API_URL and BERM_HOME point to."""

import argparse
import os
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from e2b import Sandbox
from rich.progress import track

from bench import machine, others, report
from bench.figures import FIGURES, Figure, client_ms
from bench.others import Start

Found = dict[Figure, dict[str, list[float]]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE too")
    given = parser.parse_args()
    if "E2B_API_URL" not in os.environ:
        sys.exit('E2B_API_URL is not set: eval "$(berm env)"')
    machine.hide_mounts()
    about = machine.describe()
    with machine.base_rootfs() as rootfs, others.ways(rootfs) as ways:
        found, client = measure(ways, given.quick)
    report.as_table(
        found, [_about_client(client), ", ".join(f"{name} {value}" for name, value in about.items())]
    )
    if given.json:
        report.as_json(given.json, found, about)


def measure(ways: Mapping[str, Start], quick: bool) -> tuple[Found, float]:
    """All samples, and the client's processor time for one creation in ms."""
    found: Found = {figure: defaultdict(list) for figure in FIGURES}
    with Sandbox.create(machine.TEMPLATE) as warm:
        warm.commands.run("true")
        for figure in track(schedule(quick), "Measuring", transient=True):
            found[figure]["berm"] += figure.measure(warm)
            if figure.other:
                for name, start in ways.items():
                    found[figure][name].append(figure.other(start))
    return found, client_ms()


def schedule(quick: bool) -> list[Figure]:
    """Every figure as often as it has rounds, spread evenly over the run so that all see the same weather."""
    rounds = {figure: figure.quick_rounds if quick else figure.rounds for figure in FIGURES}
    turns = ((turn / count, figure) for figure, count in rounds.items() for turn in range(count))
    return [figure for _, figure in sorted(turns, key=lambda turn: turn[0])]


def _about_client(client: float) -> str:
    return f"client: the SDK's sync client in threads, {client:.1f} ms of processor time for one creation"


if __name__ == "__main__":
    main()
