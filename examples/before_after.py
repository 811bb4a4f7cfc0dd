"""One moment of a clip, enlarged by Lanczos on the left and by vidsr on the right, as a PNG.

Usage: python examples/before_after.py [CLIP [SECONDS [OUTPUT.png]]]
"""

import sys
from pathlib import Path

import av
import numpy as np

import vidsr
from vidsr.backends import choose_backend
from vidsr.models.deploy import FrameFormat
from vidsr.models.lookup import find_model
from vidsr.video.formats import new_frame
from vidsr.video.reader import Reader, Span

HERE = Path(__file__).parent


def main(clip: Path, seconds: float, output: Path) -> None:
    """Write the picture."""
    info = vidsr.probe(clip)
    color = info.color
    frame_format = FrameFormat(info.pixel_format, color.matrix, color.range, color.chroma_location)
    size = (info.width * 2, info.height * 2)
    backend, _ = choose_backend("auto")
    with (
        Reader(info, Span(start=seconds, frames=1)) as reader,
        vidsr.Upscaler(find_model("ecbsr", 2), frame_format, info.width, info.height, backend) as upscaler,
    ):
        frame = next(iter(reader))
        lanczos = frame.origin.reformat(*size, interpolation="LANCZOS")
        network, planes = new_frame(info.pixel_format, *size)
        upscaler.submit(frame.planes, planes).result()
    network.colorspace, network.color_range = lanczos.colorspace, lanczos.color_range
    # The middle of the picture, each pixel shown as 2 x 2.
    rows, columns = (slice(side // 4, side - side // 4) for side in (size[1], size[0]))
    left, right = (
        f.to_ndarray(format="rgb24")[rows, columns].repeat(2, axis=0).repeat(2, axis=1)
        for f in (lanczos, network)
    )
    line = np.full((len(left), 4, 3), 255, dtype=np.uint8)
    av.VideoFrame.from_ndarray(np.concatenate([left, line, right], axis=1), format="rgb24").save(output)


if __name__ == "__main__":
    defaults = [str(HERE / "clip.mp4"), "2.9", "before_after.png"]
    given = sys.argv[1:] + defaults[len(sys.argv) - 1 :]
    main(Path(given[0]), float(given[1]), Path(given[2]))
