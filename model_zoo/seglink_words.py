"""A SegLink of an eighth of its width that is taught to find rendered words (`word_scenes`)."""

from __future__ import annotations

from dataclasses import replace

from model_zoo.framing import Warp
from model_zoo.layers_model import InFramework, variant_of
from model_zoo.seglink_layers import CAFFE_MEAN, Sizes, map_sizes, seglink_network
from model_zoo.spec import Lesson, Training, Variant
from model_zoo.text_boxes import TextBoxes
from model_zoo.word_scenes import SIDE, word_scene_set
from model_zoo.words_exam import exam_of
from runtime.progress import Progress

_DATA = "rendered words pasted on photographs; other words and photographs are held out"
_EPOCHS = 8

NETWORK = seglink_network(
    Sizes("seglink-words", 8, (SIDE, SIDE), normalised=True, statistics="seglink-words")
)
# The best of a grid, as the paper finds them; on scenes that were not learned, of pieces that were.
TASK = TextBoxes(map_sizes(NETWORK), segment=0.8, link=0.3)
EXAM = exam_of(NETWORK.input_name, CAFFE_MEAN, TASK)


def words_variant() -> Variant:
    """It has normalisations that the reference lacks: that begins with ImageNet's weights, this with none."""
    shown = InFramework(NETWORK, CAFFE_MEAN, framing=Warp(), order="BGR", images=word_scene_set)
    description = f"SegLink on VGG-16, an eighth as wide, normalised, {SIDE}x{SIDE}, for words on photographs"
    variant = variant_of(
        "seglink",
        f"{description}; bench train teaches it",
        {"tensorflow": shown},
        TASK,
    )
    return replace(variant, training=Training(_DATA, _lesson), exams=(EXAM,))


def _lesson(seed: int, progress: Progress) -> Lesson:
    from model_zoo.scene_lesson import Course, SceneLesson
    from model_zoo.words_lesson import words_pupil

    pupil = words_pupil(NETWORK, CAFFE_MEAN, EXAM)
    return SceneLesson.from_archives(pupil, Course(_EPOCHS), seed, progress)
