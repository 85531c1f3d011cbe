"""The flags of `bench show`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bench.console import print_lines
from calibration.precision import Precision
from runtime.errors import UsageError


def show(  # noqa: PLR0913 - one parameter a flag
    *,
    model: Annotated[str, typer.Option(help="A name (`bench list models`), or a folder of `bench export`.")],
    image: Annotated[Path | None, typer.Option(help="The photograph, for a model that looks at one.")] = None,
    out: Annotated[Path | None, typer.Option(help="The picture to write: a .png or a .jpg.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Samples of yours, for a model that answers in words.")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="How many samples are told in words.")] = 5,
    variant: Annotated[str, typer.Option(help="A variant of the model.")] = "",
    framework: Annotated[str | None, typer.Option(help="The model's first unless given.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights for the model; seeded unless given.")] = None,
    backend: Annotated[str, typer.Option(help="Any of `bench list backends`.")] = "ort",
    precision: Annotated[Precision | None, typer.Option(help="fp32 unless given.")] = None,
    device: Annotated[str, typer.Option(help="Any of `bench list devices`.")] = "cpu",
    json: Annotated[bool, typer.Option("--json", help="Print what was found as one JSON object.")] = False,
) -> None:
    """Run a model and show what it says: drawn on a photograph of yours, or in words."""
    from bench.progress import Display
    from bench.show import Shown, ShowPlan, show_photograph
    from bench.tell import Answers, TellPlan, answers_in_words
    from runtime.files import home

    network: dict[str, Any] = {
        "model": model,
        "variant": variant,
        "framework": framework,
        "weights": weights,
        "backend": backend,
        "precision": precision,
        "device": device,
    }
    said: Shown | Answers
    if image is None and out is None:
        said = answers_in_words(TellPlan(samples=samples, data=data, **network), home(), Display())
    elif image is None or out is None or data is not None:
        raise UsageError(
            "a photograph is shown with both --image and --out and without --data, words with neither of them"
        )
    else:
        said = show_photograph(ShowPlan(image=image, out=out, **network), home(), Display())
    print_lines([said.as_json()] if json else said.lines())
