"""Still pictures as RGB arrays, for training and evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from vidsr.errors import ProbeError, SourceError

__all__ = ["PICTURE_SUFFIXES", "find_pictures", "read_picture"]

PICTURE_SUFFIXES = frozenset({".bmp", ".jpg", ".jpeg", ".png", ".ppm", ".tif", ".tiff", ".webp"})


def find_pictures(folders: Sequence[Path]) -> list[Path]:
    """Return the picture files in `folders` and below, sorted within each folder.

    Raises:
        SourceError: A folder is missing or holds no picture.
    """
    found: list[Path] = []
    for folder in folders:
        if not folder.is_dir():
            raise SourceError("no such folder of pictures", path=folder)
        files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES)
        if not files:
            raise SourceError("this folder holds no pictures", path=folder)
        found += files
    return found


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Return the picture as RGB code values, [H, W, 3] uint8.

    Raises:
        ProbeError: The file is missing or is no picture.
    """
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                return np.ascontiguousarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
    except (av.FFmpegError, OSError, IndexError) as error:
        raise ProbeError(f"cannot read this picture ({error})", path=path) from error
    raise ProbeError("this file holds no picture", path=path)
