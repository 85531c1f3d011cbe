"""The metrics that the reference models are judged by, by name (MODELS.md 2.6)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from model_zoo.metrics.area_under_curve import AreaUnderCurve
from model_zoo.metrics.binary_accuracy import BinaryAccuracy
from model_zoo.metrics.bleu import Bleu
from model_zoo.metrics.character_accuracy import CharacterAccuracy
from model_zoo.metrics.character_error_rate import CharacterErrorRate
from model_zoo.metrics.coco_boxes import CocoBoxPrecision
from model_zoo.metrics.coco_key_points import CocoKeyPointPrecision
from model_zoo.metrics.coco_masks import CocoMaskPrecision
from model_zoo.metrics.contract import Measure, Metric, Weights
from model_zoo.metrics.correct_key_points import CorrectKeyPoints
from model_zoo.metrics.grouped_auc import GroupedAuc
from model_zoo.metrics.hit_rate import HitRate
from model_zoo.metrics.ndcg import DiscountedGain
from model_zoo.metrics.squad_exact_match import ExactMatch
from model_zoo.metrics.squad_f1 import WordF1
from model_zoo.metrics.text_f_measure import TextFMeasure
from model_zoo.metrics.top_k import TopK
from model_zoo.metrics.voc_ap import VocMeanPrecision
from model_zoo.metrics.word_accuracy import WordAccuracy
from runtime.errors import unknown_name

__all__ = ["METRICS", "Measure", "Metric", "Weights", "get_measure"]

_CLASS, _SCORES = "the class's number", "scores [classes]"
_OBJECTS, _BOXES = "metrics.objects.TrueObjects", "detection.Found, corners in pixels of the image"
_MASKS = "metrics.objects.FoundMasks"
_HALF = (0.5,)
_POINTS, _PLACES = "metrics.objects.TrueObjects with key points", "metrics.objects.FoundPersons"
_TEXT = "a text"
_PLACE, _CANDIDATES = "the right candidate's place", "scores [candidates]"
_ANSWERS = "the answers that people gave"

_MEASURES = (
    Measure("top-1", "top-1", "ILSVRC; MODELS.md 2.6", _CLASS, _SCORES, partial(TopK, 1)),
    Measure("top-5", "top-5", "ILSVRC; MODELS.md 2.6", _CLASS, _SCORES, partial(TopK, 5)),
    Measure("node-accuracy", "accuracy", "Kipf and Welling 2017", _CLASS, _SCORES, partial(TopK, 1)),
    Measure(
        "binary-accuracy", "accuracy", "MODELS.md 2.6", "whether it happened", "probability", BinaryAccuracy
    ),
    Measure("voc-map", "mAP", "VOC 2007, 11 points", _OBJECTS, _BOXES, VocMeanPrecision),
    Measure("coco-box-ap", "box AP", "pycocotools", _OBJECTS, _BOXES, CocoBoxPrecision),
    Measure("coco-box-ap50", "box AP50", "pycocotools", _OBJECTS, _BOXES, partial(CocoBoxPrecision, _HALF)),
    Measure("coco-mask-ap", "mask AP", "pycocotools", _OBJECTS, _MASKS, CocoMaskPrecision),
    Measure(
        "coco-mask-ap50", "mask AP50", "pycocotools", _OBJECTS, _MASKS, partial(CocoMaskPrecision, _HALF)
    ),
    Measure(
        "coco-keypoint-ap",
        "key point AP",
        "pycocotools",
        _OBJECTS,
        "metrics.objects.FoundPersons",
        CocoKeyPointPrecision,
    ),
    Measure("pck@0.1", "PCK@0.1", "Yang and Ramanan 2013", _POINTS, _PLACES, partial(CorrectKeyPoints, 0.1)),
    Measure(
        "pck@0.05", "PCK@0.05", "Yang and Ramanan 2013", _POINTS, _PLACES, partial(CorrectKeyPoints, 0.05)
    ),
    Measure(
        "text-f-measure",
        "f-measure",
        "ICDAR 2015, challenge 4.1",
        "metrics.objects.TrueText",
        "outlines [corners, 2]",
        TextFMeasure,
    ),
    Measure("word-accuracy", "word accuracy", "MODELS.md 2.6", _TEXT, _TEXT, WordAccuracy),
    Measure("character-accuracy", "character accuracy", "MODELS.md 2.6", _TEXT, _TEXT, CharacterAccuracy),
    Measure(
        "character-error-rate",
        "CER",
        "Levenshtein 1966",
        _TEXT,
        _TEXT,
        CharacterErrorRate,
        lower_is_better=True,
    ),
    Measure("auc", "AUC", "Hanley and McNeil 1982", "whether it happened", "score", AreaUnderCurve),
    Measure(
        "gauc",
        "GAUC",
        "Zhou et al. 2018",
        "which candidates were taken [candidates]",
        _CANDIDATES,
        GroupedAuc,
        ranks_within=True,
    ),
    Measure("hr@10", "HR@10", "He et al. 2017", _PLACE, _CANDIDATES, HitRate, ranks_within=True),
    Measure("ndcg@10", "NDCG@10", "He et al. 2017", _PLACE, _CANDIDATES, DiscountedGain, ranks_within=True),
    Measure("bleu", "BLEU", "sacreBLEU, tok:none smooth:exp", _TEXT, _TEXT, Bleu),
    Measure("squad-exact-match", "exact match", "SQuAD evaluate-v1.1", _ANSWERS, _TEXT, ExactMatch),
    Measure("squad-f1", "F1", "SQuAD evaluate-v1.1", _ANSWERS, _TEXT, WordF1),
)

METRICS: Mapping[str, Measure] = {measure.name: measure for measure in _MEASURES}


def get_measure(name: str) -> Measure:
    """The metric of this name; raises UsageError for another, naming the nearest."""
    if name not in METRICS:
        raise unknown_name("metric", name, METRICS)
    return METRICS[name]
