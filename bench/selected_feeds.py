"""Feeds of a network, for the part of it that has fewer inputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from model_zoo.spec import FeedSource, Split
from runtime.tensors import Feed


@dataclass(frozen=True)
class SelectedFeeds:
    """The samples of `whole`, of which only the inputs called `names` are given; fulfils FeedSource."""

    whole: FeedSource
    names: tuple[str, ...]

    @property
    def origin(self) -> str:
        return self.whole.origin

    @property
    def synthetic(self) -> bool:
        return self.whole.synthetic

    @property
    def digest(self) -> str:
        return self.whole.digest

    def batches(self, batch_size: int, split: Split) -> Iterator[Feed]:
        for feed in self.whole.batches(batch_size, split):
            yield {name: feed[name] for name in self.names}
