"""The command line: flags, and nothing else.

Importing it costs no numpy and no table drawing, so that `bench --help` answers at once. Exit codes:
0 done; 1 the check said no; 2 the user's mistake, or something is missing; 130 interrupted.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from bench.cli_accuracy import accuracy
from bench.cli_calibrate import calibrate
from bench.cli_conformance import conformance
from bench.cli_data import data_app
from bench.cli_measure import measure
from bench.cli_options import CalibrationMethod, CalibrationSamples
from bench.cli_sensitivity import sensitivity
from bench.cli_show import show
from bench.cli_train import train
from bench.console import print_lines
from bench.export_checks import Check
from calibration.precision import Precision
from runtime.backends import backend_names
from runtime.errors import HarnessError

if TYPE_CHECKING:
    from collections.abc import Sequence


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
app.add_typer(data_app, name="data")


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


app.command()(accuracy)
app.command()(calibrate)
app.command()(conformance)
app.command()(sensitivity)
app.command()(show)
app.command()(train)


def _say_error(line: str) -> None:
    if line:
        typer.echo(f"error: {' '.join(line.split())}", err=True)
