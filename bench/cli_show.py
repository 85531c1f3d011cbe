"""The flags of `bench show`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.console import print_lines
from calibration.precision import Precision


def show(  # noqa: PLR0913 - one parameter a flag
    *,
    model: Annotated[str, typer.Option(help="A name (`bench list models`), or a folder of `bench export`.")],
    image: Annotated[Path, typer.Option(help="The photograph.")],
    out: Annotated[Path, typer.Option(help="The picture to write: a .png or a .jpg.")],
    variant: Annotated[str, typer.Option(help="A variant of the model.")] = "",
    framework: Annotated[str | None, typer.Option(help="The model's first unless given.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights for the model; seeded unless given.")] = None,
    backend: Annotated[str, typer.Option(help="Any of `bench list backends`.")] = "ort",
    precision: Annotated[Precision | None, typer.Option(help="fp32 unless given.")] = None,
    device: Annotated[str, typer.Option(help="Any of `bench list devices`.")] = "cpu",
    json: Annotated[bool, typer.Option("--json", help="Print what was found as one JSON object.")] = False,
) -> None:
    """Run a model on one photograph of yours, and draw on it what the model says."""
    from bench.progress import Display
    from bench.show import ShowPlan, show_photograph
    from runtime.files import home

    plan = ShowPlan(model, image, out, variant, framework, weights, backend, precision, device)
    shown = show_photograph(plan, home(), Display())
    print_lines([shown.as_json()] if json else shown.lines())
