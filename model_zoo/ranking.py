"""How many of a user's candidates a recommender shows (MODELS.md 2.6)."""

from __future__ import annotations

CUT = 10
"""Places that are shown to a user."""
