"""What stands around a source whose framework may be unable to answer."""

from __future__ import annotations

import numpy as np

from bench.exporting import Unanswered
from exporters.source import Releasing
from runtime.tensors import Feed
from tests.exporters.graphs import parse
from tests.exporters.sources import GraphSource


class _Copying(GraphSource):
    released = 0

    def release(self) -> None:
        type(self).released += 1


def _graph() -> GraphSource:
    model = parse("g (float[batch,3] x) => (float[batch,3] y) { y = Relu(x) }")
    return GraphSource(model, model)


def test_a_source_inside_is_let_go_of_where_it_can_be() -> None:
    plain = _graph()
    copying = _Copying(plain.original, plain.exported)
    asked = Unanswered(copying, allowed=False)
    assert isinstance(asked, Releasing)
    asked.release()
    assert _Copying.released == 1
    Unanswered(plain, allowed=False).release()  # one without a copy has nothing to let go of


def test_an_answer_is_the_sources_own() -> None:
    feed: Feed = {"x": np.array([[1, -2, 3]], np.float32)}
    answer = Unanswered(_graph(), allowed=False).run(feed)
    np.testing.assert_array_equal(answer["y"], [[1, 0, 3]])
