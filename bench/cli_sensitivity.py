"""The flags of `bench sensitivity`."""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from bench.cli_options import CalibrationMethod, CalibrationSamples, InProcess, Timeout
from bench.console import print_text
from runtime.errors import CheckFailed


def sensitivity(  # noqa: PLR0913 - one parameter a flag
    *,
    model: Annotated[
        str, typer.Option(help="A name (`bench list models`), an ONNX file, or a folder of `bench export`.")
    ],
    variant: Annotated[str, typer.Option(help="A variant of the model.")] = "",
    framework: Annotated[str | None, typer.Option(help="The model's first unless given.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights for the model; seeded unless given.")] = None,
    precision: Annotated[Literal["int8"], typer.Option(help="What harms the layers.")] = "int8",
    samples: Annotated[int, typer.Option(min=1, help="Samples the layers are compared on.")] = 16,
    output_samples: Annotated[
        int,
        typer.Option(
            min=0,
            help="Of these, samples on which each layer alone is int8, to rank by what outputs lose: a run a"
            " layer and sample. 0 ranks by what the layer's own result loses.",
        ),
    ] = 4,
    gate: Annotated[
        float, typer.Option(help="Share of fp32's answers, 0 to 1, that the mixed graph must give.")
    ] = 0.99,
    kept_in: Annotated[
        Literal["fp32", "fp16", "bf16"],
        typer.Option(help="What the layers that are kept from int8 are in; fp32 where fp16 would overflow."),
    ] = "fp32",
    rank_only: Annotated[
        bool, typer.Option("--rank-only", help="Rank the layers, and look for no mixed graph.")
    ] = False,
    drops: Annotated[
        int, typer.Option(min=0, help="Layers in float that are tried in int8 again, one by one.")
    ] = 12,
    top: Annotated[int, typer.Option(min=1, help="Layers in the table.")] = 20,
    backend: Annotated[str, typer.Option(help="Any of `bench list backends`.")] = "ort",
    device: Annotated[str, typer.Option(help="Any of `bench list devices`.")] = "cpu",
    feeds: Annotated[
        Path | None, typer.Option(help="Inputs of your own: an .npz, one array an input.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Your own samples for a model of the zoo: images, or a text file.")
    ] = None,
    calibration_samples: CalibrationSamples = 64,
    calibration_method: CalibrationMethod = None,
    ranges: Annotated[
        Path | None, typer.Option(help="INT8 ranges that `bench calibrate` wrote, instead of finding them.")
    ] = None,
    evaluation_samples: Annotated[
        int, typer.Option(min=1, help="Samples the gate is judged on; others than those of the ranges.")
    ] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Seed of synthetic feeds.")] = 0,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads inside a query; the backend's choice.")
    ] = None,
    metric: Annotated[
        bool,
        typer.Option(
            "--metric",
            help="Hold the gate against the task's metric on labelled samples, as"
            " `bench accuracy` does, instead of agreement with fp32.",
        ),
    ] = False,
    labelled: Annotated[
        Path | None,
        typer.Option(help="A data set in its official layout, for --metric; else what is fetched."),
    ] = None,
    metric_samples: Annotated[
        int | None, typer.Option(min=1, help="Labelled samples to judge on; all unless given.")
    ] = None,
    timeout: Timeout = None,
    in_process: InProcess = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for sensitivity.json, sensitivity.svg and, if found, int8-mixed.onnx."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print everything as one JSON object.")] = False,
) -> None:
    """Rank layers by what INT8 does to them, and find the fewest to keep in float for a gate to be met."""
    from bench.plan import BenchPlan, CalibrationPlan
    from bench.progress import Display
    from bench.sensitivity import SensitivityPlan, analyse
    from bench.sensitivity_report import print_report, to_json, verdict
    from calibration.precision import Precision
    from runtime.backend import SessionOptions
    from runtime.files import home
    from runtime.isolation import LIMIT_SECONDS

    network = BenchPlan(
        backend=backend,
        models=(model,),
        variant=variant,
        frameworks=(framework,) if framework else (),
        devices=(device,),
        weights=weights,
        feeds=feeds,
        data=data,
        calibration=CalibrationPlan(calibration_samples, calibration_method, ranges),
        evaluation_samples=evaluation_samples,
        seed=seed,
        session=SessionOptions(threads=threads),
        limit_seconds=None if in_process else timeout or LIMIT_SECONDS,
    )
    plan = SensitivityPlan(
        network,
        samples=samples,
        output_samples=output_samples,
        gate=None if rank_only else gate,
        kept_in=Precision(kept_in),
        drops=drops,
        metric=metric,
        data=labelled,
        metric_samples=metric_samples,
        out=out,
    )
    report = analyse(plan, home(), Display())
    text = io.StringIO(to_json(report) if json else "")
    if not json:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        print_report(report, text, width, top)
    print_text(text.getvalue())
    if report.repair is not None and not report.repair.met:
        raise CheckFailed(verdict(report.repair))
