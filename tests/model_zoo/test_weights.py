"""Weights files: every format is written by its own framework, and must give back the same numbers."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_zoo.weights import Alias, read_weights, take
from runtime.errors import UsageError
from runtime.tensors import Array
from tests.model_zoo import torch_archives

RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(3, 4)).astype(np.float32)
BIAS = RNG.normal(size=(4,)).astype(np.float32)
NAMED: Mapping[str, Array] = {"bert/dense/kernel": KERNEL, "bert/dense/bias": BIAS}


def assert_same(read: Mapping[str, Array], expected: Mapping[str, Array]) -> None:
    assert set(read) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(read[name], array, strict=True, err_msg=name)


# Formats, each as its own framework writes it


def npz(folder: Path) -> Path:
    np.savez(folder / "weights.npz", allow_pickle=False, **dict(NAMED))
    return folder / "weights.npz"


def safetensors(folder: Path) -> Path:
    from safetensors.numpy import save_file

    save_file(dict(NAMED), folder / "weights.safetensors")
    return folder / "weights.safetensors"


def name_checkpoint(folder: Path, extra: Mapping[str, Array] | None = None) -> Path:
    """As TensorFlow 1 and google-research/bert save; a step number in the name is not a suffix."""
    import tensorflow as tf

    prefix, tensors = folder / "model.ckpt-2000", {**NAMED, **(extra or {})}
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=[tf.constant(array) for array in tensors.values()],
    )
    return prefix


def object_checkpoint(folder: Path) -> Path:
    """As TensorFlow 2 saves: keys are places in a graph of objects."""
    import tensorflow as tf

    return Path(tf.train.Checkpoint(network=module()).write(str(folder / "step_7")))


def index_of_checkpoint(folder: Path) -> Path:
    prefix = name_checkpoint(folder)
    return prefix.with_name(f"{prefix.name}.index")


def saved_model(folder: Path) -> Path:
    import tensorflow as tf

    tf.saved_model.save(module(), str(folder / "saved"))
    return folder / "saved"


def module() -> Any:
    import tensorflow as tf

    network = tf.Module()
    network.parts = [tf.Variable(array, name=name) for name, array in NAMED.items()]
    return network


def keras_model() -> Any:
    import keras  # type: ignore[import-untyped]

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, name="dense")], name="bert")
    model.get_layer("dense").set_weights([KERNEL, BIAS])
    return model


keras_warnings = pytest.mark.filterwarnings(
    "ignore:You are saving your model as an HDF5 file",  # the old format is what is tested
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning",  # Keras on NumPy 2
)


def keras_file(name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        model = keras_model()
        if name.endswith(".weights.h5"):
            model.save_weights(folder / name)
        else:
            model.save(folder / name)
        return folder / name

    return write


def torch(folder: Path) -> Path:
    return torch_archives.save(folder / "weights.pth", torch_archives.state_dict(NAMED))


@pytest.mark.parametrize(
    "write", [npz, safetensors, name_checkpoint, index_of_checkpoint, object_checkpoint, saved_model, torch]
)
def test_every_format_gives_back_names_and_numbers(write: Callable[[Path], Path], tmp_path: Path) -> None:
    assert_same(read_weights(write(tmp_path)), NAMED)


@pytest.mark.parametrize("name", ["a.weights.h5", "a.keras", "a.h5"])
@keras_warnings
def test_keras_files_are_read_by_the_names_of_layers(name: str, tmp_path: Path) -> None:
    stored = read_weights(keras_file(name)(tmp_path))
    shapes = {"dense/kernel": (3, 4), "dense/bias": (4,)}
    assert_same(take(stored, shapes), {"dense/kernel": KERNEL, "dense/bias": BIAS})


@keras_warnings
def test_keras_variables_are_told_apart_by_their_number_and_rank(tmp_path: Path) -> None:
    import keras

    layers = [
        keras.layers.BatchNormalization(name="bn"),
        keras.layers.LayerNormalization(name="ln"),
        keras.layers.Dense(2, name="last", use_bias=False),
    ]
    model = keras.Sequential([keras.Input((3,)), *layers])
    for variable in model.weights:
        variable.assign(RNG.normal(size=variable.shape))
    model.save_weights(tmp_path / "a.weights.h5")
    expected = {"/".join(variable.path.split("/")[-2:]): variable.numpy() for variable in model.weights}
    assert {"bn/moving_variance", "ln/beta", "last/kernel"} < set(expected)
    stored = read_weights(tmp_path / "a.weights.h5")
    assert_same(take(stored, {name: array.shape for name, array in expected.items()}), expected)


def test_variables_of_one_name_go_by_their_place(tmp_path: Path) -> None:
    import tensorflow as tf

    first, second = tf.Variable([1.0], name="kernel"), tf.Variable([2.0], name="kernel")
    prefix = tf.train.Checkpoint(first=first, second=second).write(str(tmp_path / "checkpoint"))
    expected = {"first": np.array([1], np.float32), "second": np.array([2], np.float32)}
    assert_same(read_weights(Path(prefix)), expected)


def test_a_caffemodel_is_read_as_layers_and_indices(tmp_path: Path) -> None:
    from exporters.caffe.blobs import blob_message
    from exporters.caffe.schema import schema

    net = schema().NetParameter()
    layer = net.layer.add(name="fc1000", type="InnerProduct")
    layer.blobs.extend([blob_message(KERNEL), blob_message(BIAS)])
    net.layers.add(name="old").blobs.append(blob_message(BIAS))
    path = tmp_path / "net.caffemodel"
    path.write_bytes(net.SerializeToString())
    assert_same(read_weights(path), {"fc1000/0": KERNEL, "fc1000/1": BIAS, "old/0": BIAS})


def test_the_state_of_the_optimiser_is_left_out(tmp_path: Path) -> None:
    slots = {f"bert/dense/kernel/{slot}": KERNEL for slot in ("adam_m", "adam_v")}
    assert_same(read_weights(name_checkpoint(tmp_path, slots)), NAMED)


# Files that are damaged, hostile, or of another kind


@keras_warnings
@pytest.mark.parametrize(
    "write", [npz, safetensors, torch, keras_file("a.weights.h5"), keras_file("a.keras")]
)
def test_half_a_file_is_refused(write: Callable[[Path], Path], tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UsageError, match=f"{path.name} cannot be read as .*is the file complete"):
        read_weights(path)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".h5", ".keras", ".caffemodel", ".index"])
@pytest.mark.parametrize("content", [b"", b"no weights", b"\xff" * 64])
def test_a_file_of_something_else_is_refused(suffix: str, content: bytes, tmp_path: Path) -> None:
    if suffix == ".caffemodel" and not content:
        pytest.skip("an empty file is a valid protocol buffer; `take` finds it without blobs")
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"weights.*cannot be read as"):
        read_weights(path)


def test_a_checkpoint_without_its_data_is_refused(tmp_path: Path) -> None:
    prefix = name_checkpoint(tmp_path)
    next(tmp_path.glob("*.data-*")).unlink()
    with pytest.raises(UsageError, match=r"model\.ckpt-2000 cannot be read as a TensorFlow checkpoint"):
        read_weights(prefix)


def test_a_checkpoint_with_half_its_data_is_refused(tmp_path: Path) -> None:
    prefix = name_checkpoint(tmp_path)
    data = next(tmp_path.glob("*.data-*"))
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    with pytest.raises(UsageError, match=r"model\.ckpt-2000 cannot be read as a TensorFlow checkpoint"):
        read_weights(prefix)


def test_nobody_is_advised_to_allow_pickles(tmp_path: Path) -> None:
    (tmp_path / "weights.npz").write_bytes(b"no weights")  # what NumPy takes for a pickle
    with pytest.raises(UsageError, match="it is no zip archive") as error:
        read_weights(tmp_path / "weights.npz")
    assert "pickle" not in str(error.value)


def test_an_array_on_its_own_is_no_npz(tmp_path: Path) -> None:
    with (tmp_path / "weights.npz").open("wb") as stream:
        np.save(stream, KERNEL)
    with pytest.raises(UsageError, match=r"weights\.npz cannot be read as an \.npz file"):
        read_weights(tmp_path / "weights.npz")


class Trap:
    """What it unpickles to shows that the file was run."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return (pytest.fail, ("a pickle was run",))


def test_objects_in_an_npz_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "weights.npz", trap=np.array([Trap()], dtype=object))
    with pytest.raises(UsageError, match="allow_pickle=False"):
        read_weights(tmp_path / "weights.npz")


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".pkl", ".bin"])
def test_pickles_are_refused_and_not_run(suffix: str, tmp_path: Path) -> None:
    import pickle

    path = tmp_path / f"weights{suffix}"
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(UsageError, match=r"read with pickle, which can run code.*\.safetensors or \.npz"):
        read_weights(path)


def test_a_link_out_of_a_keras_file_is_not_followed(tmp_path: Path) -> None:
    import h5py  # type: ignore[import-untyped]

    with h5py.File(tmp_path / "secret.h5", "w") as secret:
        secret["kernel"] = KERNEL
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file["dense/bias"] = BIAS
        file["dense/kernel"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/kernel")
        file.create_dataset("dense/raw", (4,), np.float32, external=str(tmp_path / "secret.h5"))
        layout = h5py.VirtualLayout((3, 4), np.float32)
        layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "kernel", (3, 4))
        file.create_virtual_dataset("dense/virtual", layout)
    assert_same(read_weights(tmp_path / "weights.h5"), {"dense/bias": BIAS})


def test_a_keras_archive_without_weights_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(UsageError, match=r"model\.keras cannot be read.*model\.weights\.h5"):
        read_weights(tmp_path / "model.keras")


def test_a_missing_file_is_named_with_what_would_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no weights at .*absent\.npz: give a .*\.safetensors"):
        read_weights(tmp_path / "absent.npz")


@pytest.mark.parametrize("name", ["weights.onnx", "weights"])
def test_an_unknown_suffix_is_answered_with_those_that_are_known(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(
        UsageError, match=r"end in '.*': give a \.bin, \.caffemodel, \.h5, .*checkpoint's prefix"
    ):
        read_weights(tmp_path / name)


def test_a_folder_of_anything_else_is_no_saved_model(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no variables/variables\.index, so it is no SavedModel"):
        read_weights(tmp_path)


# take


def test_what_is_not_wanted_is_left_alone() -> None:
    assert_same(take(NAMED, {"bert/dense/bias": (4,)}), {"bert/dense/bias": BIAS})


def test_an_alias_is_found_and_transposed() -> None:
    stored = {"dense.weight": KERNEL, "dense.bias": BIAS}
    aliases = {"kernel": [Alias("linear.weight"), Alias("dense.weight", transposed=True)]}
    assert_same(take(stored, {"kernel": (4, 3)}, aliases), {"kernel": KERNEL.T})


def test_a_scope_in_front_does_not_matter_where_the_name_is_the_only_one() -> None:
    assert_same(take({"model/layer/bias": BIAS}, {"layer/bias": (4,)}), {"layer/bias": BIAS})
    two = {"teacher/layer/bias": BIAS, "student/layer/bias": BIAS}
    with pytest.raises(UsageError, match="lack 1 of the network's tensors: layer/bias"):
        take(two, {"layer/bias": (4,)})


def test_halves_and_doubles_become_single_precision() -> None:
    import ml_dtypes

    for dtype in (np.float16, ml_dtypes.bfloat16, np.float64):
        taken = take({"bias": BIAS.astype(dtype)}, {"bias": (4,)})
        assert_same(taken, {"bias": BIAS.astype(dtype).astype(np.float32)})


def test_missing_tensors_are_counted_and_the_nearest_names_offered() -> None:
    wanted = {f"bert/dense/kernel_{index}": (3, 4) for index in range(5)}
    with pytest.raises(
        UsageError,
        match=r"lack 5 of .*: bert/dense/kernel_0, bert/dense/kernel_1, bert/dense/kernel_2, \.\.\.;"
        r" nearest of the 2 in the file: bert/dense/kernel",
    ):
        take(NAMED, wanted)


def test_other_shapes_are_refused_with_both() -> None:
    with pytest.raises(UsageError, match=r"bert/dense/kernel is \[3, 4\], expected \[4, 4\]"):
        take(NAMED, {"bert/dense/kernel": (4, 4), "bert/dense/bias": (4,)})


def test_whole_numbers_are_no_weights() -> None:
    with pytest.raises(UsageError, match="bias of the weights is int8; expected floating-point"):
        take({"bias": np.zeros(4, np.int8)}, {"bias": (4,)})


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(value: float) -> None:
    broken = BIAS.copy()
    broken[1] = value
    with pytest.raises(UsageError, match="bias of the weights holds 1 NaN or infinite values of 4"):
        take({"bias": broken}, {"bias": (4,)})


def test_a_member_of_an_npz_that_is_no_array_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "weights.npz", "w") as archive:
        archive.writestr("bias", b"not an array")
    with pytest.raises(UsageError, match=r"bias is \[\], expected \[4\]"):
        take(read_weights(tmp_path / "weights.npz"), {"bias": (4,)})
