"""Pieces of scenes that need no archive."""

from __future__ import annotations

import numpy as np

from model_zoo.garment_scenes import Pieces


def made_up_pieces() -> Pieces:
    """Garments that are ellipses, on one dark and one light background."""
    rows, columns = np.mgrid[:28, :28]
    garments = []
    for kind in range(1, 5):
        inside = ((rows - 13.5) / (4 + 2 * kind)) ** 2 + ((columns - 13.5) / (14 - 2 * kind)) ** 2 <= 1
        garments.append(np.where(inside, 255, 0).astype(np.uint8))
    grounds = tuple(np.full((140, 150, 3), value, np.uint8) for value in (0, 250))
    return Pieces(np.array(garments), np.arange(1, 5), grounds)
