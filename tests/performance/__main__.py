"""`make perf`, or `python -m tests.performance [NAME ...]`: run benchmarks and print their tables."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from rich.console import Console
from rich.table import Table

from tests.performance import (
    attention_gru,
    caffe_export,
    caffe_memory,
    calibration_memory,
    calibration_time,
    harness_cost,
    isolation_cost,
    low_precision,
    tensorflow_export,
    translation,
)
from tests.performance.trials import Row

BENCHMARKS: Mapping[str, Callable[[], list[Row]]] = {
    "harness-cost": harness_cost.run,
    "isolation-cost": isolation_cost.run,
    "tensorflow-export": tensorflow_export.run,
    "caffe-memory": caffe_memory.run,
    "caffe-export": caffe_export.run,
    "calibration-memory": calibration_memory.run,
    "calibration-time": calibration_time.run,
    "low-precision": low_precision.run,
    "attention-gru": attention_gru.run,
    "translation": translation.run,
}


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        Console(stderr=True).print(f"unknown benchmark {unknown[0]!r}; valid: {', '.join(BENCHMARKS)}")
        return 2
    console = Console()
    for name in names or BENCHMARKS:
        console.print(_table(name, BENCHMARKS[name]()))
    return 0


def _table(name: str, rows: list[Row]) -> Table:
    table = Table("what", "measured", "beside", "ratio", "result", title=name, title_justify="left")
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        table.add_row(row.what, row.figure, row.beside, ratio, row.result)
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
