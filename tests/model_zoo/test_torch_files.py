"""Torch's files: written by Python's own pickle, read without it; hostile ones end in one line."""

from __future__ import annotations

import pickle
import tarfile
import tracemalloc
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from model_zoo.archives import fetch
from model_zoo.torch_files import read_torch
from model_zoo.torch_pickle import RefusedError, parse
from model_zoo.weights import read_weights
from runtime.errors import UnavailableError, UsageError
from runtime.tensors import Array
from tests.model_zoo.torch_archives import STORAGES, Stored, View, records, save, state_dict, tensor, write

RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(3, 4)).astype(np.float32)
BIAS = RNG.normal(size=(4,)).astype(np.float32)
NAMED: Mapping[str, Array] = {"module.dense.weight": KERNEL, "module.dense.bias": BIAS}
STORED = Stored(KERNEL.reshape(-1))


def assert_same(read: Mapping[str, Array], expected: Mapping[str, Array]) -> None:
    assert set(read) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(read[name], array, strict=True, err_msg=name)


# What torch writes


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".PTH"])
def test_a_state_dict_gives_back_names_and_numbers(suffix: str, tmp_path: Path) -> None:
    assert_same(read_weights(save(tmp_path / f"weights{suffix}", state_dict(NAMED))), NAMED)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_the_pickles_protocol_makes_no_difference(protocol: int, tmp_path: Path) -> None:
    assert_same(read_torch(write(tmp_path / "a.pth", records(state_dict(NAMED), protocol))), NAMED)


@pytest.mark.parametrize("dtype", STORAGES)
@pytest.mark.parametrize("swapped", [False, True])
def test_every_type_is_read_in_either_byte_order(dtype: str, swapped: bool, tmp_path: Path) -> None:
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    numbers = {"t": np.array([[0, 1, 2], [3, 100, 127]]).astype(kind)}
    members = records(state_dict(numbers), swapped=swapped)
    assert_same(read_torch(write(tmp_path / "a.pth", members)), numbers)


def test_without_a_record_numbers_are_little_endian(tmp_path: Path) -> None:
    members = records(state_dict({"t": KERNEL}))
    del members["archive/byteorder"]
    members["archive/data/0"] = KERNEL.astype("<f4").tobytes()
    assert_same(read_torch(write(tmp_path / "a.pth", members)), {"t": KERNEL})


@pytest.mark.parametrize(
    ("view", "expected"),
    {
        "transposed": (View(STORED, 0, (4, 3), (1, 4)), KERNEL.T),
        "a column": (View(STORED, 1, (3,), (4,)), KERNEL[:, 1]),
        "the last value": (View(STORED, 11, (), ()), KERNEL[2, 3]),
        "repeated": (View(STORED, 2, (3, 2), (0, 1)), np.tile(KERNEL[0, 2:], (3, 1))),
        "of no values": (View(STORED, 12, (0, 4), (4, 1)), KERNEL[:0]),
        "a parameter": (View(STORED, 0, (3, 4), (4, 1), parameter=True), KERNEL),
    }.values(),
)
def test_a_tensor_is_a_view_of_its_storage(view: View, expected: Array, tmp_path: Path) -> None:
    path = save(tmp_path / "a.pth", state_dict({"view": view, "whole": View(STORED, 0, (12,), (1,))}))
    assert_same(read_torch(path), {"view": np.asarray(expected), "whole": KERNEL.reshape(-1)})


def test_nobody_can_write_into_what_tensors_share(tmp_path: Path) -> None:
    views = {name: View(STORED, 0, (3, 4), (4, 1)) for name in ("encoder", "decoder")}
    read = read_torch(save(tmp_path / "a.pth", state_dict(views)))
    assert np.shares_memory(read["encoder"], read["decoder"])
    assert not read["encoder"].flags.writeable


@pytest.mark.parametrize("name", ["state_dict", "model_state_dict", "model"])
def test_the_state_dict_is_found_beside_an_optimisers(name: str, tmp_path: Path) -> None:
    moments = {0: {"exp_avg": tensor(KERNEL), "step": 7}}
    optimizer = {"state": moments, "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.999), "params": [0]}]}
    others = {"epoch": 3, "loss": tensor(BIAS[0]), "best": None, "amsgrad": True}
    saved = {**others, "optimizer": optimizer, name: state_dict(NAMED)}
    assert_same(read_torch(save(tmp_path / "a.pth", saved)), NAMED)


def test_what_is_no_tensor_is_no_weight(tmp_path: Path) -> None:
    entries = state_dict(NAMED)
    mixed: OrderedDict[str, object] = OrderedDict(entries)
    mixed["module._extra_state"] = None
    assert_same(read_torch(save(tmp_path / "a.pth", mixed)), NAMED)


def test_easyocrs_own_file_is_read() -> None:
    """The sums are torch 2.13's, of what it reads with weights_only=True."""
    try:
        read = read_torch(fetch("english-g2") / "easyocr_en_models/models/english_g2.pth")
    except UnavailableError as error:
        pytest.skip(str(error))
    assert sum(array.size for array in read.values()) == 3_782_371
    sums = {
        "Prediction.weight": 3.8799360458929186,
        "SequenceModeling.1.rnn.weight_hh_l0_reverse": -170.06600639645376,
        "FeatureExtraction.ConvNet.12.num_batches_tracked": 200_000,
    }
    found = {name: read[f"module.{name}"].sum(dtype=np.float64) for name in sums}
    assert found == pytest.approx(sums, rel=1e-9)


# What nobody should be sent


class Trap:
    """What it unpickles to shows that the file was run."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return (pytest.fail, ("a pickle was run",))


def test_anything_else_that_is_named_is_refused_and_not_run(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pth", OrderedDict(trap=Trap(), weight=tensor(KERNEL)))
    with pytest.raises(
        UsageError, match=r"a\.pth name '_pytest\..*', which .* not run; save the model's state_dict"
    ) as e:
        read_torch(path)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("function", [eval, getattr, __import__, OrderedDict.fromkeys])
def test_no_function_of_pythons_is_called(function: object, protocol: int) -> None:
    with pytest.raises(RefusedError):
        parse(pickle.dumps(function, protocol))


def test_a_name_with_a_backslash_is_refused_without_a_warning() -> None:
    with pytest.raises(RefusedError, match=r"os\.\\\\popen"):
        parse(b"cos\n\\popen\n.")


@pytest.mark.parametrize(
    ("program", "operation"),
    {
        "an old instance": (b"(ios\nsystem\n.", "INST"),
        "a class called": (b"(cos\nsystem\no.", "'os.system'"),
        "an extension": (b"\x82\x01.", "EXT1"),
        "a set": (b"\x8f.", "EMPTY_SET"),
        "a long number": (pickle.dumps(1 << 9000), "LONG4"),
    }.values(),
)
def test_an_operation_that_no_state_dict_needs_is_refused(program: bytes, operation: str) -> None:
    with pytest.raises(RefusedError, match=operation):
        parse(program)


DAMAGED_PROGRAMS = {
    "empty": (b"", "no|exhausted"),
    "nothing but an end": (b".", "pop from empty list"),
    "no end": (b"}", "exhausted before seeing STOP"),
    "no mark": (b"t.", "pop from empty list"),
    "an empty stack": (b"\x85.", "stack runs empty"),
    "an unknown place in the memo": (b"h\x07.", "7"),
    "half a pair": (b"}(K\x01u.", "argument 2 is shorter"),
    "an item of a list": (b"](K\x01K\x01u.", "what is no dict"),
    "an item appended to a dict": (b"}K\x01a.", "what is no list"),
    "a tuple as a key": (b"})K\x01s.", "no string or short number"),
    "a long number as a key": (b"}\x8a\x08" + bytes(7) + b"\x01Ns.", "no string or short number"),
    "a state for a number": (b"K\x01}b.", "state to what is no dict"),
    "a number called": (b"K\x01)R.", "calls something that is no function"),
    "a storage called": (b"ctorch\nFloatStorage\n)R.", "calls something that is no function"),
    "an OrderedDict of pairs": (b"ccollections\nOrderedDict\n]\x85R.", "positional argument"),
    "a persistent number": (b"K\x01Q.", "cannot unpack|not iterable"),
    "something else that persists": (pickle.dumps(("module", 1, 2, 3, 4), 2)[:-1] + b"Q.", "no storage"),
    "a storage of half a value": (
        b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000NG?\xe0\x00\x00\x00\x00\x00\x00tQ.",
        "no whole number of values",
    ),
}


@pytest.mark.parametrize(("program", "reason"), DAMAGED_PROGRAMS.values(), ids=DAMAGED_PROGRAMS)
def test_a_damaged_pickle_is_one_line(program: bytes, reason: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.pth", {"archive/data.pkl": program})
    with pytest.raises(
        UsageError, match=f"a\\.pth cannot be read as a state dict of torch: .*({reason})"
    ) as error:
        read_torch(path)
    assert "\n" not in str(error.value)


def test_keys_nested_without_end_are_refused() -> None:
    """`pickle.Unpickler` ends the process here: it hashes them, and that goes on the C stack."""
    deep = b"})" + b"\x85" * 1_000_000 + b"Ns."
    with pytest.raises(TypeError, match="no string or short number"):
        parse(deep)


def test_values_nested_without_end_are_harmless(tmp_path: Path) -> None:
    deep = b"}X\x01\x00\x00\x00a)" + b"\x85" * 1_000_000 + b"s."
    path = write(tmp_path / "a.pth", {"archive/data.pkl": deep})
    with pytest.raises(
        UsageError, match="expected a dict of tensors, or one that holds such a dict as state_dict"
    ):
        read_torch(path)


def test_a_dict_that_holds_itself_is_none_of_tensors(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pth", {"archive/data.pkl": b"}q\x00X\x05\x00\x00\x00modelh\x00s."})
    with pytest.raises(UsageError, match="expected a dict of tensors"):
        read_torch(path)


def test_a_high_place_in_the_memo_takes_no_memory() -> None:
    """`pickle.Unpickler` makes room for all places below it."""
    tracemalloc.start()
    try:
        assert parse(b"}r\xff\xff\xff\xff.") == {}
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


HUGE = 1 << 62
BAD_VIEWS = {
    "huge": (View(STORED, 0, (HUGE, HUGE), (1, 1)), "reaches beyond its storage of 12 values"),
    "repeated too often": (View(STORED, 0, (HUGE,), (0,)), "reaches beyond its storage of 12 values"),
    "one too far": (View(STORED, 1, (3, 4), (4, 1)), "reaches beyond its storage of 12 values"),
    "behind the end": (View(STORED, 12, (), ()), r"\[\] with strides \[\] from 12 on reaches beyond"),
    "a step too wide": (View(STORED, 0, (3, 4), (HUGE, 1)), "reaches beyond its storage of 12 values"),
    "a step backwards": (View(STORED, 11, (12,), (-1,)), "no whole numbers"),
    "a negative offset": (View(STORED, -1, (1,), (1,)), "no whole numbers"),
    "a negative size": (View(STORED, 0, (-3, -4), (4, 1)), "no whole numbers"),
    "a size of true": (View(STORED, 0, (True,), (1,)), "no whole numbers"),
    "a size of halves": (View(STORED, 0, (1.5,), (1,)), "no whole numbers"),
    "a shape that is none": (View(STORED, 0, None, (1,)), "no whole numbers"),
    "fewer strides": (View(STORED, 0, (3, 4), (4,)), "no whole numbers"),
    "no end of dimensions": (View(STORED, 0, (1,) * 65, (1,) * 65), "no whole numbers"),
    "a wide step nowhere": (View(STORED, 0, (1,), (1 << 70,)), "(dimension exceeded|too large)"),
    "a long claim": (View(Stored(BIAS, HUGE), 0, (HUGE,), (1,)), "'data/0' has 16 bytes, expected 184467"),
    "a short claim": (View(Stored(BIAS, 3), 0, (3,), (1,)), "'data/0' has 16 bytes, expected 12"),
}


@pytest.mark.parametrize(("view", "reason"), BAD_VIEWS.values(), ids=BAD_VIEWS)
def test_a_tensor_stays_inside_its_storage(view: View, reason: str, tmp_path: Path) -> None:
    path = save(tmp_path / "a.pth", state_dict({"weight": view}))
    with pytest.raises(UsageError, match=f"a\\.pth cannot be read .*{reason}.*; is the file complete"):
        read_torch(path)


def changed(members: Mapping[str, bytes | None]) -> dict[str, bytes]:
    """The records of a good file, some of them others or left out."""
    merged = records(state_dict(NAMED)) | {f"archive/{name}": content for name, content in members.items()}
    return {name: content for name, content in merged.items() if content is not None}


BAD_ARCHIVES = {
    "no pickle": (changed({"data.pkl": None}), "0 folders with a data.pkl, expected one"),
    "two pickles": ({**changed({}), "other/data.pkl": b"}."}, "2 folders with a data.pkl"),
    "a pickle with no folder": ({"data.pkl": b"}."}, "0 folders"),
    "no record": (changed({"data/1": None}), "no item named 'archive/data/1'"),
    "a short record": (changed({"data/1": b"123"}), "record 'data/1' has 3 bytes, expected 16"),
    "a long record": (changed({"data/1": bytes(17)}), "record 'data/1' has 17 bytes, expected 16"),
    "an odd byte order": (
        changed({"byteorder": b"middle\n"}),
        r"byte order is b'middle\\n', expected little or big",
    ),
    "an endless pickle": (
        changed({"data.pkl": b"0" * (17 << 20)}),
        "data.pkl has 17825792 bytes, expected 16777216",
    ),
}


@pytest.mark.parametrize(("members", "reason"), BAD_ARCHIVES.values(), ids=BAD_ARCHIVES)
def test_an_archive_that_torch_did_not_write_is_one_line(
    members: Mapping[str, bytes], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=f"a\\.pth cannot be read .*{reason}.*; is the file complete"):
        read_torch(write(tmp_path / "a.pth", members))


@pytest.mark.parametrize("name", [3, "\ud800"])
def test_a_tensor_without_a_readable_name_is_refused(name: object, tmp_path: Path) -> None:
    members = records({name: tensor(BIAS)})
    with pytest.raises(UsageError, match=r"a tensor is called 3|codec can't encode character '\\ud800'"):
        read_torch(write(tmp_path / "a.pth", members))


def test_compressed_records_are_refused(tmp_path: Path) -> None:
    zeros = state_dict({"zeros": np.zeros(1 << 20, np.float32)})
    path = write(tmp_path / "a.pth", records(zeros), zipfile.ZIP_DEFLATED)
    with pytest.raises(
        UsageError, match=r"record 'archive/data\.pkl' is compressed, as none of a state dict"
    ):
        read_torch(path)


def test_records_that_overlap_are_refused(tmp_path: Path) -> None:
    """Every name leads to the same bytes, so that a small file would fill the memory."""
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        for name, content in changed({}).items():
            archive.writestr(name, content)
        archive.writestr("archive/data/2", bytes(1 << 16))
        again = archive.getinfo("archive/data/2")
        archive.filelist.extend([again] * 9)
    with pytest.raises(UsageError, match=r"its records overlap: \d+ bytes out of \d+"):
        read_torch(tmp_path / "a.pth")


def test_a_locked_archive_is_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pth", changed({}))
    content = bytearray(path.read_bytes())
    for magic, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(magic)
        while at >= 0:
            content[at + flags] |= 1
            at = content.find(magic, at + 1)
    path.write_bytes(content)
    with pytest.raises(UsageError, match="is encrypted, password required"):
        read_torch(path)


def test_a_changed_number_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pth", changed({}))
    path.write_bytes(path.read_bytes().replace(BIAS.tobytes(), bytes(16)))
    with pytest.raises(UsageError, match="Bad CRC-32 for file 'archive/data/1'"):
        read_torch(path)


@pytest.mark.parametrize("share_of_it", [0.01, 0.5, 0.99])
def test_a_file_that_is_cut_short_is_refused(share_of_it: float, tmp_path: Path) -> None:
    path = write(tmp_path / "a.pth", changed({}))
    path.write_bytes(path.read_bytes()[: int(share_of_it * path.stat().st_size)])
    with pytest.raises(UsageError, match="File is not a zip file; is the file complete"):
        read_torch(path)


def test_files_from_before_the_zip_format_are_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "pickle.pth").write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2))
    with tarfile.open(tmp_path / "tar.pth", "w") as archive:
        archive.add(tmp_path / "pickle.pth", "storages")
    (tmp_path / "empty.pth").write_bytes(b"")
    for name in ("pickle", "tar", "empty"):
        with pytest.raises(
            UsageError, match=rf"{name}\.pth are not in torch's zip format .* torch 1\.6 or newer"
        ):
            read_torch(tmp_path / f"{name}.pth")
