"""CPN of garments: what it is judged on, what guessing would reach, and a few steps of learning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model_zoo.backgrounds import JUDGED, LEARNED
from model_zoo.catalog import get_model, get_variant
from model_zoo.cpn_garments import NETWORK, SIZES
from model_zoo.cpn_garments_exam import CROPS, EXAM, answers_of, feed_of, said, truth_of
from model_zoo.cpn_layers import cpn_network
from model_zoo.cpn_lesson import cpn_pupil, units_of
from model_zoo.garment_crops import crop
from model_zoo.garment_scenes import Pieces, pieces_of
from model_zoo.layers_seeded import measured_channels
from model_zoo.learner import Learner
from model_zoo.metrics import get_measure
from model_zoo.metrics.objects import FoundPersons, TrueObjects
from model_zoo.spec import Question, Split
from model_zoo.training import teach, weights_of, write_arrays
from runtime.errors import GraphError, UnavailableError
from runtime.progress import silent
from tests.model_zoo.garment_pieces import made_up_pieces

TINY = cpn_network(replace(SIZES, name="tiny", depths=(1, 1, 1, 1), narrower=16), supervised=True)

MADE_UP = made_up_pieces()


@pytest.fixture(scope="module")
def real() -> dict[Split, Pieces]:
    try:
        return {split: pieces_of(split) for split in Split}
    except UnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def questions(real: dict[Split, Pieces]) -> list[Question]:
    return list(EXAM.questions(None, silent))


def truths_of(questions: Sequence[Question]) -> list[TrueObjects]:
    return [truth for question in questions for truth in question.truths]


def reached(truths: Sequence[TrueObjects], places: NDArray[np.float64]) -> list[float]:
    """PCK of x and y [samples, 6, 2], at a tenth and at a twentieth."""
    values = []
    for name in EXAM.metrics:
        metric = get_measure(name).make()
        for truth, row in zip(truths, places, strict=True):
            metric.add(truth, FoundPersons(np.ones(1), row[np.newaxis]))
        values.append(metric.value())
    return values


def points_of(truths: Sequence[TrueObjects]) -> NDArray[np.float64]:
    return np.array([truth.key_points[0, :, :2] for truth in truths if truth.key_points is not None])


def test_the_exam_asks_the_crops_that_were_held_out(
    questions: list[Question], real: dict[Split, Pieces]
) -> None:
    assert len(truths_of(questions)) == CROPS == sum(len(question.asked) for question in questions)
    first = crop(real[Split.EVALUATION], JUDGED, 0)
    np.testing.assert_array_equal(questions[0].pictures[0], first.image)
    np.testing.assert_allclose(points_of(truths_of(questions))[0], first.points)
    assert len({image.tobytes() for question in questions for image in question.pictures}) == CROPS
    (truth,) = questions[0].truths[:1]
    assert truth.size == (128, 96)


def test_questions_are_fed_as_the_feeds_are(questions: list[Question]) -> None:
    fed = next(get_variant(get_model("cpn"), "garments").feeds("tensorflow").batches(1, Split.EVALUATION))
    assert questions[0].feed["images"].shape[1:] == fed["images"].shape[1:] == (128, 96, 3)
    assert questions[0].feed["images"].dtype == fed["images"].dtype == np.float32
    pixels = questions[0].feed["images"][0] * 255 + np.array([102.9801, 115.9465, 122.7717])
    np.testing.assert_allclose(pixels[..., ::-1], questions[0].pictures[0], atol=1e-3)


def test_guessing_the_mean_place_reaches_little(questions: list[Question], real: dict[Split, Pieces]) -> None:
    """With the mean of what is learned from, and, as if the box were told, the mean place in the box."""
    truths = truths_of(questions)
    learned = [crop(real[Split.CALIBRATION], LEARNED, 0, 0, number) for number in range(500)]
    mean = np.mean([found.points for found in learned], axis=0)
    wide, narrow = reached(truths, np.broadcast_to(mean, (CROPS, 6, 2)))
    assert 0.03 < wide < 0.15
    assert narrow < 0.05
    shares = [
        (found.points - found.corners[:2]) / np.ptp(found.corners.reshape(2, 2), axis=0) for found in learned
    ]
    boxes = np.concatenate([truth.corners for truth in truths])[:, np.newaxis]
    told = boxes[..., :2] + np.mean(shares, axis=0) * (boxes[..., 2:] - boxes[..., :2])
    assert reached(truths, told)[0] < 0.4


def heat_at(points: NDArray[np.float64]) -> dict[str, Any]:
    """Heat maps that are right, but for the quarter of a pixel that places are read to."""
    from model_zoo.heat_map_loss import heat_maps

    return {"heatmaps": np.asarray(heat_maps(points, (32, 24), 1.4))}


def test_right_heat_maps_are_right_answers_and_those_of_other_crops_are_not(
    questions: list[Question],
) -> None:
    pytest.importorskip("tensorflow")
    points = points_of(truths_of(questions))[:200]
    right = answers_of({}, heat_at(points))
    truths = truths_of(questions)[:200]
    assert reached(truths, np.array([each.places[0] for each in right]))[0] > 0.99
    wrong = np.array([each.places[0] for each in answers_of({}, heat_at(points[::-1]))])
    assert reached(truths, wrong)[0] < 0.2


def test_an_answer_is_a_garment_with_the_mean_of_its_points_scores() -> None:
    pytest.importorskip("tensorflow")
    points = np.full((1, 6, 2), 42.0)
    halved = heat_at(points)["heatmaps"] * np.array([0.5] * 3 + [1] * 3)
    (found,) = answers_of({}, {"heatmaps": halved})
    np.testing.assert_allclose(found.scores, [(1.5 + 1.0) / 2], atol=0.05)
    np.testing.assert_allclose(found.places, points[np.newaxis, 0], atol=2)


def test_outputs_without_heat_maps_are_refused() -> None:
    with pytest.raises(GraphError, match="key points want an output 'heatmaps'"):
        answers_of({}, {"boxes": np.zeros((1, 2))})


def test_points_are_said_in_words() -> None:
    found = crop(MADE_UP, 0)
    places = np.array([(1, 2), (3, 4), (5.4, 6), (7, 8.6), (9, 10), (11, 12)], float)
    words = "left top (1, 2), right top (3, 4), left middle (5, 6), right middle (7, 9), left bottom (9, 10)"
    assert said(FoundPersons(np.ones(1), places[np.newaxis])) == f"{words}, right bottom (11, 12)"
    assert said(truth_of(replace(found, points=places))) == f"{words}, right bottom (11, 12)"


def test_a_folder_of_a_users_own_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="composed by the harness itself; leave --data out"):
        next(EXAM.questions(tmp_path, silent))


def test_what_is_run_is_what_was_taught_without_globalnets_heat_maps() -> None:
    taught = cpn_network(SIZES, supervised=True)
    assert set(NETWORK.outputs) == {"heatmaps"}
    assert NETWORK.tensors().items() <= taught.tensors().items()
    assert list(taught.tensors())[: len(NETWORK.tensors())] == list(NETWORK.tensors())
    assert measured_channels(taught)[: len(measured_channels(NETWORK))] == measured_channels(NETWORK)


def test_the_last_normalisations_begin_at_the_size_of_heat_maps_and_move_in_it() -> None:
    """Adam's first step is the rate itself, up or down (Kingma and Ba 2015, 2.1), in a tensor's unit."""
    tensorflow = pytest.importorskip("tensorflow")
    names = [
        f"{head}/BatchNorm/{part}" for head in ("refine_out", "pyramid/res5") for part in ("gamma", "beta")
    ]
    assert set(names) < set(units_of(TINY))
    assert len(units_of(TINY)) == 2 * (1 + 4)
    learner = Learner.of(TINY.tensors(), 0, 0.01, units=units_of(TINY))
    plain = Learner.of(TINY.tensors(), 0, 0.01)
    before = weights_of_learner(learner)
    for each, array in weights_of_learner(plain).items():
        np.testing.assert_array_equal(before[each], array * units_of(TINY).get(each, 1), err_msg=each)
    learner.rate.assign(0.01)
    learner.adam.step({name: tensorflow.ones(v.shape) for name, v in learner.adam.variables.items()})
    for name in (*names, "lateral/res5/kernel"):
        moved = before[name] - learner.weights[name].numpy()
        np.testing.assert_allclose(moved, 0.01 * units_of(TINY).get(name, 1), rtol=1e-3)


def weights_of_learner(learner: Learner) -> dict[str, Any]:
    return {name: variable.numpy() for name, variable in learner.weights.items()}


def test_what_is_taught_are_the_crops_as_they_are_fed() -> None:
    crops = [crop(MADE_UP, key) for key in range(3)]
    images, points = cpn_pupil(TINY).teaching(crops, (0, 0))
    np.testing.assert_array_equal(images, feed_of(crops)["images"])
    np.testing.assert_array_equal(points, [found.points for found in crops])


def test_a_few_steps_lower_the_loss_and_move_all_weights_of_both_networks(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    from model_zoo.scene_lesson import Course, SceneLesson

    lesson = SceneLesson.of(cpn_pupil(TINY), Course(3, scenes=160), (MADE_UP, MADE_UP), 0)
    before = weights_of(lesson)
    losses = [report.loss for report in teach(lesson, "key", 3, tmp_path / "resume.npz")]
    assert losses[2] < losses[1] < losses[0]
    for name, array in weights_of(lesson).items():
        assert not np.array_equal(array, before[name]), name


@pytest.mark.heavy
def test_the_network_exports_with_weights_that_it_was_taught(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    from exporters.export import export
    from model_zoo.scene_lesson import Course, SceneLesson

    variant = get_variant(get_model("cpn"), "garments")
    assert variant.training is not None
    try:
        lesson = variant.training.lesson(0, silent)
    except UnavailableError as error:
        pytest.skip(str(error))
    assert isinstance(lesson, SceneLesson)
    short = replace(lesson, course=Course(1, scenes=1600))  # stored statistics lag behind by fewer
    list(short.epoch(0))
    write_arrays(tmp_path / "w.npz", weights_of(short))
    source = variant.build["tensorflow"](tmp_path / "w.npz")
    feed = next(variant.feeds("tensorflow").batches(8, Split.EVALUATION))
    assert export(source, tmp_path / "m.onnx", [feed]).parameters == variant.counts["tensorflow"].parameters
