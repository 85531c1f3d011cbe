"""Character error rate: edits that make an answer right, over the characters there should be."""

from __future__ import annotations

from model_zoo.metrics.sums import ShareMetric


class CharacterErrorRate(ShareMetric):
    """truth, answer: texts. Over all samples together, as word error rates are; may be above 1.

    A broken answer counts as an empty one.
    """

    def parts(self, truth: str, answer: str) -> tuple[float, ...]:
        return float(edits(truth, answer)), float(len(truth))

    def worst(self, truth: str) -> tuple[float, ...]:
        return float(len(truth)), float(len(truth))


def edits(one: str, other: str) -> int:
    """Levenshtein's distance (1966): fewest insertions, deletions and substitutions between two texts."""
    above = list(range(len(other) + 1))
    for row, character in enumerate(one, 1):
        current = [row]
        for column, opposite in enumerate(other, 1):
            replaced = above[column - 1] + (character != opposite)
            current.append(min(replaced, above[column] + 1, current[-1] + 1))
        above = current
    return above[-1]
