"""Planetoid's Cora, Citeseer and Pubmed with the split that papers report: pickles (MODELS.md 17).

They are read by an unpickler that makes arrays, sparse rows and lists, and refuses whatever else a pickle may
ask for (model_zoo.citations).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from model_zoo import citations
from model_zoo.datasets.contract import DataSet, Part, Sample, Tell
from model_zoo.datasets.cora import amounts
from runtime.errors import UsageError

_PARTS = ("y", "tx", "ty", "allx", "ally", "graph", "test.index")


def _samples(name: str, root: Path, tell: Tell) -> Iterator[Sample]:
    """raw: Citations, the whole network.     truth: the classes of its `tested` papers."""
    try:
        network = citations._planetoid(root, name)
    except (OSError, ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"the parts of ind.{name} in {root} do not fit together ({type(error).__name__}: {error});"
            " fetch all of them again"
        ) from error
    yield Sample(network, network.subjects[network.tested], f"ind.{name}")


def _set(name: str) -> DataSet:
    return DataSet(
        name=f"planetoid-{name}",
        title=f"Planetoid {name.capitalize()}",
        folders=("", "data", name, "planetoid/data"),
        parts=tuple(Part((f"ind.{name}.{part}",), "a part of the network") for part in _PARTS),
        published={name.capitalize(): 1},
        unit="networks",
        metrics=("node-accuracy",),
        terms="kimiyoung/planetoid; the networks are LINQS'",
        samples=partial(_samples, name),
        amounts=amounts,
    )


PLANETOID_CORA, PLANETOID_CITESEER, PLANETOID_PUBMED = map(_set, ("cora", "citeseer", "pubmed"))
