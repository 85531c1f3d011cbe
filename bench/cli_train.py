"""The flags of `bench train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.console import print_lines


def train(
    *,
    model: Annotated[str, typer.Option(help="A model there is data for; any other names them.")],
    variant: Annotated[str, typer.Option(help="A variant; the one there is data for unless given.")] = "",
    out: Annotated[
        Path | None, typer.Option(help="The .npz to write; in the store unless given.", show_default=False)
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Rounds over the data; what suits the model unless given.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the first weights and of every shuffle.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print what came of it as one JSON object.")] = False,
) -> None:
    """Train a model from real data in minutes, and save weights for --weights.

    What is interrupted goes on from its last whole epoch when it is asked for again.
    """
    from bench.progress import Display
    from bench.train import TrainPlan, train_model
    from runtime.files import home

    trained = train_model(TrainPlan(model, variant, out, epochs, seed), home(), Display())
    print_lines([trained.as_json()] if json else trained.lines())
