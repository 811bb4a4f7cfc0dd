"""Drawings to train on beside photographs: 45 of Debian's package openclipart-png (public domain), on white.

    apt-get download openclipart-png && dpkg -x openclipart-png_*.deb unpacked
    python examples/clip_art.py unpacked/usr/share/openclipart/png DATA/train/openclipart

Photographs alone teach small networks little about hard edges. `clip_art.txt` has the names: drawn at random
from those of 300 to 1600 pixels, without those that are mostly one colour.
"""

import sys
from pathlib import Path

import av
import numpy as np

NAMES = Path(__file__).with_name("clip_art.txt")


def on_white(path: Path) -> np.ndarray:
    """Return a picture [H, W, 3] with white behind what is transparent, halves rounded up."""
    with av.open(str(path)) as file:
        rgba = next(file.decode(video=0)).to_ndarray(format="rgba").astype(np.int64)
    color, alpha = rgba[..., :3], rgba[..., 3:]
    return ((2 * (color * alpha + 255 * (255 - alpha)) + 255) // 510).astype(np.uint8)


def write(picture: np.ndarray, path: Path) -> None:
    """Write a PNG."""
    with av.open(str(path), "w", format="image2", options={"update": "1"}) as file:
        stream = file.add_stream("png", rate=1)
        stream.height, stream.width, stream.pix_fmt = *picture.shape[:2], "rgb24"
        file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode(None))


def main(source: Path, target: Path) -> None:
    """Make the folder."""
    target.mkdir(parents=True, exist_ok=True)
    for name in NAMES.read_text(encoding="utf-8").splitlines():
        write(on_white(source / name), target / f"{Path(name).stem[:60]}.png")
    print(f"{len(list(target.iterdir()))} pictures in {target}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
