"""GCN on three networks of papers, in three forms (see gcn_network)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from model_zoo.citations import TESTED, TRAINED_PER_CLASS
from model_zoo.citations_exam import exam_of
from model_zoo.gcn_feeds import check, citation_feeds, tell
from model_zoo.gcn_network import Form, Gcn
from model_zoo.gcn_training import lesson
from model_zoo.node_classes import NODE_CLASSES
from model_zoo.spec import Counts, FeedSource, ModelSpec, PaperRow, Training, Variant
from runtime.errors import unknown_name

if TYPE_CHECKING:
    from exporters.source import Source


def build(network: Gcn, weights: Path | None = None) -> Source:
    """The network in TensorFlow, with seeded weights or those of a file; raises UsageError for a bad file."""
    from model_zoo.gcn_tensorflow import tensorflow_source
    from model_zoo.gcn_weights import weights_of

    return tensorflow_source(network, weights_of(network, weights))


def feeds_of(network: Gcn, framework: str) -> FeedSource:
    """The network of papers as the graph takes it; raises UsageError for an unknown framework."""
    if framework != "tensorflow":
        raise unknown_name("framework of gcn", framework, ("tensorflow",))
    return citation_feeds(network)


def _variant(network: Gcn) -> Variant:
    return Variant(
        description=(
            f"GCN on {network.citations.capitalize()}, {_FORMS[network.form]}: {network.papers} papers,"
            f" {network.vocabulary} words, {network.classes} classes"
        ),
        build={"tensorflow": partial(build, network)},
        counts={"tensorflow": Counts(network.parameters, network.macs)},
        feeds=partial(feeds_of, network),
        task=NODE_CLASSES,
        calibration_method="mean-squared-error",  # 28.3 dB; min-max 27.5, entropy takes links away: 10.7
        sizes=network.sizes(),
        check=partial(check, network),
        training=_training(network),
        tell=partial(tell, network),
        exams=(exam_of(network),),
    )


def _training(network: Gcn) -> Training:
    return Training(
        f"{network.citations.capitalize()}: {TRAINED_PER_CLASS} papers a class, and {TESTED} held out",
        partial(lesson, network),
    )


_FORMS = {
    Form.DENSE: "dense matrices",
    Form.EDGES: "links entry by entry",
    Form.SPARSE: "links and words entry by entry",
}

_MOST_DENSE = 10_000
"""Papers up to which there is a dense variant: Pubmed's matrix of links would have 1.6 GB a sample."""

NETWORKS = (
    Gcn("cora", papers=2708, vocabulary=1433, classes=7, edges=13_264, words=49_216),
    Gcn("citeseer", papers=3327, vocabulary=3703, classes=6, edges=12_431, words=105_165),
    Gcn("pubmed", papers=19_717, vocabulary=500, classes=3, edges=108_365, words=988_031),
)


def _variants() -> Mapping[str, Variant]:
    return {
        f"{network.citations}-{form}": _variant(replace(network, form=form))
        for network in NETWORKS
        for form in Form
        if form is not Form.DENSE or network.papers <= _MOST_DENSE
    }


SPEC = ModelSpec(
    "gcn",
    "GCN",
    PaperRow(batch_size=1, flops=2.72e7, seconds=None),
    _variants(),
    reference="cora-dense",
)
