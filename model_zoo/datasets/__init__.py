"""The official data sets that can be read from a user's folder, by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from model_zoo.datasets.amazon import AMAZON
from model_zoo.datasets.census_income import CENSUS_INCOME, CENSUS_INCOME_TRAINING
from model_zoo.datasets.checking import Finding, Report, check
from model_zoo.datasets.coco import COCO, COCO_PERSONS
from model_zoo.datasets.contract import DataSet, Sample, refuse
from model_zoo.datasets.cora import CORA
from model_zoo.datasets.icdar15 import ICDAR15
from model_zoo.datasets.imagenet import IMAGENET, IMAGENET_FOLDERS
from model_zoo.datasets.movielens import MOVIELENS_1M, MOVIELENS_100K
from model_zoo.datasets.planetoid import PLANETOID_CITESEER, PLANETOID_CORA, PLANETOID_PUBMED
from model_zoo.datasets.squad import SQUAD
from model_zoo.datasets.synth90k import SYNTH90K
from model_zoo.datasets.voc import VOC
from model_zoo.datasets.wmt import WMT
from runtime.errors import UsageError, unknown_name

__all__ = [
    "DATA_SETS",
    "DataSet",
    "Finding",
    "Report",
    "Sample",
    "check",
    "get_data_set",
    "recognised",
    "samples",
]

_SETS = (
    IMAGENET,
    IMAGENET_FOLDERS,
    VOC,
    COCO,
    COCO_PERSONS,
    ICDAR15,
    SYNTH90K,
    AMAZON,
    CENSUS_INCOME,
    CENSUS_INCOME_TRAINING,
    MOVIELENS_100K,
    MOVIELENS_1M,
    CORA,
    PLANETOID_CORA,
    PLANETOID_CITESEER,
    PLANETOID_PUBMED,
    WMT,
    SQUAD,
)

DATA_SETS: Mapping[str, DataSet] = {data_set.name: data_set for data_set in _SETS}


def get_data_set(name: str) -> DataSet:
    """The set of this name; raises UsageError for another, naming the nearest."""
    if name not in DATA_SETS:
        raise unknown_name("data set", name, DATA_SETS)
    return DATA_SETS[name]


def recognised(folder: Path) -> list[tuple[DataSet, Path]]:
    """The sets that are in a folder, and where: those that have all their parts, else those that have some.

    Raises UsageError where there is none.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; give the one a data set was unpacked in")
    begun = [(data_set, root) for data_set in _SETS if (root := data_set.root(folder)) is not None]
    whole = [(data_set, root) for data_set, root in begun if not data_set.missing(root)]
    if not begun:
        raise UsageError(
            f"{folder} holds no data set that is known; expected one of {', '.join(DATA_SETS)} in its"
            " official layout, which `bench data list` shows"
        )
    return whole or begun


def samples(name: str, folder: Path) -> Iterator[Sample]:
    """The samples of a set with their truths; raises UsageError at the first that is not as it should be."""
    data_set = get_data_set(name)
    root = data_set.root(folder)
    missing = data_set.missing(root) if root is not None else data_set.parts
    if root is None or missing:
        names = ", ".join(" or ".join(part.patterns) for part in missing)
        raise UsageError(
            f"{folder} is not {data_set.title}: it lacks {names}; see `bench data doctor {folder}`"
        )
    return data_set.samples(root, refuse)
