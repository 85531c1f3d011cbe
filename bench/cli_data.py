"""The flags of `bench data`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.console import print_lines

data_app = typer.Typer(
    help="Official data sets: which there are, and what is complete of one.", no_args_is_help=True
)


@data_app.command("list")
def list_data() -> None:
    """Every set that can be read and its layout, and what installs from a package registry."""
    from bench.data import list_lines

    print_lines(list_lines())


@data_app.command("doctor")
def doctor(
    folder: Annotated[Path, typer.Argument(help="The folder a data set was unpacked in.", metavar="DIR")],
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="Decode no image, and look for no equal ones.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the reports as one JSON array.")] = False,
) -> int:
    """Say which set a folder holds, what is complete, and what is missing, by its exact name.

    Ends with 1 where anything is missing or wrong.
    """
    from json import dumps

    from bench.data import examine, report_lines
    from bench.progress import Display

    reports = examine(folder, Display(), decode=not quick)
    if json:
        print_lines([dumps([report.as_json() for report in reports], indent=1)])
    else:
        print_lines(report_lines(reports))
    return 0 if all(report.complete for report in reports) else 1
