"""The feeds of the reference models."""

from __future__ import annotations

from model_zoo.image_feeds import ImageFormat, image_feeds, image_folder_feeds
from model_zoo.samples import LazyFeeds
from model_zoo.text_feeds import sentence_feeds, sentence_file_feeds, squad_feeds, squad_file_feeds

__all__ = [
    "ImageFormat",
    "LazyFeeds",
    "image_feeds",
    "image_folder_feeds",
    "sentence_feeds",
    "sentence_file_feeds",
    "squad_feeds",
    "squad_file_feeds",
]
