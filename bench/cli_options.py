"""Flags that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

CalibrationSamples = Annotated[int, typer.Option(min=1, help="Samples INT8 ranges are found on.")]
CalibrationMethod = Annotated[
    str | None,
    typer.Option(
        help="How ranges are found: min-max, percentile (or percentile:99.9), entropy or mean-squared-error;"
        " passes that help behind that, as in min-max+smooth:0.5+feedback (also equalise, centre, shift and"
        " correct); what suits the model unless given."
    ),
]

Timeout = Annotated[
    float | None,
    typer.Option(
        min=1, help="Seconds a backend may take to open a graph, or for a step after that; 1800 unless given."
    ),
]
InProcess = Annotated[
    bool,
    typer.Option("--in-process", help="No process of its own for the backend: its crash ends the run."),
]
Provider = Annotated[
    str,
    typer.Option(
        help="Of ort's execution providers: cpu, cuda, tensorrt, openvino, or any other by its full name,"
        " such as QNNExecutionProvider; what the device suggests unless given."
    ),
]
ProviderOption = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="An option of the backend's own, passed on and recorded."),
]
ProviderLibrary = Annotated[
    Path | None, typer.Option(help="A vendor's plug-in for ONNX Runtime that brings --provider.")
]
