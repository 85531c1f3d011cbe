"""Prints docs/results/precisions.md's table: `python docs/precision_table.py FOLDER`.

Runs `bench ort` and `bench openvino` on every model at every precision, and keeps what they say in FOLDER,
so that a run that was broken off goes on. An hour on 2 cores.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

_FEW = ("--evaluation-samples", "8", "--calibration-samples", "8")
"""Where one sample takes a second or more."""

SUBJECTS: Mapping[str, tuple[str, ...]] = {
    "googlenet": (),
    "resnet50": (),
    "resnet101": (),
    "densenet121": (),
    "ssd": (),
    "ssd resnet18": ("--variant", "resnet18"),
    "dssd": _FEW,
    "mask-rcnn": _FEW,
    "faster-rcnn": _FEW,
    "cpn": _FEW,
    "seglink": _FEW,
    "crnn": (),
    "crnn english-g2": ("--variant", "english-g2"),
    "din": (),
    "dien": (),
    "wide-deep": (),
    "gcn": (),
    "ncf": (),
    "nmt decoder-step": ("--variant", "decoder-step"),
    "nmt": _FEW,
    "bert": _FEW,
    "bert-base": _FEW,
    "bert minilm": ("--variant", "minilm"),
}
"""Title to what is given besides the model, whose name the title begins with."""

# ONNX Runtime's processor kernels have no BF16.
_PRECISIONS = {"ort": ("fp32", "fp16", "int8"), "openvino": ("fp32", "fp16", "bf16", "int8")}
_HEAD = ("network", "precision", "agreement with FP32", "SQNR", "ran as it", "speed-up")
_TYPES = {"fp16": ("float16",), "bf16": ("bfloat16",), "int8": ("int8", "uint8")}


def main(folder: Path) -> None:
    """Run what is not there yet, and print the table."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [_row(_HEAD), _row(["---"] * len(_HEAD))]
    for title, flags in SUBJECTS.items():
        found = {name: _records(folder, name, title, flags) for name in _PRECISIONS}
        lines += [_row(cells) for cells in _cells(title, found)]
    sys.stdout.write("\n".join(lines) + "\n")


def _records(folder: Path, backend: str, title: str, flags: Sequence[str]) -> dict[str, Any]:
    """By precision, those that could be measured; the command's own words on the others go to stderr."""
    path = folder / f"{title.replace(' ', '-')}-{backend}.json"
    if not path.exists() or not path.stat().st_size:
        precisions = [word for name in _PRECISIONS[backend] for word in ("--precision", name)]
        model = title.split(maxsplit=1)[0]
        command = ["bench", backend, "--model", model, *flags, *precisions, "--duration", "2", "--json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        path.write_text(done.stdout or "[]", encoding="utf-8")
    return {record["precision"]: record for record in json.loads(path.read_text(encoding="utf-8"))}


def _cells(title: str, found: Mapping[str, Mapping[str, Any]]) -> Iterator[list[str]]:
    """A row for each precision; what `ort` and `openvino` say, in this order."""
    for place, (precision, types) in enumerate(_TYPES.items()):
        pairs = [(found[name].get("fp32"), found[name].get(precision)) for name in _PRECISIONS]
        yield [
            "" if place else title,
            precision.upper(),
            _both([_agreement(record) for _, record in pairs]),
            _both([_ratio(record) for _, record in pairs]),
            _both([_share(record, types) for _, record in pairs]),
            _both([_speed_up(fp32, record) for fp32, record in pairs]),
        ]


def _agreement(record: Any) -> str:
    return f"{100 * record['accuracy']['agreement']:.1f} %" if record and record["accuracy"] else "-"


def _ratio(record: Any) -> str:
    decibels = record["accuracy"]["sqnr_db"] if record and record["accuracy"] else None
    return "-" if decibels is None else f"{decibels:.1f} dB"


def _share(record: Any, types: Sequence[str]) -> str:
    if not record:
        return "-"
    ran = record["executed"]["macs_by_type"]
    return f"{100 * sum(ran.get(name, 0.0) for name in types):.0f} %"


def _speed_up(fp32: Any, record: Any) -> str:
    if not fp32 or not record:
        return "-"
    return f"{fp32['latency_ns']['p50'] / record['latency_ns']['p50']:.2f}x"


def _both(told: Sequence[str]) -> str:
    return told[0] if len(set(told)) == 1 else " / ".join(told)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
