"""What GCN is judged on: the classes of 1,000 papers, none of which it learned from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from model_zoo.citations import Citations, Indices
from model_zoo.gcn_feeds import feed_of, fitting, network_of_papers
from model_zoo.gcn_network import Gcn
from model_zoo.node_classes import NODE_CLASSES
from model_zoo.spec import Exam, Labels, Question
from runtime.errors import GraphError, UsageError
from runtime.progress import Progress
from runtime.tensors import Array, Feed


def exam_of(network: Gcn) -> Exam:
    """For a network of papers in one of its forms; a data set is Cora as text or Planetoid's."""
    papers = _Papers(network)
    return Exam(
        data=f"{network.citations.capitalize()}: the papers held out for testing, by the class of each",
        labels=Labels.REAL,
        metrics=("node-accuracy",),
        questions=papers.questions,
        answers=papers.answers,
        say=papers.said,
    )


class _Papers:
    """One network is one sample of the graph, and as many of the exam as papers are tested.

    Which these are the data says, and an answer is read by: it is that of the network asked last.
    """

    def __init__(self, network: Gcn) -> None:
        self._network = network
        self._tested: Indices = np.zeros(0, np.int64)
        self._names: tuple[str, ...] = ()

    def questions(self, folder: Path | None, progress: Progress) -> Iterator[Question]:
        """The only one. Raises UnavailableError without the archive, UsageError for another folder."""
        found = self._found(folder, progress)
        self._tested, self._names = found.tested, found.names
        feed = {name: array[np.newaxis] for name, array in feed_of(self._network, found).items()}
        yield Question(
            feed,
            found.subjects[found.tested].tolist(),
            [f"paper {paper}" for paper in found.tested.tolist()],
        )

    def answers(self, feed: Feed, outputs: Mapping[str, Array]) -> Sequence[Array]:
        """The scores [classes] of each paper that is tested; raises GraphError for other outputs."""
        (scores,) = outputs.values() if len(outputs) == 1 else (np.empty(0),)
        wanted = (1, self._network.papers, self._network.classes)
        if scores.shape != wanted:
            shapes = {name: list(array.shape) for name, array in outputs.items()}
            raise GraphError(f"{NODE_CLASSES.name} wants one output {list(wanted)}, the graph gives {shapes}")
        return list(scores[0, self._tested])

    def said(self, what: int | Array) -> str:
        """The name of a class, or of the likeliest."""
        return self._names[what if isinstance(what, int) else int(np.argmax(what))]

    def _found(self, folder: Path | None, progress: Progress) -> Citations:
        from model_zoo.datasets import recognised, samples

        if folder is None:
            return network_of_papers(self._network, progress)
        names = (self._network.citations, f"planetoid-{self._network.citations}")
        known = [data_set.name for data_set, _ in recognised(folder) if data_set.name in names]
        if not known:
            raise UsageError(
                f"{folder} does not hold {self._network.citations.capitalize()}; give the folder of"
                " its authors' text, or Planetoid's ind files"
            )
        (sample,) = samples(known[0], folder)
        return fitting(self._network, sample.raw, folder)
