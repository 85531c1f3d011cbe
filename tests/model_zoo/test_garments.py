"""Scenes of garments: where boxes are by the pixels that changed, what is held out, and detectors taught."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from model_zoo import garment_scenes
from model_zoo.backgrounds import JUDGED, LEARNED
from model_zoo.catalog import get_model, get_variant
from model_zoo.detection import Found, overlaps
from model_zoo.fashion_mnist import FashionMnist, Pictures
from model_zoo.garment_scenes import KINDS, SIDE, Pieces, chosen, pieces_of, scene
from model_zoo.garments_exam import SCENES, exam_of
from model_zoo.metrics import get_measure
from model_zoo.metrics.objects import TrueObjects
from model_zoo.single_shot_layers import TENSORFLOW_MEAN, Sizes
from model_zoo.spec import Exam, Split
from model_zoo.ssd_layers import ssd_network
from model_zoo.training import teach, weights_of, write_arrays
from runtime.errors import UnavailableError
from runtime.progress import silent
from tests.model_zoo.garment_pieces import made_up_pieces

each_detector = pytest.mark.parametrize("model", ["ssd", "dssd"])

NETWORK = replace(
    ssd_network(
        "resnet18", Sizes(narrower=16, classes=5, input_size=(SIDE, SIDE), centred=True, tensorflow=True)
    ),
    name="tiny",
    statistics="tiny",
)


@pytest.fixture(scope="module")
def made_up() -> Pieces:
    return made_up_pieces()


@pytest.fixture(scope="module")
def real() -> dict[Split, Pieces]:
    try:
        return {split: pieces_of(split) for split in Split}
    except UnavailableError as error:
        pytest.skip(str(error))


def test_every_pixel_that_is_a_garments_is_in_a_box_and_every_side_of_a_box_has_one(made_up: Pieces) -> None:
    """On black everything that is not black was pasted, at a brightness of 0.4 or more."""
    for key in range(40):
        found = scene(replace(made_up, backgrounds=made_up.backgrounds[:1]), key)
        pasted = found.image.max(axis=2) > 0
        covered = np.zeros_like(pasted)
        for x1, y1, x2, y2 in found.corners.astype(int).tolist():
            box = pasted[y1:y2, x1:x2]
            covered[y1:y2, x1:x2] = True
            assert all(side.any() for side in (box[0], box[-1], box[:, 0], box[:, -1]))
        assert not (pasted & ~covered).any()


def test_labels_are_those_of_the_garments(made_up: Pieces) -> None:
    """Ellipse k is 14 - 2k wide and 4 + 2k high, from its middle."""
    seen = set()
    for key in range(40):
        found = scene(made_up, key)
        assert 1 <= len(found.labels) <= 4
        sizes = found.corners[:, 2:] - found.corners[:, :2]
        for label, (width, height) in zip(found.labels.tolist(), sizes.tolist(), strict=True):
            assert width / height == pytest.approx((14 - 2 * label) / (4 + 2 * label), rel=0.2)
            seen.add(label)
        assert (overlaps(found.corners, found.corners) > 0.1).sum() == len(found.labels)
        assert (found.corners >= 0).all()
        assert (found.corners <= SIDE).all()
    assert seen == {1, 2, 3, 4}


def test_a_key_is_a_scene(made_up: Pieces) -> None:
    first, again, other = scene(made_up, 1, 2), scene(made_up, 1, 2), scene(made_up, 1, 3)
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.corners, again.corners)
    assert not np.array_equal(first.image, other.image)


def test_garments_of_the_four_kinds_are_chosen_by_split() -> None:
    def pictures(value: int) -> Pictures:
        return Pictures(np.full((10, 28, 28), value, np.uint8), np.arange(10, dtype=np.uint8))

    fashion = FashionMnist(pictures(1), pictures(2))
    for split, value in ((Split.CALIBRATION, 1), (Split.EVALUATION, 2)):
        found = chosen(fashion, split, ())
        assert found.kinds.tolist() == [1, 2, 3, 4]  # classes 0, 1, 8 and 9 of Fashion-MNIST
        assert (found.garments == value).all()


def test_neither_a_garment_nor_a_photograph_is_both_learned_from_and_judged(
    real: dict[Split, Pieces],
) -> None:
    learned, judged = real[Split.CALIBRATION], real[Split.EVALUATION]
    assert len(judged.kinds) == 4000
    assert {image.tobytes() for image in learned.garments}.isdisjoint(map(bytes, judged.garments))
    assert {image.tobytes() for image in learned.backgrounds}.isdisjoint(map(bytes, judged.backgrounds))
    assert (len(learned.backgrounds), len(judged.backgrounds)) == (13, 12)


def test_without_the_archives_the_feeds_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> Pieces:
        raise UnavailableError("no archive")

    monkeypatch.setattr(garment_scenes, "pieces_of", missing)
    feeds = get_variant(get_model("ssd"), "garments").feeds("tensorflow")
    assert feeds.origin == "synthetic (seed 0): no archive"


@pytest.fixture(scope="module")
def exam(real: dict[Split, Pieces]) -> Exam:
    (found,) = get_variant(get_model("ssd"), "garments").exams
    return found


def test_the_exam_asks_the_scenes_that_were_held_out(exam: Exam, real: dict[Split, Pieces]) -> None:
    questions = list(exam.questions(None, silent))
    truths = [truth for question in questions for truth in question.truths]
    assert len(truths) == SCENES == sum(len(question.asked) for question in questions)
    first = scene(real[Split.EVALUATION], JUDGED, 0)
    np.testing.assert_array_equal(questions[0].pictures[0], first.image)
    pixels = questions[0].feed["images"][0] + np.array(TENSORFLOW_MEAN, np.float32)
    np.testing.assert_array_equal(pixels, first.image)
    assert sum(len(truth) for truth in truths) > 300


def test_feeds_have_other_scenes_than_the_exam_in_the_same_form(exam: Exam) -> None:
    fed = next(get_variant(get_model("ssd"), "garments").feeds("tensorflow").batches(2, Split.EVALUATION))
    asked = next(iter(exam.questions(None, silent))).feed
    assert fed["images"].shape[1:] == asked["images"].shape[1:]
    assert fed["images"].dtype == asked["images"].dtype
    assert not np.array_equal(fed["images"][0], asked["images"][0])
    assert np.array_equal(
        fed["images"] + np.array(TENSORFLOW_MEAN, np.float32),
        np.rint(fed["images"] + np.array(TENSORFLOW_MEAN, np.float32)),
    )


def lists_of(truths: list[TrueObjects], *, shifted: float = 0.0) -> dict[str, np.ndarray]:
    """What a detector that finds just these would give, moved by pixels to the right."""
    scores, boxes = (
        np.zeros((len(truths), 4, 200), np.float32),
        np.zeros((len(truths), 4, 200, 4), np.float32),
    )
    for image, truth in enumerate(truths):
        for row, (label, (x1, y1, x2, y2)) in enumerate(zip(truth.labels, truth.corners, strict=True)):
            scores[image, label - 1, row] = 0.9
            boxes[image, label - 1, row] = np.array([y1, x1 + shifted, y2, x2 + shifted]) / SIDE
    return {"scores": scores, "boxes": boxes}


def test_right_answers_score_one_and_those_beside_score_nothing(exam: Exam) -> None:
    right, wrong = get_measure("voc-map").make(), get_measure("voc-map").make()
    for question in exam.questions(None, silent):
        truths = list(question.truths)
        for metric, shifted in ((right, 0.0), (wrong, 64.0)):
            answers = exam.answers(question.feed, lists_of(truths, shifted=shifted))
            for truth, answer in zip(truths, answers, strict=True):
                metric.add(truth, answer)
    assert right.value() == pytest.approx(1)
    assert wrong.value() < 0.1


def test_what_is_found_is_said_in_words() -> None:
    say = exam_of("images", (0, 0, 0)).say
    corners = np.zeros((3, 4))
    found = Found(np.array([2, 1, 3]), np.array([0.9, 0.6, 0.4]), corners)
    assert say(found) == "T-shirt/top, trouser"
    assert say(TrueObjects(np.array([4]), corners[:1], np.zeros(1, bool))) == "ankle boot"
    assert say(found.at(np.zeros(3, bool))) == "nothing"
    assert len(KINDS) == 4


def test_a_folder_of_a_users_own_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="composed by the harness itself; leave --data out"):
        next(exam_of("images", (0, 0, 0)).questions(tmp_path, silent))


def test_a_few_steps_lower_the_loss_and_what_is_broken_off_ends_at_identical_weights(
    made_up: Pieces, tmp_path: Path
) -> None:
    pytest.importorskip("tensorflow")
    from model_zoo.scene_lesson import Course, SceneLesson
    from model_zoo.single_shot_lesson import single_shot_pupil

    pupil = single_shot_pupil(NETWORK, TENSORFLOW_MEAN)
    lesson = partial(SceneLesson.of, pupil, Course(3, scenes=160), (made_up, made_up), 0)
    whole, resumed = lesson(), lesson()
    assert whole.steps == 10
    reports = teach(whole, "key", 3, tmp_path / "whole.npz")
    losses = [next(reports).loss]
    shutil.copy(tmp_path / "whole.npz", tmp_path / "resume.npz")
    losses += [report.loss for report in reports]
    assert losses[2] < losses[1] < losses[0]
    assert [report.epoch for report in teach(resumed, "key", 3, tmp_path / "resume.npz")] == [2, 3]
    for name, array in weights_of(whole).items():
        np.testing.assert_array_equal(array, weights_of(resumed)[name], err_msg=name)


def test_an_epoch_has_scenes_of_its_own(made_up: Pieces) -> None:
    first, second = (scene(made_up, LEARNED, 0, epoch, 0) for epoch in (0, 1))
    assert not np.array_equal(first.image, second.image)


@pytest.mark.heavy
@each_detector
def test_a_detector_of_garments_exports_with_weights_that_it_was_taught(model: str, tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    from exporters.export import export
    from model_zoo.scene_lesson import Course, SceneLesson

    variant = get_variant(get_model(model), "garments")
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
