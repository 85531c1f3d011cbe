"""What each data set's samples and truths are, and what each notices, worked out from its documentation."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from model_zoo.census import NUMBERS
from model_zoo.datasets import Report, check, get_data_set, samples
from model_zoo.datasets.planetoid import _PARTS
from model_zoo.labels import COCO_CLASSES, VOC_CLASSES
from model_zoo.metrics import METRICS
from model_zoo.metrics.objects import FoundMasks
from runtime.errors import UsageError
from tests.model_zoo.dataset_folders import (
    COCO_NOTE,
    MAKERS,
    PERSON,
    SYNSETS,
    VOC_NOTE,
    coco_file,
    imagenet,
    picture,
    squad_file,
    write,
)


def report(name: str, folder: Path) -> Report:
    data_set = get_data_set(name)
    root = data_set.root(folder)
    assert root is not None
    return check(data_set, root)


def problems(name: str, folder: Path) -> dict[str, int]:
    return {problem.what: problem.count for problem in report(name, folder).problems}


def test_imagenet_labels_are_of_the_names(tmp_path: Path) -> None:
    imagenet(tmp_path)
    assert [sample.truth for sample in samples("imagenet", tmp_path)] == [65, 970, 0]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("ILSVRC2012_val_00000001.JPEG 65\n", {"the image has no label": 2}),
        (
            "ILSVRC2012_val_00000001.JPEG 1\nILSVRC2012_val_00000001.JPEG 2\nno label\n"
            "ILSVRC2012_val_00000002.JPEG 1000\nILSVRC2012_val_00000003.JPEG 7\n"
            "ILSVRC2012_val_00000009.JPEG 7\n",
            {
                "an image is listed twice": 1,
                "a line is not NAME LABEL": 1,
                "a listed image is missing": 1,
                "a label is not within 0 to 999": 1,
            },
        ),
    ],
)
def test_imagenet_lists_that_do_not_fit_are_noticed(
    lines: str, expected: dict[str, int], tmp_path: Path
) -> None:
    imagenet(tmp_path)
    write(tmp_path / "val.txt", lines)
    assert problems("imagenet", tmp_path) == expected


def test_imagenet_synsets_are_numbered_in_alphabetical_order(tmp_path: Path) -> None:
    """TensorFlow's list: the synset of each image, by the image's number."""
    imagenet(tmp_path)
    (tmp_path / "val.txt").unlink()
    lines = [SYNSETS[970], SYNSETS[0], SYNSETS[65], *SYNSETS]
    labels = write(tmp_path / "imagenet_2012_validation_synset_labels.txt", "\n".join(lines))
    assert [sample.truth for sample in samples("imagenet", tmp_path)] == [970, 0, 65]
    write(labels, "\n".join(lines[:2]))
    assert problems("imagenet", tmp_path) == {
        "it names 2 synsets, expected 1,000: places among them are labels": 1,
        "2 labels for 3 images": 1,
        "the image has no label": 1,
    }


def test_imagenets_development_kit_numbers_classes_in_another_order(tmp_path: Path) -> None:
    imagenet(tmp_path)
    (tmp_path / "val.txt").unlink()
    kit = tmp_path / "ILSVRC2012_devkit_t12/data"
    write(kit / "ILSVRC2012_validation_ground_truth.txt", "1000\n1\n490\n")
    with pytest.raises(UsageError, match=r"meta\.mat does not say which synset a number of .* is"):
        list(samples("imagenet", tmp_path))
    kinds = [("ILSVRC2012_ID", "<i4"), ("WNID", "O")]
    rows = [(number, synset) for number, synset in enumerate(reversed(SYNSETS), 1)] + [(1001, "n99999999")]
    savemat(kit / "meta.mat", {"synsets": np.array(rows, dtype=kinds)})
    assert [sample.truth for sample in samples("imagenet", tmp_path)] == [0, 999, 510]


def test_imagenet_folders_are_numbered_in_alphabetical_order_and_counted(tmp_path: Path) -> None:
    MAKERS["imagenet-folders"](tmp_path)
    assert [sample.truth for sample in samples("imagenet-folders", tmp_path)] == list(range(1000))
    next((tmp_path / SYNSETS[5]).iterdir()).unlink()
    picture(tmp_path / "n09999999/extra.jpg")
    assert problems("imagenet-folders", tmp_path) == {
        "1001 folders of synsets, expected 1,000: places among them are labels": 1,
        "a synset has no images": 1,
    }


def test_voc_boxes_are_edges_of_pixels_counted_from_1(tmp_path: Path) -> None:
    MAKERS["voc2007"](tmp_path)
    truth = next(samples("voc2007", tmp_path)).truth
    assert [VOC_CLASSES[label] for label in truth.labels] == ["dog", "person"]
    assert truth.corners.tolist() == [[2, 4, 12, 20], [0, 0, 4, 6]]
    assert truth.ignored.tolist() == [False, True]
    assert truth.size == (20, 20)
    assert report("voc2007", tmp_path).counts == {"images": 2, "objects": 2, "difficult objects": 2}


@pytest.mark.parametrize(
    ("note", "problem"),
    [
        (VOC_NOTE.replace("dog", "unicorn"), "a box has no class, is empty or leaves the image"),
        (VOC_NOTE.replace("<xmax>12", "<xmax>21"), "a box has no class, is empty or leaves the image"),
        (VOC_NOTE.replace("<ymax>6", "<ymax>0"), "a box has no class, is empty or leaves the image"),
        (VOC_NOTE.replace("<xmin>3</xmin>", ""), "the annotation cannot be read"),
        (VOC_NOTE[:-20], "the annotation cannot be read"),
        ('<!DOCTYPE a [<!ENTITY b "c">]>' + VOC_NOTE, "the annotation declares entities"),
    ],
)
def test_voc_annotations_that_are_wrong_are_noticed(note: str, problem: str, tmp_path: Path) -> None:
    MAKERS["voc2007"](tmp_path)
    write(tmp_path / "VOCdevkit/VOC2007/Annotations/000002.xml", note)
    assert problems("voc2007", tmp_path) == {problem: 1}


def test_voc_images_that_are_missing_are_named(tmp_path: Path) -> None:
    MAKERS["voc2007"](tmp_path)
    root = tmp_path / "VOCdevkit/VOC2007"
    write(root / "ImageSets/Main/test.txt", "000001\n000002\n000003\n000001\n")
    (root / "Annotations/000002.xml").unlink()
    found = report("voc2007", tmp_path)
    assert {problem.what: problem.examples for problem in found.problems} == {
        "the annotation is missing": ("Annotations/000002.xml",),
        "the image is missing": ("JPEGImages/000003.jpg",),
        "the sample is there twice": ("000001",),
    }


def test_coco_truths_have_our_numbers_and_its_own_areas(tmp_path: Path) -> None:
    MAKERS["coco"](tmp_path)
    first, second = samples("coco", tmp_path)
    assert (first.name, second.name) == ("139", "285")
    assert [COCO_CLASSES[label] for label in first.truth.labels] == ["dog"]
    assert first.truth.corners.tolist() == [[2, 3, 12, 8]]
    assert first.truth.areas.tolist() == [44.5]
    assert len(second.truth) == 0  # of images without objects, whatever is found is wrong


def test_a_mask_like_cocos_own_outline_is_right_in_the_metric(tmp_path: Path) -> None:
    MAKERS["coco"](tmp_path)
    metric = METRICS["coco-mask-ap"].make()
    for sample in samples("coco", tmp_path):
        mask = np.zeros((20, 20), bool)
        mask[3:8, 2:12] = True
        found = FoundMasks(sample.truth.labels, np.ones(len(sample.truth)), [mask] * len(sample.truth))
        metric.add(sample.truth, found)
    assert metric.value() == pytest.approx(1)


def test_coco_key_points_are_17_of_a_person(tmp_path: Path) -> None:
    MAKERS["coco-keypoints"](tmp_path)
    truth = next(samples("coco-keypoints", tmp_path)).truth
    assert truth.key_points.shape == (1, 17, 3)
    assert truth.key_points[0, 0].tolist() == [5, 6, 2]
    assert truth.outlines is None


def test_coco_annotations_that_belong_nowhere_are_noticed(tmp_path: Path) -> None:
    MAKERS["coco"](tmp_path)
    notes = [dict(COCO_NOTE), COCO_NOTE | {"image_id": 5}, COCO_NOTE | {"category_id": 2, "id": 9}]
    categories: list[dict[str, object]] = [{"id": 18, "name": "dog"}, {"id": 2, "name": "unicorn"}]
    write(tmp_path / "annotations/instances_val2017.json", coco_file(notes, categories))
    (tmp_path / f"val2017/{285:012}.jpg").unlink()
    assert problems("coco", tmp_path) == {
        "a category is none of COCO's": 1,
        "an annotation is of no image or no category": 2,
        "the image is missing": 1,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no COCO file"),
        ("[]", r"is no COCO file \(TypeError"),
        ('{"images": []}', r"is no COCO file \(KeyError: 'categories'"),
        ('{"images": [{"id": 1}], "categories": [], "annotations": []}', r"\(KeyError: 'file_name'"),
        ('{"images": [], "categories": [], "annotations": [5]}', r"is no COCO file \(TypeError"),
    ],
)
def test_a_json_that_is_not_cocos_is_refused(text: str, message: str, tmp_path: Path) -> None:
    MAKERS["coco"](tmp_path)
    write(tmp_path / "annotations/instances_val2017.json", text)
    with pytest.raises(UsageError, match=message):
        list(samples("coco", tmp_path))


@pytest.mark.parametrize("field", [{"bbox": [1, 2, 3]}, {"bbox": None}, {"area": "wide"}])
def test_coco_annotations_that_cannot_be_read_are_noticed(field: dict[str, object], tmp_path: Path) -> None:
    MAKERS["coco"](tmp_path)
    categories: list[dict[str, object]] = [{"id": 18, "name": "dog"}]
    write(tmp_path / "annotations/instances_val2017.json", coco_file([COCO_NOTE | field], categories))
    assert problems("coco", tmp_path) == {"its annotations cannot be read": 1}


def test_icdar_texts_may_hold_commas_and_hashes_are_not_cared_for(tmp_path: Path) -> None:
    MAKERS["icdar15"](tmp_path)
    found = list(samples("icdar15", tmp_path))
    assert [sample.name for sample in found] == ["img_1", "img_2", "img_10"]
    truth = found[0].truth
    assert truth.outlines[0].tolist() == [[1, 2], [11, 2], [11, 8], [1, 8]]
    assert truth.cared_for.tolist() == [True, False]
    assert report("icdar15", tmp_path).counts == {"images": 3, "texts": 3, "texts not cared for": 3}


def test_synth90k_words_are_those_of_the_names_and_of_the_lexicon(tmp_path: Path) -> None:
    MAKERS["synth90k"](tmp_path)
    assert [sample.truth for sample in samples("synth90k", tmp_path)] == ["lube", "zoo"]
    lines = "./2425/1/115_Lube_1.jpg 0\n./2425/1/116_ZOO_2.jpg 99\n./9/9/1_zoo_2.jpg 2\nfolder/name.jpg\n"
    write(tmp_path / "mnt/ramdisk/max/90kDICT32px/annotation_test.txt", lines)
    assert problems("synth90k", tmp_path) == {
        "the lexicon has another word at that place": 2,
        "the image is missing": 1,
        "a line is not FOLDER/NUMBER_WORD_PLACE.jpg PLACE": 1,
    }


def test_amazon_asks_for_the_last_product_in_time(tmp_path: Path) -> None:
    """Users A and B are 0 and 1, P1 to P4 are 0 to 3; Cables, Lenses and Phones are 0, 1 and 2."""
    MAKERS["amazon"](tmp_path)
    first, second = samples("amazon", tmp_path)
    assert (first.name, second.name) == ("A", "B")
    assert first.raw.items.tolist() == [0, 2]
    assert first.raw.categories.tolist() == [0, 0]
    asked = dict(zip(first.raw.candidates.tolist(), first.truth.tolist(), strict=True))
    assert asked == {3: True, 1: False}  # P2 is the only one that A never reviewed
    categories = dict(
        zip(first.raw.candidates.tolist(), first.raw.candidate_categories.tolist(), strict=True)
    )
    assert categories == {3: 1, 1: 2}
    assert second.raw.items.tolist() == [0, 1]
    assert second.raw.candidates[second.truth].tolist() == [2]
    assert set(second.raw.candidates.tolist()) == {2, 3}


def test_amazon_lines_that_are_no_reviews_are_noticed(tmp_path: Path) -> None:
    MAKERS["amazon"](tmp_path)
    path = tmp_path / "reviews_Electronics_5.json"
    more = '{"reviewerID": "C", "asin": "P8", "unixReviewTime": 1}\n{"asin": "P1"}\nnot json\n'
    write(path, path.read_text(encoding="utf-8") + more)
    found = report("amazon", tmp_path)
    assert {problem.what: problem.examples for problem in found.problems} == {
        "a line is no review": (f"{path.name}, line 8", f"{path.name}, line 9"),
        "a product has no category": ("P8",),
        "a user has one review only": ("C",),
    }


def test_census_people_have_their_numbers_and_an_income(tmp_path: Path) -> None:
    MAKERS["census-income"](tmp_path)
    first, second = samples("census-income", tmp_path)
    assert dict(zip(NUMBERS, first.raw.numbers[0].tolist(), strict=True)) == {
        "age": 39, "capital_gain": 2174, "capital_loss": 0, "education_num": 13, "hours_per_week": 40,
    }  # fmt: skip
    assert first.raw.words["workclass"].tolist() == ["State-gov"]
    assert (first.truth, second.truth) == (False, True)


def test_census_lines_that_are_no_people_are_noticed(tmp_path: Path) -> None:
    lines = f"{PERSON}<=50K.\n{PERSON}50K.\n39, State-gov\n{PERSON.replace('39', 'old')}>50K.\n"
    write(tmp_path / "adult.test", lines)
    assert problems("census-income", tmp_path) == {
        "an income is neither <=50K nor >50K": 1,
        "a line is not 15 values of a person": 2,
    }


def test_movielens_holds_the_last_movie_of_each_user_first(tmp_path: Path) -> None:
    MAKERS["movielens-100k"](tmp_path)
    found = list(samples("movielens-100k", tmp_path))
    assert [sample.name for sample in found] == ["user 0", "user 1", "user 2"]
    for sample in found:
        _, candidates = sample.raw
        assert len(set(candidates.tolist())) == 100
        assert candidates[sample.truth] == 6  # the movies are 1 to 260, and the seventh was the last in time
    assert len({sample.truth for sample in found}) > 1  # so that another user's answer is no answer


def test_movielens_files_with_malformed_lines_are_not_split(tmp_path: Path) -> None:
    MAKERS["movielens-1m"](tmp_path)
    path = tmp_path / "ratings.dat"
    write(path, path.read_text(encoding="utf-8") + "1::1::5::9\n7::1::5\n")
    found = report("movielens-1m", tmp_path)
    assert {problem.what: problem.examples for problem in found.problems} == {
        "a user has rated a movie twice": ("ratings.dat, line 261",),
        "a line is not user, item, rating and time": ("ratings.dat, line 262",),
    }
    assert found.counts == {"users": 0}


def test_cora_is_one_network_whose_tested_papers_are_judged(tmp_path: Path) -> None:
    MAKERS["cora"](tmp_path)
    counts = report("cora", tmp_path).counts
    assert counts == {"networks": 1, "papers": 3, "words": 3, "links": 2, "classes": 2, "papers tested": 0}
    write(tmp_path / "cora.content", "p1 1 0 maths\np1 1 0 maths\n")
    with pytest.raises(UsageError, match="has 2 papers with 1 different names"):
        list(samples("cora", tmp_path))


def test_planetoids_pickles_may_make_arrays_and_nothing_else(tmp_path: Path) -> None:
    for part in _PARTS:
        write(tmp_path / f"ind.cora.{part}", "")
    (tmp_path / "ind.cora.allx").write_bytes(pickle.dumps(Path("/")))
    with pytest.raises(
        UsageError, match=r"ind.cora.allx is no part of a Planetoid data set: it asks for pathlib"
    ):
        list(samples("planetoid-cora", tmp_path))


def test_planetoid_parts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    for part in _PARTS:
        (tmp_path / f"ind.cora.{part}").write_bytes(pickle.dumps([1, 2], protocol=2))
    write(tmp_path / "ind.cora.test.index", "seven")
    with pytest.raises(UsageError, match=r"the parts of ind.cora in .* do not fit together \(ValueError"):
        list(samples("planetoid-cora", tmp_path))


def test_wmt_lines_are_pairs(tmp_path: Path) -> None:
    MAKERS["wmt"](tmp_path)
    found = [(sample.raw, sample.truth) for sample in samples("wmt", tmp_path)]
    assert found == [("Ein Satz .", "A sentence ."), ("Noch einer .", "Another one .")]


def test_wmt_files_of_different_length_and_without_counterpart_are_noticed(tmp_path: Path) -> None:
    MAKERS["wmt"](tmp_path)
    write(tmp_path / "newstest2014.en", "A sentence .\n\nA third\u2028one .\n")
    write(tmp_path / "newstest2013.de", "Allein .\n")
    found = report("wmt", tmp_path)
    assert {problem.what: problem.examples for problem in found.problems} == {
        "a file has no counterpart": ("newstest2013.de",),
        "2 lines against 3": ("newstest2014.de and newstest2014.en",),
        "a sentence is missing or empty": ("newstest2014, line 2", "newstest2014, line 3"),
    }
    (tmp_path / "newstest2014.de").unlink()
    with pytest.raises(UsageError, match=r"newstest2013\.de: a file has no counterpart"):
        list(samples("wmt", tmp_path))


def test_squad_questions_have_the_answers_people_gave(tmp_path: Path) -> None:
    MAKERS["squad"](tmp_path)
    (sample,) = samples("squad", tmp_path)
    assert (sample.raw.question, sample.raw.context) == ("Who won?", "Denver Broncos won.")
    assert sample.truth == ("Denver Broncos", "Broncos")


def test_squad_answers_that_are_elsewhere_and_other_versions_are_noticed(tmp_path: Path) -> None:
    write(tmp_path / "dev-v1.1.json", squad_file("v2.0", start=3))
    assert problems("squad", tmp_path) == {
        "it says version 'v2.0', expected '1.1'": 1,
        "an answer is not where it is said to be": 1,
    }
    read = json.loads(squad_file())
    read["data"][0]["paragraphs"][0]["qas"][0]["answers"] = []
    write(tmp_path / "dev-v1.1.json", json.dumps(read))
    assert problems("squad", tmp_path) == {"a question has no answer": 1}
    read["data"][0]["paragraphs"][0]["context"] = None
    write(tmp_path / "dev-v1.1.json", json.dumps(read))
    with pytest.raises(
        UsageError, match=r"is not a SQuAD file \(TypeError: a text is none\); give dev-v1.1.json"
    ):
        list(samples("squad", tmp_path))
