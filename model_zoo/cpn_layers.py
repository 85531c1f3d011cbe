"""CPN (Chen et al. 2018, "Cascaded pyramid network for multi-person pose estimation") as data.

A slim ResNet-101, GlobalNet's pyramid on it and RefineNet on that, under the names of tf-cpn's variables, so
that its checkpoints fit (MODELS.md 11).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from model_zoo.layers import (
    BatchNorm,
    Concat,
    Convolution,
    Eltwise,
    Layer,
    Pool,
    Relu,
    Resize,
)
from model_zoo.network import (
    PIXEL_DEVIATION,
    Head,
    Network,
)

INPUT_SCALE = 1 / 255
"""What the centred pixels are multiplied by."""

CAFFE_MEAN = (102.9801, 115.9465, 122.7717)
"""Blue, green, red (MODELS.md 11)."""

IMAGES = "images"
HEATMAPS = "heatmaps"
GLOBAL_HEATMAPS = "global_heatmaps"

STRIDE = 4
"""Pixels of the image for one of a heat map."""

_EPSILON = 1e-9
_BODY = "resnet_v1_101"
_LEVELS = (2, 3, 4, 5)
_TOP = _LEVELS[-1]
_EXPANSION = 4

# Heat maps are trained towards 255 at the key point and 0 elsewhere; so far do ours spread over photographs.
_HEATMAP = Head(deviation=20.0)


@dataclass(frozen=True)
class Sizes:
    """All that may differ between CPN and a relative of it.

    depths:     bottlenecks of the stages 2 to 5.
    narrower:   divides all channels but those of the heat maps.
    key_points: of a person; COCO has 17.
    """

    name: str = "cpn"
    depths: tuple[int, int, int, int] = (3, 4, 23, 3)
    narrower: int = 1
    key_points: int = 17
    input_size: tuple[int, int] = (384, 288)

    @property
    def map_size(self) -> tuple[int, int]:
        """Height and width of the heat maps."""
        height, width = self.input_size
        return height // STRIDE, width // STRIDE

    @property
    def features(self) -> int:
        """Channels of the pyramid."""
        return 256 // self.narrower


def cpn_network(sizes: Sizes, *, supervised: bool) -> Network:
    """`images` BGR, centred and times INPUT_SCALE, to `heatmaps` [batch, height / 4, width / 4, key points].

    supervised: with GlobalNet's own heat maps, which only its training looks at, as `global_heatmaps`: those
                of the stages 2 to 5, one after the other. They come last, so that both share the statistics.
    """
    layers = [*_body(sizes), *_pyramid(sizes), *_refined(sizes)]
    outputs = {HEATMAPS: "refine_out/BatchNorm"}
    heads = {"refine_out/BatchNorm": _HEATMAP}
    if supervised:
        layers += _global_heatmaps(sizes)
        outputs[GLOBAL_HEATMAPS] = GLOBAL_HEATMAPS
        heads |= {f"pyramid/res{level}/BatchNorm": _HEATMAP for level in _LEVELS}
    return Network(
        sizes.name,
        sizes.name,
        IMAGES,
        sizes.input_size,
        PIXEL_DEVIATION * INPUT_SCALE,
        tuple(layers),
        heads=heads,
        outputs=outputs,
    )


def _body(sizes: Sizes) -> Iterator[Layer]:
    """Up to stage 5; the first unit of a stage halves the size in its 3x3 convolution."""
    conv1 = f"{_BODY}/conv1"
    yield from _normalised(Convolution(conv1, (IMAGES,), 64 // sizes.narrower, 7, 2, 3, bias=False))
    yield Relu(f"{conv1}/Relu", (f"{conv1}/BatchNorm",))
    yield Pool(f"{_BODY}/pool1", (f"{conv1}/Relu",), "MAX", 3, 2, 1, ceil=False)
    bottom, channels = f"{_BODY}/pool1", 64 // sizes.narrower
    for level, depth in zip(_LEVELS, sizes.depths, strict=True):
        inner = 2 ** (level - 2) * 64 // sizes.narrower
        for index in range(1, depth + 1):
            name = _unit(level, index)
            stride = 2 if index == 1 and level > _LEVELS[0] else 1
            yield from _bottleneck(name, bottom, inner, stride, projected=channels != _EXPANSION * inner)
            bottom, channels = name, _EXPANSION * inner


def _pyramid(sizes: Sizes) -> Iterator[Layer]:
    """GlobalNet: each stage's features and, resized, those of the stage above: `global/res<stage>`."""
    for level in reversed(_LEVELS):
        lateral, merge = f"lateral/res{level}", f"merge/res{level}"
        last = _unit(level, sizes.depths[level - 2])
        yield from _normalised(Convolution(lateral, (last,), sizes.features, 1, bias=False))
        if level == _TOP:
            yield Relu(_fused(level), (f"{lateral}/BatchNorm",))
            continue
        yield Relu(f"{lateral}/Relu", (f"{lateral}/BatchNorm",))
        yield Resize(f"upsample/res{level}", (_fused(level + 1),), *_size(sizes, level))
        yield Convolution(merge, (f"upsample/res{level}",), sizes.features, 1)
        yield Eltwise(_fused(level), (merge, f"{lateral}/Relu"))


def _refined(sizes: Sizes) -> Iterator[Layer]:
    """RefineNet: the deeper a map the more bottlenecks, all resized to the finest, and one over them."""
    inner = sizes.features // 2
    together = []
    for passes, level in enumerate(_LEVELS):
        bottom = _fused(level)
        for index in range(passes):
            name = f"res{level}/refine_conv{index}"
            yield from _bottleneck(name, bottom, inner, channels=sizes.features, projected=False)
            bottom = name
        if passes:  # the finest has the size already
            yield Resize(f"upsample_conv/res{level}", (bottom,), *sizes.map_size)
            bottom = f"upsample_conv/res{level}"
        together.append(bottom)
    yield Concat("refine_features", tuple(together))
    last = "final_bottleneck"
    yield from _bottleneck(last, "refine_features", inner, channels=sizes.features, projected=True)
    yield from _normalised(_heatmap("refine_out", last, sizes))


def _global_heatmaps(sizes: Sizes) -> Iterator[Layer]:
    together = []
    for level in _LEVELS:
        features, heatmap = f"tmp/res{level}", f"pyramid/res{level}"
        yield from _normalised(Convolution(features, (_fused(level),), sizes.features, 1, bias=False))
        yield Relu(f"{features}/Relu", (f"{features}/BatchNorm",))
        yield from _normalised(_heatmap(heatmap, f"{features}/Relu", sizes))
        together.append(f"{heatmap}/BatchNorm")
        if level > _LEVELS[0]:
            yield Resize(f"{heatmap}/resized", (f"{heatmap}/BatchNorm",), *sizes.map_size)
            together[-1] = f"{heatmap}/resized"
    yield Concat(GLOBAL_HEATMAPS, tuple(together))


def _bottleneck(
    name: str, bottom: str, inner: int, stride: int = 1, channels: int = 0, *, projected: bool
) -> Iterator[Layer]:
    """The layer `name`: relu(shortcut(x) + 1x1(3x3(1x1(x)))), of `channels` or 4 * `inner` channels."""
    channels = channels or _EXPANSION * inner
    shortcut = bottom
    if projected:
        shortcut = f"{name}/shortcut/BatchNorm"
        yield from _normalised(Convolution(f"{name}/shortcut", (bottom,), channels, 1, stride, bias=False))
    yield from _normalised(Convolution(f"{name}/conv1", (bottom,), inner, 1, bias=False))
    yield Relu(f"{name}/conv1/Relu", (f"{name}/conv1/BatchNorm",))
    yield from _normalised(
        Convolution(f"{name}/conv2", (f"{name}/conv1/Relu",), inner, 3, stride, 1, bias=False)
    )
    yield Relu(f"{name}/conv2/Relu", (f"{name}/conv2/BatchNorm",))
    yield from _normalised(Convolution(f"{name}/conv3", (f"{name}/conv2/Relu",), channels, 1, bias=False))
    yield Eltwise(f"{name}/add", (shortcut, f"{name}/conv3/BatchNorm"))
    yield Relu(name, (f"{name}/add",))


def _normalised(convolution: Convolution) -> Iterator[Layer]:
    """A convolution, and `<name>/BatchNorm` behind it."""
    name = convolution.name
    yield convolution
    yield BatchNorm(f"{name}/BatchNorm", (name,), f"{name}/scale", _EPSILON)


def _heatmap(name: str, bottom: str, sizes: Sizes) -> Convolution:
    return Convolution(name, (bottom,), sizes.key_points, 3, padding=1, bias=False)


def _unit(level: int, index: int) -> str:
    return f"{_BODY}/block{level - 1}/unit_{index}/bottleneck_v1"


def _fused(level: int) -> str:
    return f"global/res{level}"


def _size(sizes: Sizes, level: int) -> tuple[int, int]:
    """Height and width of a stage's features: a halving rounds up, as the padded convolutions do."""
    height, width = (-(-side // 2**level) for side in sizes.input_size)
    return height, width
