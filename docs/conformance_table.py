"""Prints docs/results/conformance.md's table of networks: `python docs/conformance_table.py FOLDER`.

FOLDER holds what `bench conformance --no-operators --models NETWORK --out FILE.json` wrote, a file for each
network and backend. A cell has the errors of ort and openvino; of any other backend there are the verdicts.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.conformance_distance import told_error

_PRECISIONS = ("fp32", "fp16", "bf16", "int8", "fp8", "int4")
_SHOWN = ("ort", "openvino")
_SHORT = {"unsupported": "-", "not applicable": "n/a", "timed out": "too long"}

Graph = Mapping[str, Any]


def main(folder: Path) -> None:
    """Print a row for each network, and what is neither a pass nor refused."""
    found: dict[str, dict[str, Graph]] = {}
    for path in sorted(folder.glob("*.json")):
        report = json.loads(path.read_text())
        found.setdefault(report["backend"], {}).update({graph["name"]: graph for graph in report["graphs"]})
    for backend, graphs in found.items():
        count = Counter(graph["verdict"] for graph in graphs.values())
        sys.stdout.write(f"{backend}: {', '.join(f'{n} {verdict}' for verdict, n in count.most_common())}\n")
    head = (f"network ({' / '.join(_SHOWN)})", *_PRECISIONS)
    sys.stdout.write(f"\n{_row(head)}\n{_row(['---'] * len(head))}\n")
    for network in dict.fromkeys(graph["operator"] for graphs in found.values() for graph in graphs.values()):
        each = [[found.get(b, {}).get(f"{network} {p}") for b in _SHOWN] for p in _PRECISIONS]
        sys.stdout.write(_row((network, *map(_cell, each))) + "\n")
    for backend, graphs in found.items():
        for graph in graphs.values():
            if graph["verdict"] in {"wrong", "crashed", "timed out"}:
                sys.stdout.write(f"{backend}: {graph['name']}: {graph['verdict']}: {graph['said']}\n")


def _cell(graphs: Iterable[Graph | None]) -> str:
    told = [_told(graph) for graph in graphs]
    return told[0] if len(set(told)) == 1 else " / ".join(told)


def _told(graph: Graph | None) -> str:
    if graph is None:
        return "not run"
    if graph["error"] is None:
        return _SHORT.get(graph["verdict"], str(graph["verdict"]))
    told = told_error(graph["error"], of_answers=graph["of_answers"])
    share = graph["ran_as"].get("int8", 1.0)
    return told if share > 0.995 or "int8" not in graph["name"] else f"{told} ({share:.0%})"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
