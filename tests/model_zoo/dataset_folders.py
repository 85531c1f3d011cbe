"""A tiny folder in the official layout of every data set that can be read, with nothing wrong in it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import PIL.Image

SYNSETS = [f"n{number:08}" for number in range(1, 1001)]


def picture(path: Path, seed: int = 0, side: int = 20) -> Path:
    """An image of noise; another seed gives another file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (side, side, 3), np.uint8)
    PIL.Image.fromarray(pixels).save(path, "JPEG")
    return path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def imagenet(folder: Path) -> None:
    """Three images with Caffe's val.txt."""
    for number in (1, 2, 3):
        picture(folder / f"ILSVRC2012_val_{number:08}.JPEG", number)
    lines = (f"ILSVRC2012_val_{number:08}.JPEG {label}" for number, label in ((1, 65), (2, 970), (3, 0)))
    write(folder / "val.txt", "\n".join(lines) + "\n")


def imagenet_folders(folder: Path) -> None:
    """One image a synset; two synsets have their own, all others a copy each of a third."""
    copy = picture(folder / SYNSETS[0] / "ILSVRC2012_val_00000001.JPEG", 1).read_bytes()
    for number, synset in enumerate(SYNSETS[1:], 2):
        (folder / synset).mkdir()
        # what follows the end of a JPEG is not read, and makes the files differ
        name = f"ILSVRC2012_val_{number:08}.JPEG"
        (folder / synset / name).write_bytes(copy + str(number).encode())


VOC_NOTE = """<annotation><size><width>20</width><height>20</height><depth>3</depth></size>
<object><name>dog</name><difficult>0</difficult>
<bndbox><xmin>3</xmin><ymin>5</ymin><xmax>12</xmax><ymax>20</ymax></bndbox></object>
<object><name>person</name><difficult>1</difficult>
<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>4</xmax><ymax>6</ymax></bndbox></object></annotation>"""


def voc2007(folder: Path) -> None:
    root = folder / "VOCdevkit/VOC2007"
    write(root / "ImageSets/Main/test.txt", "000001\n000002\n")
    for number, name in enumerate(("000001", "000002")):
        picture(root / f"JPEGImages/{name}.jpg", number)
        write(root / f"Annotations/{name}.xml", VOC_NOTE)


COCO_NOTE = {
    "id": 7,
    "image_id": 139,
    "category_id": 18,
    "bbox": [2, 3, 10, 5],
    "area": 44.5,
    "iscrowd": 0,
    "segmentation": [[2, 3, 12, 3, 12, 8, 2, 8]],
}


def coco_file(notes: list[dict[str, object]], categories: list[dict[str, object]]) -> str:
    images = [{"id": id_, "file_name": f"{id_:012}.jpg", "height": 20, "width": 20} for id_ in (285, 139)]
    return json.dumps({"images": images, "annotations": notes, "categories": categories})


def coco(folder: Path) -> None:
    """Two images, in one of them a dog; categories have COCO's own numbers."""
    categories: list[dict[str, object]] = [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}]
    write(folder / "annotations/instances_val2017.json", coco_file([dict(COCO_NOTE)], categories))
    for number in (139, 285):
        picture(folder / f"val2017/{number:012}.jpg", number)


def coco_keypoints(folder: Path) -> None:
    note = COCO_NOTE | {"category_id": 1, "keypoints": [5, 6, 2] + [0] * 48, "num_keypoints": 1}
    text = coco_file([note], [{"id": 1, "name": "person"}])
    write(folder / "annotations/person_keypoints_val2017.json", text)
    for number in (139, 285):
        picture(folder / f"val2017/{number:012}.jpg", number)


def icdar15(folder: Path) -> None:
    for number in (1, 2, 10):
        picture(folder / f"ch4_test_images/img_{number}.jpg", number)
        text = f"\ufeff1,2,11,2,11,8,1,8,word, {number}\r\n3,3,9,3,9,9,3,9,###\r\n"
        write(folder / f"Challenge4_Test_Task1_GT/gt_img_{number}.txt", text)


def synth90k(folder: Path) -> None:
    root = folder / "mnt/ramdisk/max/90kDICT32px"
    write(root / "lexicon.txt", "Apple\nlube\nzoo\n")
    write(root / "annotation_test.txt", "./2425/1/115_Lube_1.jpg 1\n./2425/1/116_ZOO_2.jpg 2\n")
    picture(root / "2425/1/115_Lube_1.jpg", 1)
    picture(root / "2425/1/116_ZOO_2.jpg", 2)


def amazon(folder: Path) -> None:
    """Users B and A; B reviewed three products out of order, A two; P4 is nobody's but one's."""
    rows = [("B", "P2", 20), ("B", "P1", 10), ("A", "P3", 5), ("B", "P3", 30), ("A", "P4", 6), ("A", "P1", 4)]
    reviews = (json.dumps({"reviewerID": u, "asin": i, "unixReviewTime": t}) for u, i, t in rows)
    write(folder / "reviews_Electronics_5.json", "\n".join(reviews) + "\n")
    kinds = {"P1": "Cables", "P2": "Phones", "P3": "Cables", "P4": "Lenses", "P9": "Unused"}
    lines = (
        str({"asin": item, "categories": [["All"], ["Electronics", kind]]}) for item, kind in kinds.items()
    )
    with gzip.open(folder / "meta_Electronics.json.gz", "wt", encoding="utf-8") as stream:
        stream.write("\n".join(lines) + "\n")


PERSON = (
    "39, State-gov, 77516, Bachelors, 13, Never-married, Adm-clerical, Not-in-family, White, Male, 2174, 0,"
    " 40, United-States, "
)


def census_income(folder: Path) -> None:
    younger = PERSON.replace("39", "25")
    write(folder / "adult.test", f"|1x3 Cross validator\n{PERSON}<=50K.\n{younger}>50K.\n\n")


def census_income_training(folder: Path) -> None:
    write(folder / "adult.data", f"{PERSON}<=50K\n{PERSON.replace('39', '25')}>50K\n\n")


def movielens_100k(folder: Path) -> None:
    """Users 1 to 3; user 4 to 263 have one rating each, so that there are enough movies."""
    rows = [(user, movie, 5, time) for user in (1, 2, 3) for movie, time in ((9, 2), (7, 3), (8, 1))]
    rows += [(3 + movie, movie, 4, 1) for movie in range(1, 261)]
    write(folder / "ml-100k/u.data", "".join("\t".join(map(str, row)) + "\n" for row in rows))


def movielens_1m(folder: Path) -> None:
    rows = [(1, movie, 5, movie) for movie in (1, 2)] + [(movie, movie, 4, 1) for movie in range(2, 260)]
    write(folder / "ratings.dat", "".join("::".join(map(str, row)) + "\n" for row in rows))


def cora(folder: Path) -> None:
    write(folder / "cora.content", "p1 1 0 1 maths\np2 0 1 0 physics\np3 1 1 0 maths\n")
    write(folder / "cora.cites", "p1 p2\np2 p3\n")


def wmt(folder: Path) -> None:
    write(folder / "newstest2014.de", "Ein Satz .\nNoch einer .\n")
    write(folder / "newstest2014.en", "A sentence .\nAnother one .\n")


def squad_file(version: str = "1.1", start: int = 0) -> str:
    answers = [{"text": "Denver Broncos", "answer_start": start}, {"text": "Broncos", "answer_start": 7}]
    asked = [{"id": "q1", "question": "Who won?", "answers": answers}]
    article = {"title": "t", "paragraphs": [{"context": "Denver Broncos won.", "qas": asked}]}
    return json.dumps({"version": version, "data": [article]})


def squad(folder: Path) -> None:
    write(folder / "dev-v1.1.json", squad_file())


MAKERS: Mapping[str, Callable[[Path], None]] = {
    "imagenet": imagenet,
    "imagenet-folders": imagenet_folders,
    "voc2007": voc2007,
    "coco": coco,
    "coco-keypoints": coco_keypoints,
    "icdar15": icdar15,
    "synth90k": synth90k,
    "amazon": amazon,
    "census-income": census_income,
    "census-income-training": census_income_training,
    "movielens-100k": movielens_100k,
    "movielens-1m": movielens_1m,
    "cora": cora,
    "wmt": wmt,
    "squad": squad,
}
"""All but Planetoid's, which are pickles: those are read from the archive that ships them."""
