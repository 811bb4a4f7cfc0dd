"""Deinterlacing in all depths and layouts, what it cannot do, and real clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fields import job, read, same
from synth import make_clip

import vidsr
from vidsr.errors import OptionsError
from vidsr.video.deinterlace import Deinterlacing
from vidsr.video.reader import Reader


@pytest.mark.parametrize(
    ("pixel_format", "size", "said"),
    [("gray10le", (64, 48), "does not take gray10le"), ("yuv420p", (64, 4), "64x4 in yuv420p is too small")],
)
@pytest.mark.parametrize("mode", ["frame", "field"])
def test_what_the_filter_does_not_take_is_refused(
    tmp_path: Path, mode: str, pixel_format: str, size: tuple[int, int], said: str
) -> None:
    source = make_clip(tmp_path / "in.mkv", codec="ffv1", pixel_format=pixel_format, size=size, times=2)
    with pytest.raises(OptionsError, match=said):
        vidsr.run(job(source, tmp_path / "out.mkv", codec="ffv1", deinterlace=mode, preset=None, crf=None))


@pytest.mark.parametrize("pixel_format", ["gray", "yuv422p10le", "yuv444p12le", "gbrp10le", "yuva420p"])
def test_depths_and_layouts(tmp_path: Path, pixel_format: str) -> None:
    """Nothing moves here: all there is to see is that code values come back as they went in."""
    source = make_clip(tmp_path / "in.mkv", codec="ffv1", pixel_format=pixel_format, times=5)
    info = vidsr.probe(source)
    with Reader(info, deinterlace=Deinterlacing("frame")) as reader:
        frames = list(reader)
    assert len(frames) == 5
    assert all(frame.pixel_format.name == pixel_format for frame in frames)
    with Reader(info) as reader:
        for before, after in zip(reader, frames, strict=True):
            for plane, made in zip(before.planes, after.planes, strict=True):
                assert made.dtype == plane.dtype
                assert np.array_equal(made[0::2], plane[0::2]), "the first field is kept"


@pytest.mark.parametrize(
    ("name", "frames", "made"),
    [
        ("openshot/test1.mp4", 21, 21),
        ("fate/mpeg2video/roundup997.mp4", 4, 4),
        ("fate/mpeg2video/sony-ct3.mp4", 7, 4),
        ("fate/prores/Sequence_1-Apple_ProRes_422.mp4", 2, 2),
        ("fate/prores/prores_zlib.mkv", 2, 2),
        ("fate/prores/Sequence_1-Apple_ProRes_with_Alpha.mp4", 2, 0),
    ],
)
def test_real_clips(data: Path, name: str, frames: int, made: int) -> None:
    path = data / "video" / name
    whole, reader = read(path, "auto")
    woven_frames, _ = read(path, "off")
    assert [pts for pts, _ in whole] == [pts for pts, _ in woven_frames]
    assert reader.deinterlaced.startswith(f"auto, bwdif, one frame a frame: {made} of {frames} frames")
    refused = "not deinterlaced, fields stay woven: FFmpeg's bwdif does not take yuva444p12le"
    broken_off = "the recording breaks off within its last picture, which is left out"
    ragged = name.endswith("roundup997.mp4")
    warnings = [w for w in reader.warnings if not (ragged and "begins between" in w)]
    assert warnings == ([broken_off] if ragged else [] if made else [refused])
    if name.endswith("roundup997.mp4"):  # the one that is visibly combed
        assert all(
            combing_of(a) < 0.9 * combing_of(b) for (_, a), (_, b) in zip(whole, woven_frames, strict=True)
        )
    for number in range(len(whole) - 1):
        assert same(read(path, "auto", after=whole[number][0])[0], whole[number + 1 :]), number


def combing_of(luma: np.ndarray) -> float:
    """Return the difference of neighbouring rows by that of rows two apart."""
    rows = luma.astype(int)
    return float(np.abs(np.diff(rows, axis=0)).mean() / np.abs(rows[2:] - rows[:-2]).mean())
