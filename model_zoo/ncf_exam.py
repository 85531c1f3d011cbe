"""What NCF is judged on: the last item of each user among 99 never taken, as its lesson holds it out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from model_zoo.exam_parts import batched, column_of, wanted_folder
from model_zoo.interactions import CANDIDATES, movielens
from model_zoo.ranking import CUT
from model_zoo.spec import Exam, Labels, Question, Split
from runtime.errors import GraphError, UsageError
from runtime.progress import Progress
from runtime.tensors import Array, Feed

if TYPE_CHECKING:
    from model_zoo.ncf_network import Ncf

_USERS = 41
"""Of a batch; 943 are 23 of these."""

Asked = tuple[int, NDArray[np.int64], int]
"""A user, the candidates and the right one's place."""


def movielens_exam(network: Ncf, data_set: str) -> Exam:
    """MovieLens 100K as the lesson has it, or out of the folder of a set of datasets.movielens."""
    data = "MovieLens 100K: each user's last movie, which was held out, among 99 never rated"
    return _exam(network, data, data_set, fetched=True)


def folder_exam(network: Ncf, data_set: str) -> Exam:
    """Out of the folder of a set of datasets.movielens alone."""
    return _exam(
        network, "MovieLens: each user's last movie among 99 never rated, out of --data", data_set, False
    )


def _exam(network: Ncf, data: str, data_set: str, fetched: bool) -> Exam:
    return Exam(
        data=data,
        labels=Labels.REAL,
        metrics=("hr@10", "ndcg@10"),
        questions=partial(_questions, network, data_set, fetched),
        answers=_answers,
        say=_said,
    )


def _questions(
    network: Ncf, data_set: str, fetched: bool, folder: Path | None, progress: Progress
) -> Iterator[Question]:
    """Raises UnavailableError without the archive or folder, UsageError for more users or items."""
    asked = _held_out(progress) if folder is None and fetched else _of_folder(data_set, folder)
    for part in batched(asked, _USERS):
        users = np.array([user for user, _, _ in part], np.int32)
        items = np.stack([candidates for _, candidates, _ in part]).astype(np.int32)
        _check(network, users, items)
        yield Question(
            {"user": np.repeat(users, CANDIDATES), "item": items.reshape(-1)},
            [place for _, _, place in part],
            [f"user {user}: {CANDIDATES} candidates" for user in users.tolist()],
        )


def _held_out(progress: Progress) -> Iterator[Asked]:
    rated = movielens(progress)
    return ((user, rated.candidates(user, Split.EVALUATION), 0) for user in rated.users.tolist())


def _of_folder(data_set: str, folder: Path | None) -> Iterator[Asked]:
    from model_zoo.datasets import get_data_set, samples

    folder = wanted_folder(folder, get_data_set(data_set).title)
    return ((*sample.raw, sample.truth) for sample in samples(data_set, folder))


def _check(network: Ncf, users: Array, items: Array) -> None:
    if users.max() >= network.users or items.max() >= network.items:
        raise UsageError(
            f"the data set asks for user {users.max()} and item {items.max()}, the network's tables have"
            f" {network.users} and {network.items} rows; take the variant that is for it"
        )


def _answers(feed: Feed, outputs: Mapping[str, Array]) -> Sequence[Array]:
    """The scores [candidates] of each user; raises GraphError for outputs of another kind."""
    scores = column_of(feed, outputs)
    if scores.size % CANDIDATES:
        raise GraphError(f"{scores.size} scores are not {CANDIDATES} of each user; ask for whole users")
    return list(scores.reshape(-1, CANDIDATES))


def _said(what: int | Array) -> str:
    """The right candidate's place, or those of the best."""
    if isinstance(what, int):
        return f"candidate {what}"
    return "candidates " + ", ".join(map(str, np.argsort(-what, kind="stable")[:CUT].tolist()))
