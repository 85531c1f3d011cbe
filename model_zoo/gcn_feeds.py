"""Networks of papers as the feeds of GCN."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_zoo import citations
from model_zoo.citations import Citations
from model_zoo.feed_checks import check_numbers
from model_zoo.gcn_network import Form, Gcn
from model_zoo.node_classes import NODE_CLASSES
from model_zoo.samples import LazyFeeds, Samples, digest_of, uniforms
from model_zoo.spec import Ask, Split, Told
from runtime.errors import UnavailableError, UsageError
from runtime.progress import Progress, silent
from runtime.tensors import Array, Feed

LEFT_OUT = 0.1
"""Share of the words that further samples lack."""

_READERS: Mapping[str, Callable[[Progress], Citations]] = {
    "cora": citations.cora,
    "citeseer": citations.citeseer,
    "pubmed": citations.pubmed,
}


def citation_feeds(network: Gcn) -> LazyFeeds:
    """The inputs of `network.inputs()`: the first evaluation sample is the network of papers itself.

    There is only one: further samples are the same with a tenth of the words left out by lot. `with_data`
    takes a folder in the form of Cora's authors (citations.read_citations). Without the archive: a network
    of the same size, drawn by lot, whose origin says why.
    """

    def find(progress: Progress) -> Samples:
        try:
            found = network_of_papers(network, progress)
        except UnavailableError as error:
            drawn = drawn_citations(network)
            return _samples(network, drawn, f"synthetic (seed 0): {error}", synthetic=True)
        return _samples(network, found, network.citations.capitalize())

    return LazyFeeds(find, over=lambda folder: _folder_feeds(network, folder))


def network_of_papers(network: Gcn, progress: Progress) -> Citations:
    """The data that the network is for; raises UnavailableError where its archive cannot be fetched."""
    return _READERS[network.citations](progress)


def check(network: Gcn, feed: Feed) -> None:
    """Raises FeedError, naming input and entry, for a paper or a word that there is none of."""
    limits = {"adjacency_places": (network.papers, network.papers)}
    limits["features_places"] = (network.papers, network.vocabulary)
    for name, counts in limits.items():
        for column, count in enumerate(counts) if name in feed else ():
            check_numbers(name, feed[name][..., column], count, ("row", "column")[column])


def drawn_citations(network: Gcn) -> Citations:
    """A network of as many papers, words and entries, drawn by lot: no paper means anything."""
    links = (network.edges - network.papers) // 2
    pairs = (uniforms(8 * links, "links", network.citations) * network.papers).astype(np.int64)
    ordered = np.sort(pairs.reshape(-1, 2), axis=1)
    different = np.unique(ordered[ordered[:, 0] != ordered[:, 1]], axis=0)
    cites = different[np.argsort(uniforms(len(different), "kept"), kind="stable")[:links]]
    cells = uniforms(2 * network.words, "words", network.citations) * (network.papers * network.vocabulary)
    numbers = np.unique(cells.astype(np.int64))
    kept = np.argsort(uniforms(len(numbers), "words kept"), kind="stable")[: network.words]
    numbers = np.sort(numbers[kept])
    papers = np.arange(network.papers)
    return Citations(
        papers=network.papers,
        vocabulary=network.vocabulary,
        classes=network.classes,
        words=np.stack(np.divmod(numbers, network.vocabulary), axis=1),
        values=np.ones(len(numbers), np.float32),
        cites=cites,
        subjects=papers % network.classes,
        trained=papers[: citations.TRAINED_PER_CLASS * network.classes],
        tested=papers[-citations.TESTED :],
        names=tuple(map(str, range(network.classes))),
    )


def tell(network: Gcn, data: Path | None, ask: Ask) -> Iterator[Told]:
    """The class of each of the papers that a network is judged on, and what it is labelled.

    data: see `citation_feeds`. Raises UnavailableError where there is no data.
    """
    found = network_of_papers(network, silent) if data is None else _read_fitting(network, data)
    feed = feed_of(network, found)
    classes = NODE_CLASSES.classes(ask({name: array[np.newaxis] for name, array in feed.items()}))[0]
    for paper in found.tested.tolist():
        yield Told(
            f"paper {paper}", found.names[classes[paper]], (f"labelled {found.names[found.subjects[paper]]}",)
        )


def feed_of(network: Gcn, found: Citations) -> Feed:
    """All papers with all their words, without the batch axis."""
    return _Sample(network, found)(Split.EVALUATION, 0)


@dataclass(frozen=True)
class _Sample:
    """The k-th sample of a split."""

    network: Gcn
    found: Citations

    def __call__(self, split: Split, k: int) -> Feed:
        kept = np.ones(len(self.found.words), np.float32)
        if split is Split.CALIBRATION or k:
            kept = (uniforms(len(kept), "words", split.value, k) >= LEFT_OUT).astype(np.float32)
        values = normalised_rows(self.found, self.found.values * kept)
        return {**self._words(values), **self._links}

    def _words(self, values: Array) -> Feed:
        if self.network.form is Form.SPARSE:
            return _entries("features", self.found.words, values)
        return {"features": word_matrix(self.found, values)}

    @cached_property
    def _links(self) -> Feed:
        places, weights = self.found.adjacency()
        if self.network.form is not Form.DENSE:
            return _entries("adjacency", places, weights)
        return {"adjacency": _matrix(places, weights, (self.found.papers, self.found.papers))}


def normalised_rows(found: Citations, values: Array) -> NDArray[np.float32]:
    """`values` of the words, each divided by its paper's sum; a paper without words keeps none."""
    sums = np.bincount(found.words[:, 0], values.astype(np.float64), minlength=found.papers)
    shares: NDArray[np.float32] = (values / np.where(sums > 0, sums, 1)[found.words[:, 0]]).astype(np.float32)
    return shares


def word_matrix(found: Citations, values: Array) -> NDArray[np.float32]:
    """[papers, vocabulary] of the values of the words."""
    return _matrix(found.words, values, (found.papers, found.vocabulary))


def _entries(name: str, places: Array, values: Array) -> Feed:
    return {f"{name}_places": places.astype(np.int32), f"{name}_values": values}


def _matrix(places: Array, values: Array, shape: tuple[int, int]) -> NDArray[np.float32]:
    dense = np.zeros(shape, np.float32)
    dense[places[:, 0], places[:, 1]] = values
    return dense


def _samples(network: Gcn, found: Citations, name: str, *, synthetic: bool = False) -> Samples:
    origin = f"{name}: {found.papers} papers, {len(found.cites)} links; further samples lack 10 % of words"
    parts = (found.words, found.values, found.cites)
    digests = [digest_of(part.tobytes()) for part in parts]
    return Samples(
        origin=name if synthetic else origin,
        synthetic=synthetic,
        digest=digest_of("citations", network, digests, LEFT_OUT),
        sample=_Sample(network, found),
    )


def _folder_feeds(network: Gcn, folder: Path) -> LazyFeeds:
    found = _read_fitting(network, folder)
    return LazyFeeds(
        lambda _: _samples(network, found, folder.name), over=lambda other: _folder_feeds(network, other)
    )


def _read_fitting(network: Gcn, folder: Path) -> Citations:
    return fitting(network, citations.read_citations(folder), folder)


def fitting(network: Gcn, found: Citations, folder: Path) -> Citations:
    """The network of papers that a folder holds; raises UsageError for one of another size."""
    got = (found.papers, found.vocabulary, found.classes)
    wanted = (network.papers, network.vocabulary, network.classes)
    if got != wanted:
        raise UsageError(
            f"{folder} has {got[0]} papers, {got[1]} words and {got[2]} classes, the network {wanted[0]},"
            f" {wanted[1]} and {wanted[2]}; give data of that size"
        )
    return found
