"""GoogLeNet (Szegedy et al. 2014, "Going deeper with convolutions") as data, for either framework.

Caffe's is BVLC's deploy network; TensorFlow's (nvcnn.py) has no local response normalisation, pads its
first convolution otherwise, scales its input itself and ends at the logits (MODELS.md 3). Other than that
both are the tables below.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from model_zoo.layers import (
    SAME,
    Concat,
    Convolution,
    Dropout,
    GlobalAverage,
    InnerProduct,
    Layer,
    LocalResponse,
    Padding,
    Pool,
    Relu,
    Scaling,
    Softmax,
)
from model_zoo.network import (
    PIXEL_DEVIATION,
    Network,
)

CLASSIFIER = "loss3/classifier"


@dataclass(frozen=True)
class Inception:
    """Channels of a module's convolutions: 1x1; 3x3 and the 1x1 before it; 5x5 likewise; behind the pool."""

    name: str
    one: int
    three_reduced: int
    three: int
    five_reduced: int
    five: int
    pool: int

    def narrowed(self, divisor: int) -> Inception:
        """The module with so many times fewer channels."""
        sizes = (self.one, self.three_reduced, self.three, self.five_reduced, self.five, self.pool)
        return Inception(self.name, *(size // divisor for size in sizes))


STAGES = (
    (Inception("3a", 64, 96, 128, 16, 32, 32), Inception("3b", 128, 128, 192, 32, 96, 64)),
    (
        Inception("4a", 192, 96, 208, 16, 48, 64),
        Inception("4b", 160, 112, 224, 24, 64, 64),
        Inception("4c", 128, 128, 256, 24, 64, 64),
        Inception("4d", 112, 144, 288, 32, 64, 64),
        Inception("4e", 256, 160, 320, 32, 128, 128),
    ),
    (Inception("5a", 256, 160, 320, 32, 128, 128), Inception("5b", 384, 192, 384, 48, 128, 128)),
)
"""Modules of the stages 3, 4 and 5; a pool stands in front of each stage."""


@dataclass(frozen=True)
class Sizes:
    """All that may differ between GoogLeNet and a relative of it."""

    name: str = "googlenet"
    narrower: int = 1
    classes: int = 1000
    input_size: int = 224

    @property
    def stages(self) -> tuple[tuple[Inception, ...], ...]:
        return tuple(tuple(module.narrowed(self.narrower) for module in stage) for stage in STAGES)


def caffe_network(sizes: Sizes) -> Network:
    """BVLC's deploy network: `data` BGR minus a mean, to `prob`."""
    return Network(
        sizes.name,
        f"{sizes.name}-caffe",
        "data",
        (sizes.input_size, sizes.input_size),
        PIXEL_DEVIATION,
        tuple(_caffe_layers(sizes)),
        CLASSIFIER,
    )


def tensorflow_network(sizes: Sizes) -> Network:
    """nvcnn.py's network: `images` RGB 0..255, to `logits`."""
    return Network(
        sizes.name,
        f"{sizes.name}-tensorflow",
        "images",
        (sizes.input_size, sizes.input_size),
        PIXEL_DEVIATION,
        tuple(_tensorflow_layers(sizes)),
        CLASSIFIER,
    )


def _caffe_layers(sizes: Sizes) -> Iterator[Layer]:
    first, second = 64 // sizes.narrower, 192 // sizes.narrower
    yield Convolution("conv1/7x7_s2", ("data",), first, 7, 2, 3)
    yield Relu("conv1/relu_7x7", ("conv1/7x7_s2",))
    yield Pool("pool1/3x3_s2", ("conv1/relu_7x7",), "MAX", 3, 2)
    yield LocalResponse("pool1/norm1", ("pool1/3x3_s2",))
    yield from _convolution("conv2/3x3_reduce", "conv2/relu_3x3_reduce", "pool1/norm1", first, 1)
    yield from _convolution("conv2/3x3", "conv2/relu_3x3", "conv2/relu_3x3_reduce", second, 3)
    yield LocalResponse("conv2/norm2", ("conv2/relu_3x3",))
    yield from _stages(sizes, "conv2/norm2")
    last = _output(sizes.stages[-1][-1])
    yield Pool("pool5/7x7_s1", (last,), "AVE", sizes.input_size // 32, 1)
    yield Dropout("pool5/drop_7x7_s1", ("pool5/7x7_s1",), 0.4)
    yield InnerProduct(CLASSIFIER, ("pool5/drop_7x7_s1",), sizes.classes)
    yield Softmax("prob", (CLASSIFIER,))


def _tensorflow_layers(sizes: Sizes) -> Iterator[Layer]:
    first, second = 64 // sizes.narrower, 192 // sizes.narrower
    yield Scaling("scaled", ("images",), 127.5, -1.0)
    yield Convolution("conv1/7x7_s2", ("scaled",), first, 7, 2, SAME)
    yield Relu("conv1/relu_7x7", ("conv1/7x7_s2",))
    yield Pool("pool1/3x3_s2", ("conv1/relu_7x7",), "MAX", 3, 2, SAME)
    yield from _convolution("conv2/3x3_reduce", "conv2/relu_3x3_reduce", "pool1/3x3_s2", first, 1)
    yield from _convolution("conv2/3x3", "conv2/relu_3x3", "conv2/relu_3x3_reduce", second, 3)
    yield from _stages(sizes, "conv2/relu_3x3", SAME)
    yield GlobalAverage("pool5", (_output(sizes.stages[-1][-1]),))
    yield InnerProduct(CLASSIFIER, ("pool5",), sizes.classes)


def _stages(sizes: Sizes, bottom: str, pool_padding: Padding = 0) -> Iterator[Layer]:
    """A pool, and the modules of a stage behind it, three times over."""
    for number, stage in enumerate(sizes.stages, start=2):
        pool = f"pool{number}/3x3_s2"
        yield Pool(pool, (bottom,), "MAX", 3, 2, pool_padding)
        bottom = pool
        for module in stage:
            yield from _inception(module, bottom)
            bottom = _output(module)


def _inception(module: Inception, bottom: str) -> Iterator[Layer]:
    def convolution(part: str, read: str, channels: int, kernel: int) -> Iterator[Layer]:
        relu = f"{prefix}/relu_{part}"
        branches.append(relu)
        return _convolution(f"{prefix}/{part}", relu, read, channels, kernel)

    prefix, branches = f"inception_{module.name}", list[str]()
    yield from convolution("1x1", bottom, module.one, 1)
    yield from convolution("3x3_reduce", bottom, module.three_reduced, 1)
    yield from convolution("3x3", branches.pop(), module.three, 3)
    yield from convolution("5x5_reduce", bottom, module.five_reduced, 1)
    yield from convolution("5x5", branches.pop(), module.five, 5)
    yield Pool(f"{prefix}/pool", (bottom,), "MAX", 3, 1, 1)
    yield from convolution("pool_proj", f"{prefix}/pool", module.pool, 1)
    yield Concat(_output(module), tuple(branches))


def _convolution(name: str, relu: str, bottom: str, channels: int, kernel: int) -> Iterator[Layer]:
    yield Convolution(name, (bottom,), channels, kernel, padding=kernel // 2)
    yield Relu(relu, (name,))


def _output(module: Inception) -> str:
    return f"inception_{module.name}/output"
