"""Every data set in a tiny folder of its official layout: recognised, complete, streamed; and damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from model_zoo import archives
from model_zoo.catalog import MODELS, get_model
from model_zoo.datasets import DATA_SETS, Report, check, get_data_set, recognised, samples
from model_zoo.metrics import METRICS
from runtime.errors import StoreError, UnavailableError, UsageError
from tests.model_zoo.dataset_folders import MAKERS, picture, write

each_set = pytest.mark.parametrize("name", sorted(MAKERS))


def report(name: str, folder: Path, *, decode: bool = True) -> Report:
    data_set = get_data_set(name)
    root = data_set.root(folder)
    assert root is not None
    return check(data_set, root, decode=decode)


def problems(found: Report) -> dict[str, int]:
    return {problem.what: problem.count for problem in found.problems}


def test_there_is_a_folder_for_every_set() -> None:
    planetoid = {name for name in DATA_SETS if name.startswith("planetoid-")}
    assert MAKERS.keys() | planetoid == DATA_SETS.keys()


def test_truths_are_for_metrics_that_there_are() -> None:
    for data_set in DATA_SETS.values():
        assert set(data_set.metrics) <= METRICS.keys()
    judged = {metric for data_set in DATA_SETS.values() for metric in data_set.metrics}
    variants = (variant for model in MODELS for variant in get_model(model).variants.values())
    asked = {metric for variant in variants for exam in variant.exams for metric in exam.metrics}
    assert judged | asked == METRICS.keys()


@each_set
def test_a_set_is_recognised_and_complete(name: str, tmp_path: Path) -> None:
    MAKERS[name](tmp_path)
    assert [data_set.name for data_set, _ in recognised(tmp_path)] == [name]
    found = report(name, tmp_path)
    assert found.complete, found
    assert found.counts[get_data_set(name).unit] == len(list(samples(name, tmp_path))) > 0


@each_set
def test_fewer_samples_than_published_are_remarked(name: str, tmp_path: Path) -> None:
    MAKERS[name](tmp_path)
    remarks = [remark.what for remark in report(name, tmp_path, decode=False).remarks]
    expected = (
        [] if name == "cora" else [f"{len(list(samples(name, tmp_path))):,} {get_data_set(name).unit}, and "]
    )
    assert len(remarks) == len(expected)
    assert all(remark.startswith(start) for remark, start in zip(remarks, expected, strict=True))


@each_set
def test_samples_come_in_the_same_order_with_names_of_their_own(name: str, tmp_path: Path) -> None:
    MAKERS[name](tmp_path)
    first, second = ([sample.name for sample in samples(name, tmp_path)] for _ in range(2))
    assert first == second
    assert len(set(first)) == len(first)


@each_set
def test_an_empty_folder_is_no_data_set(name: str, tmp_path: Path) -> None:
    lacking = get_data_set(name).parts[0].patterns[0].replace("*", r"\*").replace("?", r"\?")
    with pytest.raises(UsageError, match=rf"is not .*: it lacks {lacking}"):
        samples(name, tmp_path)


@each_set
def test_a_part_that_is_missing_is_named(name: str, tmp_path: Path) -> None:
    MAKERS[name](tmp_path)
    data_set = get_data_set(name)
    root = data_set.root(tmp_path)
    assert root is not None
    required = [part for part in data_set.parts if not part.optional]
    for pattern in required[-1].patterns:
        for path in root.glob(pattern):
            path.unlink()
    if len(required) == 1:
        assert data_set.root(tmp_path) is None
        return
    found = report(name, tmp_path)
    assert found.missing == (f"{' or '.join(required[-1].patterns)} ({required[-1].what})",)
    assert not found.complete
    assert not found.counts


@pytest.mark.parametrize("name", ["imagenet", "voc2007", "coco", "coco-keypoints", "icdar15", "synth90k"])
def test_an_image_that_does_not_decode_is_named_and_counted(name: str, tmp_path: Path) -> None:
    MAKERS[name](tmp_path)
    broken = sorted(tmp_path.rglob("*.jp*g")) or sorted(tmp_path.rglob("*.JPEG"))
    broken[0].write_bytes(b"no image")
    found = report(name, tmp_path)
    assert problems(found) == {"the image does not decode": 1}
    assert found.problems[0].examples == (str(broken[0]),)
    assert report(name, tmp_path, decode=False).complete


@pytest.mark.parametrize("name", ["imagenet", "voc2007", "coco", "icdar15"])
def test_equal_images_are_remarked_and_no_problem(name: str, tmp_path: Path) -> None:
    MAKERS[name](tmp_path)
    images = sorted(path for path in tmp_path.rglob("*") if path.suffix in {".jpg", ".JPEG"})
    images[1].write_bytes(images[0].read_bytes())
    found = report(name, tmp_path)
    assert found.complete
    assert "two samples hold the same" in [remark.what for remark in found.remarks]


def test_examples_are_few_and_the_count_is_whole(tmp_path: Path) -> None:
    MAKERS["icdar15"](tmp_path)
    for number in range(20, 30):
        write(tmp_path / f"Challenge4_Test_Task1_GT/gt_img_{number}.txt", "")
    (problem,) = report("icdar15", tmp_path).problems
    assert (problem.what, problem.count) == ("the image is missing", 10)
    assert problem.examples == ("img_20.jpg", "img_21.jpg", "img_22.jpg")


def test_what_is_wrong_stops_a_stream_that_nobody_counts_for(tmp_path: Path) -> None:
    MAKERS["icdar15"](tmp_path)
    write(tmp_path / "Challenge4_Test_Task1_GT/gt_img_2.txt", "1,2,3,word\n")
    stream = samples("icdar15", tmp_path)
    assert next(stream).name == "img_1"
    with pytest.raises(
        UsageError, match=r"gt_img_2\.txt, line 1: a line is not eight numbers and a text; mend"
    ):
        next(stream)


def test_a_folder_without_any_set_is_refused_with_all_names(tmp_path: Path) -> None:
    picture(tmp_path / "holiday.jpg")
    with pytest.raises(
        UsageError, match="holds no data set that is known; expected one of imagenet, imagenet-f"
    ):
        recognised(tmp_path)
    with pytest.raises(UsageError, match=r"holiday\.jpg is not a folder"):
        recognised(tmp_path / "holiday.jpg")


def test_an_unknown_set_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="unknown data set 'voc': did you mean voc2007"):
        get_data_set("voc")


def test_a_folder_may_hold_several_sets(tmp_path: Path) -> None:
    MAKERS["coco"](tmp_path)
    MAKERS["coco-keypoints"](tmp_path)
    MAKERS["squad"](tmp_path)
    assert [data_set.name for data_set, _ in recognised(tmp_path)] == ["coco", "coco-keypoints", "squad"]


def truncated_gzip(folder: Path) -> None:
    path = folder / "meta_Electronics.json.gz"
    path.write_bytes(path.read_bytes()[:-12])


def latin_1(file: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / file).write_bytes(b"caf\xe9\n")

    return damage


@pytest.mark.parametrize(
    ("name", "damage", "error", "message"),
    [
        ("amazon", truncated_gzip, StoreError, r"cannot read .*meta_Electronics.json.gz to its end"),
        ("imagenet", latin_1("val.txt"), UsageError, "val.txt is not UTF-8 text"),
        ("squad", latin_1("dev-v1.1.json"), UsageError, "dev-v1.1.json is not UTF-8 text"),
    ],
)
def test_a_file_that_cannot_be_read_is_said_once(
    name: str, damage: Callable[[Path], None], error: type[Exception], message: str, tmp_path: Path
) -> None:
    MAKERS[name](tmp_path)
    damage(tmp_path)
    with pytest.raises(error, match=message):
        list(samples(name, tmp_path))
    found = report(name, tmp_path)
    assert problems(found) == {"it cannot be read": 1}


@pytest.mark.parametrize(
    ("name", "papers", "words", "links"),
    [
        ("cora", 2708, 1433, 5278),
        ("planetoid-citeseer", 3327, 3703, None),
        ("planetoid-pubmed", 19_717, 500, None),
    ],
)
def test_the_real_citation_networks_are_complete(
    name: str, papers: int, words: int, links: int | None
) -> None:
    """Yang et al. 2016, table 1."""
    try:
        folder = archives.fetch("citations") / "pgl/data"
    except UnavailableError as error:
        pytest.skip(str(error))
    found = report(name, folder / name.removeprefix("planetoid-"))
    assert found.complete
    assert (found.counts["papers"], found.counts["words"], found.counts["papers tested"]) == (
        papers,
        words,
        1000,
    )
    assert links in (None, found.counts["links"])
    (sample,) = samples(name, folder / name.removeprefix("planetoid-"))
    assert np.array_equal(sample.truth, sample.raw.subjects[sample.raw.tested])
