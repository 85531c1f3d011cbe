"""The table of models, and the digest of what they are made of."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from model_zoo.catalog import MODELS, digest_of_tree, get_model, get_variant, source_digest
from runtime.errors import UsageError

REPOSITORY = Path(__file__).resolve().parents[2]


def test_names_are_in_order() -> None:
    assert list(MODELS) == sorted(MODELS)


def test_an_unknown_model_is_answered_with_the_nearest_names() -> None:
    with pytest.raises(UsageError, match=r"unknown model 'resnet5': did you mean resnet50 or resnet101"):
        get_model("resnet5")


def test_an_unknown_variant_is_answered_with_the_valid_ones() -> None:
    spec = get_model("resnet50")
    with pytest.raises(UsageError, match=r"unknown variant of resnet50 'v1.5': valid: \"\""):
        get_variant(spec, "v1.5")
    assert get_variant(spec, "") is spec.variants[""]


def test_feeds_of_an_unknown_framework_are_refused() -> None:
    with pytest.raises(UsageError, match=r"unknown framework of resnet50 'cafe': did you mean caffe\?"):
        get_model("resnet50").variants[""].feeds("cafe")


def test_a_model_is_described_without_loading_its_framework() -> None:
    script = (
        "import sys; from model_zoo.catalog import MODELS, get_model;"
        "models = [get_model(name) for name in MODELS];"
        "print(sorted({'tensorflow', 'google.protobuf', 'onnx', 'cv2', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_source_digest_is_that_of_this_checkout() -> None:
    assert source_digest() == digest_of_tree(REPOSITORY)


@pytest.mark.parametrize(
    ("edited", "counts"),
    [
        ("model_zoo/resnet.py", True),
        ("model_zoo/statistics/resnet50.npz", True),
        ("exporters/caffe/caffe.proto", True),
        ("model_zoo/notes.txt", False),
        ("model_zoo/__pycache__/resnet.cpython-311.pyc", False),
        ("runtime/errors.py", False),
    ],
)
def test_digest_changes_with_what_decides_a_models_bytes(tmp_path: Path, edited: str, counts: bool) -> None:
    for package in ("model_zoo", "exporters", "runtime"):
        shutil.copytree(REPOSITORY / package, tmp_path / package)
    before = digest_of_tree(tmp_path)
    (tmp_path / edited).parent.mkdir(exist_ok=True)
    with (tmp_path / edited).open("ab") as stream:
        stream.write(b"\n")
    assert (digest_of_tree(tmp_path) != before) is counts


def test_digest_changes_with_a_files_name(tmp_path: Path) -> None:
    (tmp_path / "model_zoo").mkdir()
    (tmp_path / "model_zoo" / "a.py").write_bytes(b"x")
    before = digest_of_tree(tmp_path)
    (tmp_path / "model_zoo" / "a.py").rename(tmp_path / "model_zoo" / "b.py")
    assert digest_of_tree(tmp_path) != before
