"""The samples as a table for people and as JSON for programs."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from bench.figures import Figure

BERM: Final = "berm"
OTHERS: Final = ("bwrap", "runc", "crun")

Samples = Mapping[str, Sequence[float]]
"""What was measured of one figure, by way."""


def percentile(samples: Sequence[float], percent: float) -> float:
    """By the nearest rank: always one of the samples."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def worst(figure: Figure, samples: Sequence[float]) -> float:
    """The sample that 99 in 100 are better than or equal to: the slow end, whatever the unit."""
    return percentile(samples, 1 if figure.unit.endswith("/s") else 99)


def ratio(samples: Samples, way: str) -> float:
    """How many times the other way's median berm's median is."""
    return percentile(samples[BERM], 50) / percentile(samples[way], 50)


def as_table(found: Mapping[Figure, Samples], notes: Sequence[str]) -> None:
    table = Table("figure", title="Medians; beside those of other ways, berm's as a multiple of theirs")
    for heading in (BERM, "p99", *OTHERS):
        table.add_column(heading, justify="right")
    for figure, samples in found.items():
        table.add_row(f"{figure.name}, {figure.unit}", *_cells(figure, samples))
    console = Console()
    console.print(table)
    for line in (*(f"{figure.name}: {figure.what}" for figure in found), *notes):
        console.print(line, soft_wrap=True, highlight=False)


def as_json(path: Path, found: Mapping[Figure, Samples], machine: Mapping[str, str]) -> None:
    figures = {figure.name: _json_figure(figure, samples) for figure, samples in found.items()}
    path.write_text(json.dumps({"machine": machine, "figures": figures}, indent=2) + "\n")


def _cells(figure: Figure, samples: Samples) -> list[str]:
    own = [f"{value:.1f}" for value in (percentile(samples[BERM], 50), worst(figure, samples[BERM]))]
    return own + [_other(samples, way) for way in OTHERS]


def _other(samples: Samples, way: str) -> str:
    return f"{percentile(samples[way], 50):.1f} {ratio(samples, way):.2f}x" if way in samples else ""


def _json_figure(figure: Figure, samples: Samples) -> dict[str, object]:
    ways = {way: _json_way(figure, taken) for way, taken in samples.items()}
    ratios = {way: ratio(samples, way) for way in samples if way != BERM}
    return {"what": figure.what, "unit": figure.unit, "ways": ways, "ratio": ratios}


def _json_way(figure: Figure, taken: Sequence[float]) -> dict[str, float]:
    return {"median": percentile(taken, 50), "p99": worst(figure, taken), "samples": len(taken)}
