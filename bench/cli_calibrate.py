"""The flags of `bench calibrate`."""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from bench.cli_options import CalibrationMethod
from bench.console import print_text
from runtime.errors import CheckFailed


def calibrate(  # noqa: PLR0913 - one parameter a flag
    *,
    model: Annotated[
        str, typer.Option(help="A name (`bench list models`), an ONNX file, or a folder of `bench export`.")
    ],
    variant: Annotated[str, typer.Option(help="A variant of the model.")] = "",
    framework: Annotated[str | None, typer.Option(help="The model's first unless given.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights for the model; seeded unless given.")] = None,
    samples: Annotated[int, typer.Option(min=1, help="Samples the ranges are found on.")] = 64,
    method: CalibrationMethod = None,
    feeds: Annotated[
        Path | None, typer.Option(help="Inputs of your own: an .npz, one array an input.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Your own samples for a model of the zoo: images, or a text file.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of synthetic feeds.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            help="File to write; .json for --ranges, .cache for TensorRT up to 10, .flatbuffers for ONNX"
            " Runtime's TensorRT provider."
        ),
    ] = None,
    format: Annotated[  # noqa: A002 - the flag's name
        Literal["json", "tensorrt", "onnxruntime"] | None,
        typer.Option(help="Of --out; what its suffix stands for unless given."),
    ] = None,
    tensorrt_version: Annotated[
        str, typer.Option(help="The release of TensorRT that a cache is for; it refuses another's.")
    ] = "10.13.0",
    compare: Annotated[
        Path | None, typer.Option(help="Ranges written before; shows which tensors differ most.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print every tensor as one JSON object.")] = False,
) -> None:
    """Find the ranges of a model's tensors, keep them in the store, and write them for this or other tools.

    With --compare it exits with 1 unless both are ranges of the same tensors of the same graph.
    """
    from bench.calibrate import CalibratePlan, calibrate_model
    from bench.calibrate_report import difference_line, print_ranges, to_json
    from bench.plan import CalibrationPlan
    from bench.progress import Display
    from runtime.files import home

    plan = CalibratePlan(
        model=model,
        variant=variant,
        framework=framework,
        weights=weights,
        feeds=feeds,
        data=data,
        seed=seed,
        calibration=CalibrationPlan(samples, method),
        out=out,
        kind=format,
        tensorrt=tensorrt_version,
        compare=compare,
    )
    found = calibrate_model(plan, home(), Display())
    if json:
        print_text(to_json(found))
    else:
        text = io.StringIO()
        print_ranges(found, text, shutil.get_terminal_size().columns if sys.stdout.isatty() else None)
        print_text(text.getvalue())
    if found.differences is not None and not found.differences.comparable:
        raise CheckFailed(f"--compare {compare}: {difference_line(found.differences)}")
