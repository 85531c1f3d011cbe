"""Networks of papers: published sizes, a matrix worked out by hand, and files that are none."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from model_zoo import citations
from model_zoo.citations import Citations
from runtime.errors import UnavailableError, UsageError


def read(reader: Callable[[], Citations]) -> Citations:
    try:
        return reader()
    except UnavailableError as error:
        pytest.skip(str(error))


def write(folder: Path, content: str, cites: str) -> Path:
    (folder / "tiny.content").write_text(content, encoding="utf-8")
    (folder / "tiny.cites").write_text(cites, encoding="utf-8")
    return folder


PAPERS = "p1 1 0 1 maths\np2 0 1 0 physics\np3 1 1 0 maths\n"


@pytest.mark.parametrize(
    ("reader", "papers", "vocabulary", "classes", "edges", "trained"),
    [
        (citations.cora, 2708, 1433, 7, 13_264, 140),
        (citations.citeseer, 3327, 3703, 6, 12_431, 120),
        (citations.pubmed, 19_717, 500, 3, 108_365, 60),
    ],
)
def test_the_three_networks_have_their_published_sizes(
    reader: Callable[[], Citations], papers: int, vocabulary: int, classes: int, edges: int, trained: int
) -> None:
    """Yang et al. 2016, table 1; edges as in MODELS.md 17: both ways, and one from every paper to itself."""
    found = read(reader)
    assert (found.papers, found.vocabulary, found.classes) == (papers, vocabulary, classes)
    assert len(found.adjacency()[0]) == edges
    assert len(found.trained) == trained
    assert np.bincount(found.subjects[found.trained]).tolist() == [20] * classes
    assert len(found.tested) == 1000
    assert not set(found.trained.tolist()) & set(found.tested.tolist())


def test_cora_has_the_words_of_models_md() -> None:
    found = read(citations.cora)
    assert len(found.words) == 49_216
    assert len(found.cites) == 5278


def test_papers_of_citeseer_that_nothing_is_known_of_have_no_words() -> None:
    found = read(citations.citeseer)
    assert np.bincount(found.words[:, 0], minlength=found.papers).min() == 0


def test_the_adjacency_of_three_papers_worked_out_by_hand(tmp_path: Path) -> None:
    """p1 - p2 - p3: degrees with their own links 2, 3, 2."""
    found = citations.read_citations(write(tmp_path, PAPERS, "p1 p2\np2 p3\n"))
    edges, weights = found.adjacency()
    dense = np.zeros((3, 3))
    dense[edges[:, 0], edges[:, 1]] = weights
    side = 1 / np.sqrt(6)
    np.testing.assert_allclose(dense, [[1 / 2, side, 0], [side, 1 / 3, side], [0, side, 1 / 2]], rtol=1e-6)


def test_links_count_once_and_those_to_strangers_or_to_oneself_not_at_all(tmp_path: Path) -> None:
    folder = write(tmp_path, PAPERS, "p1 p2\np2 p1\np3 p3\np1 unknown\np1 p2\n")
    assert citations.read_citations(folder).cites.tolist() == [[0, 1]]


def test_words_values_and_classes_are_read_by_paper(tmp_path: Path) -> None:
    found = citations.read_citations(write(tmp_path, PAPERS, "p1 p2\n"))
    assert found.words.tolist() == [[0, 0], [0, 2], [1, 1], [2, 0], [2, 1]]
    assert found.values.tolist() == [1] * 5
    assert found.subjects.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("content", "cites", "message"),
    [
        ("p1 1 x maths\n", "", "is no network of citations|are no network of citations"),
        ("p1 1 0 maths\np1 1 0 maths\n", "", "2 papers with 1 different names"),
        ("", "", "0 papers with 0 different names"),
        (PAPERS, "p1 p2 p3\n", "the second two names"),
        ("p1 1 0 maths\np2 1 maths\n", "", "are no network of citations"),
    ],
)
def test_files_of_another_form_are_refused_in_a_line(
    tmp_path: Path, content: str, cites: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        citations.read_citations(write(tmp_path, content, cites))


def test_a_folder_without_the_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds 0 files that end in \.content"):
        citations.read_citations(tmp_path)


def test_a_pickle_that_asks_for_more_than_numbers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ind.x"
    path.write_bytes(pickle.dumps(print))
    with pytest.raises(UsageError, match=r"it asks for builtins\.print"):
        citations._unpickled(path)


def test_a_pickle_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ind.x"
    path.write_bytes(pickle.dumps([1, 2, 3])[:-3])
    with pytest.raises(UsageError, match="no part of a Planetoid data set"):
        citations._unpickled(path)
