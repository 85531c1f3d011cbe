"""The commands that measure, one for each backend: flags, and nothing else."""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bench.cli_options import (
    CalibrationMethod,
    CalibrationSamples,
    InProcess,
    Provider,
    ProviderLibrary,
    ProviderOption,
    Timeout,
)
from bench.console import print_text
from calibration.precision import Precision

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.plan import BenchPlan
    from bench.record import Record


def measure(  # noqa: PLR0913 - one parameter a flag
    context: typer.Context,
    *,
    model: Annotated[
        list[str],
        typer.Option(help="A name (`bench list models`), an ONNX file, or a folder of `bench export`."),
    ],
    variant: Annotated[str, typer.Option(help="A variant of the model, such as minilm of bert.")] = "",
    framework: Annotated[
        list[str] | None, typer.Option(help="tensorflow or caffe; the model's first unless given.")
    ] = None,
    precision: Annotated[
        list[Precision] | None, typer.Option(help="fp32 unless given, or what your own graph is in.")
    ] = None,
    device: Annotated[list[str] | None, typer.Option(help="cpu unless given (`bench list devices`).")] = None,
    batch: Annotated[
        list[int] | None, typer.Option(min=1, help="Samples in a query; 1 unless given.")
    ] = None,
    scenario: Annotated[str, typer.Option(help="How queries arrive.")] = "single-stream",
    boundary: Annotated[
        Literal["device", "host"], typer.Option(help="Inputs and outputs on the device, or in host memory.")
    ] = "device",
    weights: Annotated[
        Path | None,
        typer.Option(help="Checkpoint, Keras weights, SavedModel or caffemodel; seeded unless given."),
    ] = None,
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
        int, typer.Option(min=0, help="Samples agreement with fp32 is judged on; 0 leaves it out.")
    ] = 64,
    duration: Annotated[
        float, typer.Option(min=0.1, help="Seconds to measure a cell for, and 50 queries at least.")
    ] = 10.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of synthetic feeds.")] = 0,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads inside a query; the backend's choice.")
    ] = None,
    provider: Provider = "",
    provider_option: ProviderOption = None,
    provider_library: ProviderLibrary = None,
    allow_fallback: Annotated[
        bool, typer.Option("--allow-fallback", help="Nodes the device does not take may run on the CPU.")
    ] = False,
    no_spinning: Annotated[
        bool, typer.Option("--no-spinning", help="Threads of ONNX Runtime sleep when they wait.")
    ] = False,
    allow_emulation: Annotated[
        bool, typer.Option("--allow-emulation", help="Measure even what was not executed as asked.")
    ] = False,
    timeout: Timeout = None,
    in_process: InProcess = False,
    out: Annotated[Path | None, typer.Option(help="Folder to save each record in, as it completes.")] = None,
    json: Annotated[
        bool,
        typer.Option("--json", help="Print the record; an array of records if the flags ask for several."),
    ] = False,
) -> int:
    """Measure one or more models on this backend; flags given several times mean the product."""
    from bench.measure import Limits
    from bench.plan import BenchPlan, CalibrationPlan, read_provider_options
    from runtime.backend import Boundary, SessionOptions
    from runtime.isolation import LIMIT_SECONDS

    plan = BenchPlan(
        backend=context.info_name or "",
        models=tuple(model),
        variant=variant,
        frameworks=tuple(framework or ()),
        precisions=tuple(precision or ()),
        devices=tuple(device or ("cpu",)),
        batch_sizes=tuple(batch or ()),
        scenario=scenario,
        boundary=Boundary(boundary),
        weights=weights,
        feeds=feeds,
        data=data,
        calibration=CalibrationPlan(calibration_samples, calibration_method, ranges),
        evaluation_samples=evaluation_samples,
        seed=seed,
        limits=Limits(duration_ns=round(duration * 1e9)),
        session=SessionOptions(
            threads=threads,
            provider_options=read_provider_options(provider_option or ()),
            provider=provider,
            provider_library=provider_library,
            allow_fallback=allow_fallback,
            spinning=not no_spinning,
        ),
        allow_emulation=allow_emulation,
        limit_seconds=None if in_process else timeout or LIMIT_SECONDS,
    )
    return measure_and_tell(plan, out, as_json=json)


def measure_and_tell(plan: BenchPlan, out: Path | None, *, as_json: bool) -> int:
    """Save each record when it is there; tell of all of them at the end, however it comes."""
    from bench.pipeline import Failure, run
    from bench.progress import Display
    from bench.record import check_folder, save
    from runtime.files import home

    if out is not None:
        check_folder(out)
    display, records, code = Display(), [], 0
    try:
        for outcome in run(plan, home(), display):
            if isinstance(outcome, Failure):
                display.error(f"{outcome.what}: {outcome.error}")
                code = max(code, outcome.error.exit_code)
                continue
            records.append(outcome)
            if out is not None:
                display.note(f"saved {save(outcome, out)}")
    finally:
        if records:
            _print_records(records, as_json=as_json, as_array=plan.size > 1)
    return code


def _print_records(records: Sequence[Record], *, as_json: bool, as_array: bool) -> None:
    from bench.record import to_json
    from bench.report import print_table

    if not as_json:
        text = io.StringIO()
        print_table(records, text, shutil.get_terminal_size().columns if sys.stdout.isatty() else None)
        print_text(text.getvalue())
    elif as_array:
        documents = ",\n".join(to_json(record).rstrip() for record in records)
        print_text(f"[\n{documents}\n]\n")
    else:
        print_text(to_json(records[0]))
