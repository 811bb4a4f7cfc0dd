"""Pictures to train on beside photographs, from Debian 12's packages: drawings and paintings, on white.

    apt-get download openclipart-png flare-game wesnoth-1.16-data
    apt-get download wesnoth-1.16-{did,dm,dw,ei,httt,l,low,nr,sof,sota,sotbe,thot,trow,tsg,ttb,utbs}
    for package in *.deb; do dpkg -x $package unpacked; done
    python examples/debian_pictures.py unpacked DATA/train

Photographs alone teach small networks little about hard edges. `debian_pictures.txt` has their folders and
names. openclipart: 45 drawings, taken at random (public domain), of 300 to 1600 pixels and not mostly of one
colour. paintings: portraits and scenes of Battle for Wesnoth and Flare (GPL-2+, CC BY-SA), cropped to what is
not transparent; those that bicubic enlarges 4x to between 17 and 29 dB.
"""

import sys
from pathlib import Path

import av
import numpy as np

NAMES = Path(__file__).with_suffix(".txt")


def on_white(path: Path, *, crop: bool) -> np.ndarray:
    """Return a picture [H, W, 3] with white behind what is transparent, halves rounded up."""
    with av.open(str(path)) as file:
        rgba = next(file.decode(video=0)).to_ndarray(format="rgba").astype(np.int64)
    if crop:
        rows, columns = np.nonzero(rgba[..., 3] > 8)
        rgba = rgba[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    color, alpha = rgba[..., :3], rgba[..., 3:]
    return ((2 * (color * alpha + 255 * (255 - alpha)) + 255) // 510).astype(np.uint8)


def write(picture: np.ndarray, path: Path) -> None:
    """Write a PNG."""
    with av.open(str(path), "w", format="image2", options={"update": "1"}) as file:
        stream = file.add_stream("png", rate=1)
        stream.height, stream.width, stream.pix_fmt = *picture.shape[:2], "rgb24"
        file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode(None))


def main(unpacked: Path, target: Path) -> None:
    """Make the folders."""
    made: dict[str, set[str]] = {}
    for line in NAMES.read_text(encoding="utf-8").splitlines():
        folder, name = line.split(" ", 1)
        paintings = folder == "paintings"
        file = "_".join(Path(name).parts[-4:]) if paintings else Path(name).name
        file = f"{Path(file).stem[:60]}.png"
        if file in made.setdefault(folder, set()):
            raise SystemExit(f"two pictures would be {folder}/{file}")
        made[folder].add(file)
        (target / folder).mkdir(parents=True, exist_ok=True)
        write(on_white(unpacked / name, crop=paintings), target / folder / file)
    for folder, names in made.items():
        print(f"{len(names)} pictures in {target / folder}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
