"""Measures on photographs what seeded ResNet weights need (`resnet_statistics`), and writes the file.

    python -m model_zoo.batch_norm_statistics resnet50

To be run again only when the seeded kernels change. It runs the network once, layer by layer: what a layer
measures is rounded as it will be stored, and the layers behind it see the activations that gives.
"""

from __future__ import annotations

import argparse
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from model_zoo.catalog import get_model
from model_zoo.resnet import RESNET50, RESNET101, Convolution, ResNet
from model_zoo.resnet_seeded import Weights, branch_ends, seeded_convolution
from model_zoo.resnet_statistics import DIRECTIONS, Statistics, path_of, save
from model_zoo.resnet_tensorflow import Tensor, convolve, features, normalise
from model_zoo.spec import FeedSource, Split
from runtime.errors import UnavailableError

NETWORKS = {network.name: network for network in (RESNET50, RESNET101)}

_IMAGES_PER_SPLIT = 48
_DIRECTION_STEPS = 127  # int8


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure batch-norm statistics on photographs.")
    parser.add_argument("model", choices=sorted(NETWORKS))
    network = NETWORKS[parser.parse_args().model]
    feeds = get_model(network.name).variants[""].feeds("tensorflow")
    save(measure(network, photographs(feeds)), path_of(network))


def photographs(feeds: FeedSource, number: int = _IMAGES_PER_SPLIT) -> NDArray[np.float32]:
    """The first `number` images of each split; raises UnavailableError where they are not real ones."""
    if feeds.synthetic:
        raise UnavailableError(f"statistics must come from photographs, the feeds are {feeds.origin}")
    firsts = [next(islice(feeds.batches(number, split), 1)) for split in Split]
    return np.concatenate([array for feed in firsts for array in feed.values()])


def measure(network: ResNet, images: NDArray[np.float32]) -> Statistics:
    """Statistics of the seeded network over RGB images 0..255, [number, size, size, 3]."""
    means: list[NDArray[np.float16]] = []
    variances: list[NDArray[np.float16]] = []
    ends = branch_ends(network)

    def layer(part: Convolution, x: Tensor) -> Tensor:
        weights: Weights = seeded_convolution(part, ends_branch=part in ends)
        convolved = convolve(part, x, weights)
        pixels = convolved.numpy().reshape(-1, part.output_channels)
        means.append(pixels.mean(axis=0, dtype=np.float64).astype(np.float16))
        variances.append(pixels.var(axis=0, dtype=np.float64).astype(np.float16))
        weights[f"{part.batch_norm}/moving_mean"] = means[-1].astype(np.float32)
        weights[f"{part.batch_norm}/moving_variance"] = variances[-1].astype(np.float32)
        return normalise(part, convolved, weights)

    pooled = features(network, images, layer).numpy().astype(np.float64)
    return Statistics(np.concatenate(means), np.concatenate(variances), *coordinates(pooled))


def coordinates(
    pooled: NDArray[np.float64],
) -> tuple[NDArray[np.int8], NDArray[np.float32], NDArray[np.float32]]:
    """Directions, scale and origin (see Statistics) of feature vectors [images, features].

    The directions are the principal ones; the coordinates have mean 0 and variance 1 over the images.
    """
    _, _, principal = np.linalg.svd(pooled - pooled.mean(axis=0), full_matrices=False)
    columns = principal[:DIRECTIONS].T
    directions = np.rint(columns / np.abs(columns).max(axis=0) * _DIRECTION_STEPS).astype(np.int8)
    projected = pooled @ directions.astype(np.float64)
    deviation = projected.std(axis=0)
    return (
        directions,
        (1 / deviation).astype(np.float32),
        (projected.mean(axis=0) / deviation).astype(np.float32),
    )


if __name__ == "__main__":
    main()
