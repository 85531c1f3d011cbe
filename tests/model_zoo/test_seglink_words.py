"""SegLink for words: the network with normalisations, its exam, and that it can be taught."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from model_zoo.backgrounds import JUDGED
from model_zoo.catalog import get_model, get_variant
from model_zoo.layers import BatchNorm, Convolution, Relu
from model_zoo.layers_weights import weights_of as weights_in
from model_zoo.metrics import get_measure
from model_zoo.metrics.objects import TrueText
from model_zoo.seglink_layers import CAFFE_MEAN, Sizes, map_sizes, seglink_network
from model_zoo.seglink_words import EXAM, NETWORK, TASK
from model_zoo.spec import Split
from model_zoo.text_boxes import TextBoxes
from model_zoo.training import teach, weights_of, write_arrays
from model_zoo.word_images import WordImage
from model_zoo.word_scenes import SIDE, Pieces, pieces_of, scene
from model_zoo.words_exam import SCENES, asked, exam_of, truth_of
from runtime.errors import UnavailableError
from runtime.progress import silent
from runtime.tensors import Array

TINY = seglink_network(
    Sizes("tiny", narrower=32, input_size=(SIDE, SIDE), normalised=True, statistics="tiny")
)


@pytest.fixture(scope="module")
def made_up() -> Pieces:
    """Words in Pillow's own font, on one dark and one light background."""
    grounds = tuple(np.full((200, 210, 3), value, np.uint8) for value in (0, 250))
    texts = ("word", "MATRIX", "Benchmark")
    return Pieces(tuple(WordImage(text, None, (text,)) for text in texts), grounds)


def test_every_convolution_but_those_of_the_heads_is_normalised_and_has_no_bias() -> None:
    network = seglink_network(Sizes(normalised=True))
    reference = seglink_network(Sizes())
    rectified = {layer.bottoms[0] for layer in reference.layers if isinstance(layer, Relu)}
    channels = 0
    for layer in network.layers:
        if isinstance(layer, Convolution):
            readers = [other for other in network.layers if layer.name in other.bottoms]
            inside = layer.name in rectified
            assert isinstance(readers[0], BatchNorm) == inside == (not layer.bias)
            channels += layer.channels * inside
    assert network.parameters == reference.parameters + channels  # gamma and beta for a bias
    assert network.macs == reference.macs
    assert map_sizes(network) == map_sizes(reference)


def test_it_is_a_seglink_of_an_eighth_of_its_width() -> None:
    whole = seglink_network(Sizes(input_size=(SIDE, SIDE))).maps
    for layer in NETWORK.layers:
        if isinstance(layer, Convolution):
            share = 1 if layer.bias else 8
            assert layer.channels * share == whole[layer.name].channels
    variant = get_variant(get_model("seglink"), "words")
    assert variant.counts["tensorflow"].parameters == NETWORK.parameters
    assert variant.task == TASK
    assert variant.exams == (EXAM,)
    assert NETWORK.statistics == "seglink-words"


def test_weights_that_were_taught_are_read_as_they_were_written(tmp_path: Path) -> None:
    seeded = weights_in(NETWORK, None)
    write_arrays(tmp_path / "w.npz", {name: array + 1 for name, array in seeded.items()})
    for name, array in weights_in(NETWORK, tmp_path / "w.npz").items():
        np.testing.assert_array_equal(array, seeded[name] + 1, err_msg=name)


def test_the_exam_asks_the_scenes_that_were_held_out() -> None:
    try:
        held_out = pieces_of(Split.EVALUATION)
    except UnavailableError as error:
        pytest.skip(str(error))
    questions = list(EXAM.questions(None, silent))
    truths = [truth for question in questions for truth in question.truths]
    assert len(truths) == SCENES == sum(len(question.asked) for question in questions)
    first = scene(held_out, JUDGED, 0)
    np.testing.assert_array_equal(questions[0].pictures[0], first.image)
    pixels = questions[0].feed["images"][0] + np.array(CAFFE_MEAN, np.float32)
    np.testing.assert_array_equal(pixels[..., ::-1], first.image)
    assert questions[0].asked[0] == f"scene 0: {', '.join(first.texts)}"
    assert sum(len(truth.outlines) for truth in truths) > 800
    assert all(truth.cared_for.all() for truth in truths)


@pytest.mark.parametrize(("shifted", "expected"), [(0.0, 1.0), (60.0, 0.0)])
def test_right_answers_score_one_and_those_beside_score_nothing(
    made_up: Pieces, shifted: float, expected: float
) -> None:
    """One segment over each word, in a cell of its own."""
    pytest.importorskip("shapely")
    metric = get_measure("text-f-measure").make()
    scenes = [scene(made_up, JUDGED, number) for number in range(SCENES)]
    for start, question in zip(range(0, SCENES, 10), asked("images", CAFFE_MEAN, made_up), strict=True):
        boxes = [found.boxes + np.array([shifted, 0, 0, 0, 0]) for found in scenes[start : start + 10]]
        for truth, answer in zip(question.truths, EXAM.answers(question.feed, saying(boxes)), strict=True):
            metric.add(truth, answer)
    assert metric.value() == pytest.approx(expected, abs=0.1 if shifted else 0)


def saying(images: list[Array]) -> dict[str, Array]:
    """The outputs of a network that finds just these boxes, without a link."""
    cells = sum(height * width for height, width in TASK.maps)
    first = TASK.maps[0][0] * TASK.maps[0][1]
    outputs = {
        "segments": np.zeros((len(images), cells, 1), np.float32),
        "geometry": np.zeros((len(images), cells, 6), np.float32),
        "local_links": np.zeros((len(images), cells, 8), np.float32),
        "cross_links": np.zeros((len(images), cells - first, 4), np.float32),
    }
    for image, boxes in enumerate(images):
        for cell, (*place, angle) in enumerate(boxes.tolist()):
            outputs["segments"][image, cell] = 1
            outputs["geometry"][image, cell] = [*place, np.sin(angle), np.cos(angle)]
    return outputs


def test_a_batch_with_nan_in_it_finds_nothing() -> None:
    outputs = saying([np.zeros((0, 5))] * 2)
    outputs["segments"][1, 3] = np.nan
    feed = {"images": np.zeros((2, SIDE, SIDE, 3), np.float32)}
    assert EXAM.answers(feed, outputs) == [None, None]


def test_what_is_found_is_said_from_left_to_right() -> None:
    outlines = [
        np.array([(100, 20), (140, 20), (140, 30), (100, 30)]),
        np.array([(0, 0), (9, 0), (9, 5), (0, 5)]),
    ]
    assert EXAM.say(outlines) == "2 texts, 4/2, 120/25"
    assert EXAM.say(TrueText((outlines[0],), np.ones(1, np.bool_))) == "1 texts, 120/25"
    assert EXAM.say([]) == "0 texts"


def test_a_folder_of_a_users_own_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="what the harness fetches itself; leave --data out"):
        next(EXAM.questions(tmp_path, silent))


def test_a_few_steps_lower_the_loss_and_what_is_broken_off_ends_at_identical_weights(
    made_up: Pieces, tmp_path: Path
) -> None:
    pytest.importorskip("tensorflow")
    from model_zoo.scene_lesson import Course, SceneLesson
    from model_zoo.words_lesson import words_pupil

    pupil = words_pupil(TINY, CAFFE_MEAN, exam_of("images", CAFFE_MEAN, TextBoxes(map_sizes(TINY))))
    lesson = partial(SceneLesson.of, pupil, Course(3, scenes=48), (made_up, made_up), 0)
    whole, resumed = lesson(), lesson()
    assert whole.steps == 6
    assert (whole.weights["conv4_3_norm/gamma"].numpy() == 20).all()
    reports = teach(whole, "key", 3, tmp_path / "whole.npz")
    losses = [next(reports).loss]
    shutil.copy(tmp_path / "whole.npz", tmp_path / "resume.npz")
    losses += [report.loss for report in reports]
    assert losses[2] < losses[1] < losses[0]
    assert [report.epoch for report in teach(resumed, "key", 3, tmp_path / "resume.npz")] == [2, 3]
    for name, array in weights_of(whole).items():
        np.testing.assert_array_equal(array, weights_of(resumed)[name], err_msg=name)


def test_truth_is_every_word_of_a_scene(made_up: Pieces) -> None:
    found = scene(made_up, 0)
    truth = truth_of(found)
    assert len(truth.outlines) == len(found.texts)
    for outline, box in zip(truth.outlines, found.boxes, strict=True):
        np.testing.assert_allclose(outline.mean(axis=0), box[:2])
        np.testing.assert_allclose(np.linalg.norm(outline[1] - outline[0]), box[2])


@pytest.mark.heavy
def test_it_exports_with_weights_that_it_was_taught(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    pytest.importorskip("shapely")
    from exporters.export import export
    from model_zoo.scene_lesson import Course, SceneLesson

    variant = get_variant(get_model("seglink"), "words")
    assert variant.training is not None
    try:
        lesson = variant.training.lesson(0, silent)
    except UnavailableError as error:
        pytest.skip(str(error))
    assert isinstance(lesson, SceneLesson)
    short = replace(lesson, course=Course(1, scenes=400))
    list(short.epoch(0))
    assert list(short.scores()) == [get_measure("text-f-measure").title]
    write_arrays(tmp_path / "w.npz", weights_of(short))
    source = variant.build["tensorflow"](tmp_path / "w.npz")
    feed = next(variant.feeds("tensorflow").batches(8, Split.EVALUATION))
    assert export(source, tmp_path / "m.onnx", [feed]).parameters == variant.counts["tensorflow"].parameters
