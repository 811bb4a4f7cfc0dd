"""Files that are nothing but a coded stream: the only rate there is, is the stream's own."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

import vidsr
from vidsr.video.probe import probe

pytestmark = pytest.mark.media


def _coded(path: Path, codec: str, rate: Fraction, frames: int = 12) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        if codec == "libx265":
            stream.options = {"x265-params": "log-level=none"}
        for number in range(frames):
            picture = np.full((48, 64, 3), 10 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("name", "codec"), [("a.h264", "libx264"), ("a.hevc", "libx265"), ("a.m2v", "mpeg2video")]
)
@pytest.mark.parametrize("rate", [Fraction(50), Fraction(24000, 1001), Fraction(25)])
def test_the_streams_own_rate_holds(tmp_path: Path, name: str, codec: str, rate: Fraction) -> None:
    source = _coded(tmp_path / name, codec, rate)
    assert probe(source).frame_rate == rate
    output = tmp_path / "out.mp4"
    vidsr.run(vidsr.Job(source=source, output=output, backend="nearest"))
    with av.open(str(output)) as container:
        stream = container.streams.video[0]
        times = sorted(p.pts * stream.time_base for p in container.demux(stream) if p.pts is not None)
    assert len(times) == 12
    assert abs(float(times[-1] - times[0]) - 11 / float(rate)) < 0.002
