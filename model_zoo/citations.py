"""Networks of papers that cite each other, with the words of each and its subject: Cora, Citeseer, Pubmed.

Sen et al. 2008, "Collective classification in network data". Cora comes as the text files of its authors, the
other two as the pickles of Yang et al. 2016, "Revisiting semi-supervised learning with graph embeddings"
(Planetoid), which say which papers are for training and which for testing (DATA.md B4).
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_zoo import archives
from model_zoo.samples import uniforms
from runtime.errors import UsageError
from runtime.progress import Progress, silent
from runtime.tensors import Array

TRAINED_PER_CLASS = 20
VALIDATED = 500
TESTED = 1000

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Citations:
    """One network of papers.

    words:    [entries, 2]: paper and word, by papers.       values: [entries]: how often, or tf-idf.
    cites:    [links, 2]: pairs of different papers, the smaller number first, each pair once.
    subjects: [papers]: the class of each paper.
    trained, tested: the papers whose classes a network learns from, and is judged on.
    names:    of the classes, where the data says them; numbers elsewhere.
    """

    papers: int
    vocabulary: int
    classes: int
    words: Indices
    values: NDArray[np.float32]
    cites: Indices
    subjects: Indices
    trained: Indices
    tested: Indices
    names: tuple[str, ...]

    def adjacency(self) -> tuple[Indices, NDArray[np.float32]]:
        """D^-1/2 (A + I) D^-1/2 as entries [edges, 2], target and source, by rows, and their weights [edges].

        Kipf and Welling 2017, "Semi-supervised classification with graph convolutional networks", eq. 2.
        """
        own = np.repeat(np.arange(self.papers), 2).reshape(-1, 2)
        edges = np.concatenate([self.cites, self.cites[:, ::-1], own])
        edges = edges[np.lexsort((edges[:, 1], edges[:, 0]))]
        degrees = np.bincount(edges[:, 0], minlength=self.papers).astype(np.float64)
        weights = 1.0 / np.sqrt(degrees[edges[:, 0]] * degrees[edges[:, 1]])
        return edges, weights.astype(np.float32)


def cora(progress: Progress = silent) -> Citations:
    """2,708 papers, 1,433 words, 5,278 links, 7 classes; raises UnavailableError without its archive.

    20 papers a class are for training and 1,000 others for testing, drawn by lot: the authors' files do not
    say which.
    """
    return read_citations(archives.fetch("citations", progress) / "pgl/data/cora")


def citeseer(progress: Progress = silent) -> Citations:
    """3,327 papers, 3,703 words, 6 classes, Planetoid's split; raises UnavailableError without it."""
    return _planetoid(archives.fetch("citations", progress) / "pgl/data/citeseer", "citeseer")


def pubmed(progress: Progress = silent) -> Citations:
    """19,717 papers, 500 words, 3 classes, Planetoid's split; raises UnavailableError without it."""
    return _planetoid(archives.fetch("citations", progress) / "pgl/data/pubmed", "pubmed")


def read_citations(folder: Path) -> Citations:
    """A network in the form of Cora's authors: NAME.content and NAME.cites.

    Of content: a line a paper, its name, 0 or 1 for each word, its class. Of cites: two names a line. Links
    to papers that have no line are left out, as in the original. Raises UsageError for any other folder.
    """
    content, cites = _only(folder, ".content"), _only(folder, ".cites")
    try:
        rows = [line.split() for line in content.read_text(encoding="utf-8").splitlines() if line.strip()]
        names = {row[0]: number for number, row in enumerate(rows)}
        occurs = np.array([row[1:-1] for row in rows], np.float32)
        pairs = [line.split() for line in cites.read_text(encoding="utf-8").splitlines() if line.strip()]
        links = np.array(
            [(names[a], names[b]) for a, b in pairs if a in names and b in names and a != b], np.int64
        )
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{content} and {cites} are no network of citations ({error}); a line of the first is a name, 0"
            " or 1 for each word, and a class, a line of the second two names"
        ) from error
    if len(names) != len(rows) or not rows:
        raise UsageError(f"{content} has {len(rows)} papers with {len(names)} different names; one name each")
    classes = sorted({row[-1] for row in rows})
    subjects = np.array([classes.index(row[-1]) for row in rows], np.int64)
    words = np.argwhere(occurs)
    trained, tested = _drawn_split(subjects)
    return Citations(
        papers=len(rows),
        vocabulary=occurs.shape[1],
        classes=len(classes),
        words=words,
        values=occurs[words[:, 0], words[:, 1]],
        cites=_pairs_once(links.reshape(-1, 2)),
        subjects=subjects,
        trained=trained,
        tested=tested,
        names=tuple(classes),
    )


def _only(folder: Path, suffix: str) -> Path:
    found = sorted(folder.glob(f"*{suffix}"))
    if len(found) != 1:
        raise UsageError(
            f"{folder} holds {len(found)} files that end in {suffix}, expected one: give a folder with"
            " NAME.content and NAME.cites, as Cora has them"
        )
    return found[0]


def _pairs_once(links: Indices) -> Indices:
    return np.unique(np.sort(links, axis=1), axis=0)


def _drawn_split(subjects: Indices) -> tuple[Indices, Indices]:
    """Some papers of each class to learn from, and others to be judged on; fewer where there are few."""
    order = np.argsort(uniforms(len(subjects), "citations", len(subjects)), kind="stable")
    of_class = [order[subjects[order] == label][:TRAINED_PER_CLASS] for label in range(subjects.max() + 1)]
    trained = np.concatenate(of_class)
    others = order[~np.isin(order, trained)]
    return np.sort(trained), np.sort(others[VALIDATED : VALIDATED + TESTED])


def _planetoid(folder: Path, name: str) -> Citations:
    """Planetoid's parts: all that are not tested (allx), then the tested ones (tx) in an order of theirs.

    Papers without links or words are missing from tx; they get rows of zero, and class 0.
    """
    parts: dict[str, Any] = {
        part: _unpickled(folder / f"ind.{name}.{part}") for part in ("allx", "ally", "graph", "tx", "ty", "y")
    }
    tested = np.array((folder / f"ind.{name}.test.index").read_text(encoding="ascii").split(), np.int64)
    known, papers = parts["allx"].rows, int(tested.max()) + 1
    entries = [(parts["allx"], np.arange(known)), (parts["tx"], tested)]
    placed = [part.placed(numbers) for part, numbers in entries]
    words = np.concatenate([words for words, _ in placed])
    values = np.concatenate([values for _, values in placed])
    order = np.lexsort((words[:, 1], words[:, 0]))
    classes = parts["ally"].shape[1]
    one_hot = np.zeros((papers, classes), np.int64)
    one_hot[:known], one_hot[tested] = parts["ally"], parts["ty"]
    links = np.array([(a, b) for a, others in parts["graph"].items() for b in others if a != b], np.int64)
    return Citations(
        papers=papers,
        vocabulary=parts["allx"].columns,
        classes=classes,
        words=words[order],
        values=values[order],
        cites=_pairs_once(links),
        subjects=one_hot.argmax(axis=1),
        trained=np.arange(len(parts["y"])),
        tested=np.sort(tested),
        names=tuple(map(str, range(classes))),
    )


class _SparseRows:
    """What a pickled scipy.sparse.csr_matrix says, without SciPy."""

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self._state = state

    @property
    def rows(self) -> int:
        return int(self._state["_shape"][0])

    @property
    def columns(self) -> int:
        return int(self._state["_shape"][1])

    def placed(self, numbers: Indices) -> tuple[Indices, Array]:
        """Entries [count, 2], where the i-th row is called numbers[i], and their values [count]."""
        starts = np.asarray(self._state["indptr"], np.int64)
        rows = np.repeat(numbers, np.diff(starts))
        columns = np.asarray(self._state["indices"], np.int64)
        return np.stack([rows, columns], axis=1), np.asarray(self._state["data"], np.float32)


class _Unpickler(pickle.Unpickler):
    """Reads arrays, sparse matrices and lists by number; refuses whatever else a pickle may ask for."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _array_maker() -> Any:
    """NumPy's own function that an array's pickle calls."""
    return np.zeros(0).__reduce__()[0]


_ALLOWED: Mapping[tuple[str, str], Any] = {
    ("__builtin__", "list"): list,
    ("__builtin__", "object"): object,
    ("collections", "defaultdict"): lambda *_: {},
    ("copy_reg", "_reconstructor"): lambda kind, *_: kind(),
    ("numpy", "dtype"): np.dtype,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy.core.multiarray", "_reconstruct"): _array_maker(),
    ("scipy.sparse.csr", "csr_matrix"): _SparseRows,
}


def _unpickled(path: Path) -> Any:
    try:
        with path.open("rb") as stream:
            return _Unpickler(stream, encoding="latin1").load()
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise UsageError(f"{path} is no part of a Planetoid data set: {error}; fetch it again") from error
