"""The command line: flags, and nothing else.

Importing it costs no numpy and no table drawing, so that `bench --help` answers at once. Exit codes:
0 done; 1 the check said no; 2 the user's mistake, or something is missing; 130 interrupted.
"""

from __future__ import annotations

import io
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer
from typer.exceptions import TyperException

from bench.cli_calibrate import calibrate
from bench.cli_options import CalibrationMethod, CalibrationSamples, InProcess, Timeout
from bench.cli_sensitivity import sensitivity
from bench.cli_show import show
from bench.cli_train import train
from bench.console import print_lines, print_text
from bench.export_checks import Check
from calibration.precision import Precision
from runtime.backends import backend_names
from runtime.errors import HarnessError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.plan import BenchPlan
    from bench.record import Record

INTERRUPTED = 130
"""128 plus the number of SIGINT, as shells have it."""

_FROM_THE_ZOO = "A model of the zoo, or an ONNX file"
_YOUR_OWN = "A model of your own"

app = typer.Typer(
    name="bench",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="The identical graph on any runtime, at any precision: how fast, how accurate, and what really ran.",
)
list_app = typer.Typer(help="What there is: models, backends, devices, precisions.", no_args_is_help=True)
app.add_typer(list_app, name="list")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the console script's entry. Returns the exit code."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        result = app(args=list(sys.argv[1:] if arguments is None else arguments), standalone_mode=False)
        code = result if isinstance(result, int) else 0
    except HarnessError as error:
        _say_error(str(error))
        return error.exit_code
    except TyperException as error:
        _say_error(f"{error.format_message()} (see `bench --help`)" if error.format_message() else "")
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)
    if code == INTERRUPTED:
        _say_error("interrupted; what was measured before is kept")
    return code


def _interrupt(signal_number: int, frame: object) -> NoReturn:
    """A machine that goes down, or a time limit, stops a run as Ctrl-C does."""
    raise KeyboardInterrupt


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
    from bench.plan import BenchPlan, CalibrationPlan
    from runtime.backend import Boundary
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
        threads=threads,
        allow_emulation=allow_emulation,
        limit_seconds=None if in_process else timeout or LIMIT_SECONDS,
    )
    return _measure_and_tell(plan, out, as_json=json)


for _name in backend_names():
    app.command(_name, help=f"Measure models on {_name}; flags given several times mean their product.")(
        measure
    )


@list_app.command("models")
def list_models() -> None:
    """Models of the zoo, with their variants and frameworks."""
    from bench.listing import model_lines

    print_lines(model_lines())


@list_app.command("backends")
def list_backends() -> None:
    """Backends, and what keeps one from working here."""
    from bench.listing import backend_lines

    print_lines(backend_lines())


@list_app.command("devices")
def list_devices() -> None:
    """Devices of the backends that work here."""
    from bench.listing import device_lines

    print_lines(device_lines())


@list_app.command("precisions")
def list_precisions() -> None:
    """Precisions a graph can be written at."""
    from bench.listing import precision_lines

    print_lines(precision_lines())


@app.command()
def doctor() -> None:
    """What works on this machine, and what would make the rest work."""
    from bench.doctor import report_lines

    print_lines(report_lines())


@app.command()
def export(  # noqa: PLR0913 - one parameter a flag
    *,
    out: Annotated[
        Path, typer.Option(help="Folder for the graphs and their manifest; must be new or empty.")
    ],
    model: Annotated[
        str | None,
        typer.Option(help="A name (`bench list models`), or an ONNX file.", rich_help_panel=_FROM_THE_ZOO),
    ] = None,
    variant: Annotated[str, typer.Option(help="A variant of the model.", rich_help_panel=_FROM_THE_ZOO)] = "",
    framework: Annotated[
        str | None,
        typer.Option(
            help="tensorflow or caffe; the model's first unless given.", rich_help_panel=_FROM_THE_ZOO
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="Weights for the model; seeded unless given.", rich_help_panel=_FROM_THE_ZOO),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Your own samples for the model: images, or a text file.", rich_help_panel=_FROM_THE_ZOO
        ),
    ] = None,
    saved_model: Annotated[
        Path | None, typer.Option(help="A TensorFlow SavedModel folder.", rich_help_panel=_YOUR_OWN)
    ] = None,
    keras: Annotated[
        Path | None,
        typer.Option(help="A model saved by Keras: .keras or .h5.", rich_help_panel=_YOUR_OWN),
    ] = None,
    frozen: Annotated[
        Path | None,
        typer.Option(
            help="A frozen graph of TensorFlow 1 (.pb); wants --inputs and --outputs too.",
            rich_help_panel=_YOUR_OWN,
        ),
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAMES", help="Tensors that go into --frozen, such as a:0,b:0.", rich_help_panel=_YOUR_OWN
        ),
    ] = None,
    outputs: Annotated[
        list[str] | None,
        typer.Option(metavar="NAMES", help="Tensors that come out of --frozen.", rich_help_panel=_YOUR_OWN),
    ] = None,
    prototxt: Annotated[
        Path | None,
        typer.Option(help="A Caffe network; wants --caffemodel too.", rich_help_panel=_YOUR_OWN),
    ] = None,
    caffemodel: Annotated[
        Path | None, typer.Option(help="The weights of --prototxt.", rich_help_panel=_YOUR_OWN)
    ] = None,
    input_shape: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=SIZES",
            help="Another shape for an input of --prototxt, such as data=1,3,600,800; the batch stays open.",
            rich_help_panel=_YOUR_OWN,
        ),
    ] = None,
    python_layer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[CLASS=]MODULE:FUNCTION",
            help="Your function that says a Python layer of --prototxt in ONNX (docs/python-layers.md);"
            " CLASS is what the layer runs, such as rpn.mine.Layer, and every other one if left out.",
            rich_help_panel=_YOUR_OWN,
        ),
    ] = None,
    feeds: Annotated[
        Path | None,
        typer.Option(help="Samples for it: an .npz, one array an input.", rich_help_panel=_YOUR_OWN),
    ] = None,
    without_post_processing: Annotated[
        bool,
        typer.Option(
            "--without-post-processing",
            help="Cut a detector's last layers off: boxes and scores, raw.",
        ),
    ] = False,
    precision: Annotated[list[Precision] | None, typer.Option(help="fp32 is always among them.")] = None,
    calibration_samples: CalibrationSamples = 64,
    calibration_method: CalibrationMethod = None,
    check: Annotated[
        list[Check] | None,
        typer.Option(help="layers: every blob of a Caffe network too, to name the first wrong one."),
    ] = None,
    allow_unchecked: Annotated[
        bool,
        typer.Option(
            "--allow-unchecked",
            help="Write even a graph that its framework cannot run here, as OpenCV, which stands in for"
            " Caffe, cannot run your Python layers; the manifest says so.",
        ),
    ] = False,
) -> None:
    """Export a model to ONNX and write a bundle that runs where only a runtime is installed.

    Every graph is compared with its own framework first, and nothing is written where they differ.
    """
    from bench.export_command import export_bundle
    from bench.export_plan import ExportPlan, read_input_shapes, read_tensor_names
    from bench.plan import CalibrationPlan
    from bench.progress import Display
    from runtime.files import home

    plan = ExportPlan(
        out=out,
        model=model,
        variant=variant,
        framework=framework,
        weights=weights,
        saved_model=saved_model,
        keras=keras,
        frozen=frozen,
        inputs=read_tensor_names("--inputs", inputs or ()),
        outputs=read_tensor_names("--outputs", outputs or ()),
        prototxt=prototxt,
        caffemodel=caffemodel,
        post_processing=not without_post_processing,
        python_layers=tuple(python_layer or ()),
        input_shapes=read_input_shapes(input_shape or ()),
        checks=tuple(check or ()),
        allow_unchecked=allow_unchecked,
        feeds=feeds,
        data=data,
        precisions=tuple(precision or ()),
        calibration=CalibrationPlan(calibration_samples, calibration_method),
    )
    print_lines(str(path) for path in export_bundle(plan, home(), Display()))


app.command()(calibrate)
app.command()(sensitivity)
app.command()(show)
app.command()(train)


def _measure_and_tell(plan: BenchPlan, out: Path | None, *, as_json: bool) -> int:
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


def _say_error(line: str) -> None:
    if line:
        typer.echo(f"error: {' '.join(line.split())}", err=True)
