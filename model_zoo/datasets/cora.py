"""Cora as text by its authors: NAME.content and NAME.cites (MODELS.md 17)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from model_zoo.citations import read_citations
from model_zoo.datasets.contract import DataSet, Part, Sample, Tell


def _samples(root: Path, tell: Tell) -> Iterator[Sample]:
    """raw: Citations, the whole network.     truth: the classes of its `tested` papers."""
    network = read_citations(root)
    yield Sample(network, network.subjects[network.tested], next(root.glob("*.content")).stem)


def amounts(sample: Sample) -> Mapping[str, int]:
    """Of one network."""
    network = sample.raw
    return {
        "papers": network.papers,
        "words": network.vocabulary,
        "links": len(network.cites),
        "classes": network.classes,
        "papers tested": len(network.tested),
    }


CORA = DataSet(
    name="cora",
    title="Cora, as text",
    folders=("", "cora"),
    parts=(
        Part(("*.content",), "a paper, its words and its class a line"),
        Part(("*.cites",), "two papers a line, one citing the other"),
    ),
    published={"Cora": 1},
    unit="networks",
    metrics=("node-accuracy",),
    terms="LINQS, University of California, Santa Cruz",
    samples=_samples,
    amounts=amounts,
)
