"""Prints docs/results/accuracy.md's table: `python docs/accuracy_table.py FOLDER`.

Runs `bench accuracy` on every network that has trained weights here, or gets them, and keeps what it says in
FOLDER, so that a run that was broken off goes on. An hour on 2 cores, most of it spent on training.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

SUBJECTS: Mapping[str, tuple[str, ...]] = {
    "wide-deep": ("--model", "wide-deep"),
    "ncf": ("--model", "ncf", "--variant", "movielens-100k"),
    "gcn": ("--model", "gcn"),
    "din": ("--model", "din", "--variant", "movielens-100k"),
    "dien": ("--model", "dien", "--variant", "movielens-100k"),
    "nmt": ("--model", "nmt", "--variant", "cmudict"),
    "minilm": ("--model", "bert", "--variant", "minilm"),
    "crnn": ("--model", "crnn", "--variant", "english-g2"),
    "googlenet": ("--model", "googlenet", "--variant", "fashion-mnist"),
    "resnet50": ("--model", "resnet50", "--variant", "fashion-mnist"),
    "densenet121": ("--model", "densenet121", "--variant", "fashion-mnist"),
    "ssd": ("--model", "ssd", "--variant", "garments"),
    "dssd": ("--model", "dssd", "--variant", "garments"),
    "mask-rcnn": ("--model", "mask-rcnn", "--variant", "garments"),
    "cpn": ("--model", "cpn", "--variant", "garments"),
    "seglink": ("--model", "seglink", "--variant", "words"),
}
_EACH = ("--backend", "ort", "--backend", "openvino", "--json")
_PRECISIONS = ("fp32", "fp16", "bf16", "int8")


def main(folder: Path) -> None:
    """Run what is not there yet, and print the table."""
    folder.mkdir(parents=True, exist_ok=True)
    head = (
        "network",
        "samples",
        "metric",
        "FP32",
        *(f"{name.upper()} ort / openvino" for name in _PRECISIONS[1:]),
    )
    lines = [_row(head), _row(["---"] * len(head))]
    for name, flags in SUBJECTS.items():
        for report in _reports(folder / f"{name}.json", flags):
            lines += [_row(cells) for cells in _cells(report)]
    sys.stdout.write("\n".join(lines) + "\n")


def _reports(path: Path, flags: tuple[str, ...]) -> list[dict[str, Any]]:
    """Told by `bench accuracy`, whose exit code says what the table says, too."""
    if not path.exists() or not path.stat().st_size:
        precisions = [word for name in _PRECISIONS for word in ("--precision", name)]
        command = ["bench", "accuracy", *flags, *precisions, *_EACH]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        path.write_text(done.stdout, encoding="utf-8")
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _cells(report: Mapping[str, Any]) -> Iterator[list[str]]:
    """A row for each metric; the verdict stands with the first, which the gate is about."""
    title = " ".join(filter(None, (report["model"], report["variant"])))
    rows = {(row["precision"], row["backend"]): row for row in report["rows"]}
    reference = rows["fp32", "ort"]["scores"]
    for place, metric in enumerate(reference):
        told = [
            " / ".join(
                _told(rows.get((name, backend), {}), metric, verdict=not place)
                for backend in ("ort", "openvino")
            )
            for name in _PRECISIONS[1:]
        ]
        yield [title if not place else "", f"{report['samples']:,}" if not place else "", metric,
               f"{reference[metric]:.4f}", *told]  # fmt: skip


def _told(row: Mapping[str, Any], metric: str, *, verdict: bool) -> str:
    if "scores" not in row:
        return "-"
    judged = row.get("verdict") or {}
    mark = {"pass": " ✓", "fail": " ✗"}.get(judged.get("outcome", ""), " ?") if verdict else ""
    return f"{row['scores'][metric]:.4f}{mark}"


def _row(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
