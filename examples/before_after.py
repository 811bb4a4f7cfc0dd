"""One moment of a clip, enlarged by Lanczos on the left and by vidsr's models beside it, as a PNG.

    python examples/before_after.py [CLIP [SECONDS [OUTPUT.png]]] [--crf N] [--model NAME ...]

With --crf the second before that moment is compressed by x264 first: what most video has been through.
"""

import argparse
from pathlib import Path

import av
import numpy as np

import vidsr
from vidsr.frame import Planes, VideoInfo
from vidsr.video.enlarge import enlarge
from vidsr.video.formats import new_frame
from vidsr.video.reader import Reader, Span
from vidsr.video.recode import recode

HERE = Path(__file__).parent
SCALE = 2


def moment(info: VideoInfo, seconds: float, crf: float | None) -> tuple[Planes, object]:
    """Return the planes of a frame, compressed if `crf` says so, and the frame as PyAV decoded it."""
    span = Span(start=seconds, frames=1) if crf is None else Span(start=max(0.0, seconds - 1), end=seconds)
    with Reader(info, span) as reader:
        frames = [(tuple(plane.copy() for plane in frame.planes), frame.origin) for frame in reader]
    planes, origin = frames[-1]
    if crf is not None:
        planes = recode([p for p, _ in frames], info.pixel_format, crf=crf).frames[-1]
    return planes, origin


def main(clip: Path, seconds: float, output: Path, crf: float | None, models: list[str]) -> None:
    """Write the picture."""
    info = vidsr.probe(clip)
    size = (info.width * SCALE, info.height * SCALE)
    planes, origin = moment(info, seconds, crf)
    panels = [enlarge(planes, info.pixel_format, SCALE, "lanczos")]
    for name in models:
        with vidsr.Upscaler(name, SCALE) as upscaler:
            panels.append(upscaler.upscale(planes, pixel_format=info.pixel_format.name, color=info.color))
    # The middle of the picture, each pixel shown as 2 x 2.
    rows, columns = (slice(side // 4, side - side // 4) for side in (size[1], size[0]))
    shown = []
    for panel in panels:
        frame, target = new_frame(info.pixel_format, *size)
        for one, other in zip(panel, target, strict=True):
            np.copyto(other, one)
        frame.colorspace, frame.color_range = origin.colorspace, origin.color_range
        middle = frame.to_ndarray(format="rgb24")[rows, columns]
        shown += [middle.repeat(2, axis=0).repeat(2, axis=1), np.full((2 * len(middle), 4, 3), 255, np.uint8)]
    av.VideoFrame.from_ndarray(np.concatenate(shown[:-1], axis=1), format="rgb24").save(output)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path, nargs="?", default=HERE / "clip.mp4")
    parser.add_argument("seconds", type=float, nargs="?", default=2.9)
    parser.add_argument("output", type=Path, nargs="?", default=Path("before_after.png"))
    parser.add_argument("--crf", type=float, help="compress by x264 at this quality first")
    parser.add_argument("--model", action="append", help="a network or a name; again for more (ecbsr)")
    given = parser.parse_args()
    main(given.clip, given.seconds, given.output, given.crf, given.model or ["ecbsr"])
