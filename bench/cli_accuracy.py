"""The flags of `bench accuracy`."""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from bench.cli_options import CalibrationMethod, CalibrationSamples, InProcess, Timeout
from bench.console import print_text
from calibration.precision import Precision


def accuracy(  # noqa: PLR0913 - one parameter a flag
    *,
    model: Annotated[
        str, typer.Option(help="A name (`bench list models`), an ONNX file, or a folder of `bench export`.")
    ],
    variant: Annotated[str, typer.Option(help="A variant of the model.")] = "",
    framework: Annotated[str | None, typer.Option(help="The model's first unless given.")] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Trained weights; unless given, those of the zoo, trained now where that is possible."
        ),
    ] = None,
    precision: Annotated[
        list[Precision] | None, typer.Option(help="fp32, fp16 and int8 unless given.")
    ] = None,
    backend: Annotated[
        list[str] | None, typer.Option(help="ort unless given (`bench list backends`).")
    ] = None,
    device: Annotated[str, typer.Option(help="Any of `bench list devices`.")] = "cpu",
    data: Annotated[
        Path | None,
        typer.Option(help="A data set in its official layout (`bench data list`); else what can be fetched."),
    ] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Samples to judge on, in whole batches; all unless given.")
    ] = None,
    gate: Annotated[
        float, typer.Option(help="Share of fp32's metric to keep: 0.99 or 0.999 (MLPerf).")
    ] = 0.99,
    confidence: Annotated[float, typer.Option(help="Of the interval that decides.")] = 0.95,
    worst: Annotated[int, typer.Option(min=0, help="Samples in the list of the worst.")] = 5,
    check_framework: Annotated[
        bool,
        typer.Option("--check-framework", help="Ask the source framework, too: does it answer as fp32 does?"),
    ] = False,
    calibration_samples: CalibrationSamples = 64,
    calibration_method: CalibrationMethod = None,
    ranges: Annotated[
        Path | None, typer.Option(help="INT8 ranges that `bench calibrate` wrote, instead of finding them.")
    ] = None,
    allow_emulation: Annotated[
        bool, typer.Option("--allow-emulation", help="Judge even what was not executed as asked.")
    ] = False,
    timeout: Timeout = None,
    in_process: InProcess = False,
    html: Annotated[Path | None, typer.Option(help="File for a page with the worst samples.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print everything as one JSON array.")] = False,
) -> int:
    """Judge a model on its task: metric, interval and gate for each precision and backend.

    Where no labelled data is at hand it is agreement with fp32 that is judged: fidelity, not accuracy.
    """
    from bench.accuracy import AccuracyPlan, judge_accuracy
    from bench.accuracy_report import failed, print_reports, problems, to_html, to_json
    from bench.plan import BenchPlan, CalibrationPlan
    from bench.progress import Display
    from runtime.files import home, replacing_file
    from runtime.isolation import LIMIT_SECONDS

    backends = tuple(backend or ("ort",))
    network = BenchPlan(
        backend=backends[0],
        models=(model,),
        variant=variant,
        frameworks=(framework,) if framework else (),
        precisions=tuple(precision or ()),
        devices=(device,),
        weights=weights,
        calibration=CalibrationPlan(calibration_samples, calibration_method, ranges),
        allow_emulation=allow_emulation,
        limit_seconds=None if in_process else timeout or LIMIT_SECONDS,
    )
    plan = AccuracyPlan(
        network,
        backends,
        data=data,
        samples=samples,
        gate=gate,
        confidence=confidence,
        worst=worst,
        framework_too=check_framework,
    )
    display = Display()
    reports = tuple(judge_accuracy(plan, home(), display))
    text = io.StringIO(to_json(reports) if json else "")
    if not json:
        print_reports(reports, text, shutil.get_terminal_size().columns if sys.stdout.isatty() else None)
    print_text(text.getvalue())
    if html is not None:
        page = to_html(reports)
        with replacing_file(html) as temporary:
            temporary.write_text(page, encoding="utf-8")
    not_judged = [row.error for row in problems(reports)]
    for row in problems(reports):
        display.error(f"{row.precision} on {row.backend}: {row.error}")
    return max([int(failed(reports)), *(error.exit_code for error in not_judged)])
