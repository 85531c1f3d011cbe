"""The flags of `bench conformance`."""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from bench.console import print_text
from calibration.precision import Precision
from runtime.errors import CheckFailed, UsageError


def conformance(  # noqa: PLR0913 - one parameter a flag
    *,
    backend: Annotated[str, typer.Option(help="A name (`bench list backends`).")],
    device: Annotated[
        str | None, typer.Option(help="The backend's first unless given (`bench list devices`).")
    ] = None,
    operators: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Only cases of these operators, such as Conv or 'Reduce*'; all unless given.",
        ),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only the case of this name, such as test_abs.")
    ] = None,
    no_operators: Annotated[
        bool, typer.Option("--no-operators", help="Leave the ONNX project's tests of operators out.")
    ] = False,
    models: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Only these networks: a model with all its variants, NAME:VARIANT (NAME: without one), an"
            " ONNX file, or a folder of `bench export`; the whole zoo unless given, which takes hours.",
        ),
    ] = None,
    no_models: Annotated[bool, typer.Option("--no-models", help="Leave the networks out.")] = False,
    precision: Annotated[
        list[Precision] | None, typer.Option(help="Of the networks; all unless given.")
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            min=1, help="Seconds for a case; 60 for an operator and 1800 for a network unless given."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File to write every case to, as JSON.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print every case as one JSON object.")] = False,
) -> None:
    """Put the ONNX project's tests of operators, and the zoo at every precision, to a backend.

    Cases run in a process that may crash or hang. Exits with 1 where anything is wrong, crashes or takes too
    long; what a backend refuses in a line is no failure, only no point either.
    """
    from bench.conformance import ConformancePlan, check_conformance
    from bench.conformance_report import conclusion, print_conformance, to_json
    from bench.progress import Display
    from runtime.files import home, replacing_file

    if no_models and models:
        raise UsageError(f"--no-models and --models {models[0]} are two answers to one question: give one")
    plan = ConformancePlan(
        backend=backend,
        device=device,
        operators=tuple(operators or ()),
        only=tuple(only or ()),
        with_operators=not no_operators,
        models=None if no_models else tuple(models or ()),
        precisions=tuple(precision or ()),
        limit_seconds=timeout,
    )
    display = Display()
    found = check_conformance(plan, home(), display)
    if out is not None:
        with replacing_file(out) as file:
            file.write_text(to_json(found), encoding="utf-8")
        display.note(f"saved {out}")
    if json:
        print_text(to_json(found))
    else:
        text = io.StringIO()
        print_conformance(found, text, shutil.get_terminal_size().columns if sys.stdout.isatty() else None)
        print_text(text.getvalue())
    if not found.complete:
        raise KeyboardInterrupt
    if found.failed:
        raise CheckFailed(conclusion(found))
