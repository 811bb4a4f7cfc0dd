"""Figures of compressed clips: each against its definition, over files made on the spot."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import av
import av.logging
import numpy as np
import pytest
from synth import make_clip, planes_at

from vidsr.backends.nearest import BACKEND as NEAREST
from vidsr.errors import EncodeError, OptionsError
from vidsr.evaluation import degraded
from vidsr.evaluation.bicubic import downscale
from vidsr.evaluation.clips import evaluate_clip
from vidsr.evaluation.degraded import Small, coded, read_frames
from vidsr.evaluation.metrics import psnr, ssim
from vidsr.evaluation.scores import Coding
from vidsr.frame import PixelFormat, Planes
from vidsr.models.lookup import find_model
from vidsr.upscaler import UpscalerOptions
from vidsr.video.enlarge import enlarge
from vidsr.video.probe import probe
from vidsr.video.reader import Reader
from vidsr.video.recode import recode, write_coded
from vidsr.video.xpsnr import Xpsnr

pytestmark = pytest.mark.media

YUV = PixelFormat.parse("yuv420p")
RATE = Fraction(25)


def planes(size: tuple[int, int], count: int) -> list[Planes]:
    return [tuple(planes_at(YUV, size, index)) for index in range(count)]


def equal(one: list[Planes], other: list[Planes]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(np.array_equal(a, b) for x, y in pairs for a, b in zip(x, y, strict=True))


# x264's mbtree is not repeatable at all sizes: ultrafast does without it.
@pytest.mark.parametrize(("codec", "preset"), [("libx264", "ultrafast"), ("libx265", "medium")])
def test_a_coded_file_holds_what_recode_gives(tmp_path: Path, codec: str, preset: str) -> None:
    frames, path = planes((96, 64), 21), tmp_path / "a.mkv"
    size = write_coded(path, iter(frames), YUV, codec=codec, crf=27, preset=preset, frame_rate=RATE)
    with Reader(probe(path)) as reader:
        made = [tuple(plane.copy() for plane in frame.planes) for frame in reader]
    wanted = recode(frames, YUV, codec=codec, crf=27, preset=preset, frame_rate=RATE)
    assert equal(made, wanted.frames)
    with av.open(str(path)) as file:
        there = sum(packet.size for packet in file.demux(video=0))
    assert there == pytest.approx(size, abs=21)  # lengths take the place of shorter start codes


def test_a_coder_that_cannot_make_the_file(tmp_path: Path) -> None:
    frames = planes((64, 48), 2)
    with pytest.raises(OptionsError, match="does not know the option 'crf'"):
        write_coded(tmp_path / "a.mkv", frames, YUV, codec="ffv1", crf=23, preset=None)
    with pytest.raises(OptionsError, match="no encoder 'h266'"):
        write_coded(tmp_path / "a.mkv", frames, YUV, codec="h266", crf=23, preset=None)
    with pytest.raises(OptionsError, match="there is no frame"):
        write_coded(tmp_path / "a.mkv", [], YUV, crf=23)
    with pytest.raises(EncodeError, match="libx264 failed on 64x48"):
        write_coded(tmp_path / "missing" / "a.mkv", frames, YUV, crf=23)


class Seen:
    """Keeps the luma of every frame that it is shown, by crf and method."""

    def __init__(self) -> None:
        self.frames: dict[float | None, list[dict[str, np.ndarray]]] = {}

    def look(self, crf: float | None, index: int, original: Planes, made: Mapping[str, Planes]) -> None:
        assert index == len(self.frames.setdefault(crf, []))
        copied = {name: frame[0].copy() for name, frame in {"original": original, **made}.items()}
        self.frames[crf].append(copied)


def test_figures_by_their_definitions(tmp_path: Path) -> None:
    """67x53, so that 64x52 is compared; the expected frames are made without the code under test."""
    clip = make_clip(tmp_path / "Clip.mkv", size=(67, 53), codec="ffv1", pixel_format="yuv420p", times=6)
    coding = Coding(crfs=(None, 0.0, 30.0), preset="ultrafast", every=2, frames=5)
    told: list[int] = []
    models = {"net": find_model("ecbsr", 2)}
    everything = evaluate_clip(probe(clip), models, NEAREST, UpscalerOptions(), coding, progress=told.append)
    assert (everything.name, everything.size, everything.frames) == ("clip", (64, 52), 5)
    assert sum(told) == 15
    plain, lossless, lossy = everything.points
    assert plain.figures == lossless.figures  # crf 0 loses nothing, so no frame is out of its turn
    originals = [(y[:52, :64], u[:26, :32], v[:26, :32]) for y, u, v in planes((67, 53), 5)]
    low = [tuple(np.ascontiguousarray(downscale(p, 2)) for p in frame) for frame in originals]
    back = recode(low, YUV, crf=30, preset="ultrafast", frame_rate=RATE)
    near = [frame[0].repeat(2, 0).repeat(2, 1) for frame in back.frames]  # the backend "nearest"
    ours = lossy.figures["net"]
    pairs = [(made, wanted[0]) for made, wanted in zip(near, originals, strict=True)]
    assert ours.psnr_y == pytest.approx(np.mean([psnr(a, b) for a, b in pairs]), abs=1e-9)
    assert ours.ssim_y == pytest.approx(np.mean([ssim(a, b) for a, b in pairs[::2]]), abs=1e-9)
    compare = Xpsnr(YUV, 64, 52, RATE)
    for made, wanted in pairs:
        compare.add(wanted, made)
    assert ours.xpsnr_y == pytest.approx(compare.mean, abs=1e-9)
    sws = [enlarge(frame, YUV, 2, "lanczos")[0] for frame in back.frames]
    found = np.mean([psnr(a, b[0]) for a, b in zip(sws, originals, strict=True)])
    assert lossy.figures["lanczos"].psnr_y == pytest.approx(found, abs=1e-9)
    assert lossy.figures["bicubic"].psnr_y != lossy.figures["lanczos"].psnr_y
    pixels = 5 * 32 * 26
    assert lossy.bits_per_pixel == pytest.approx(back.bytes * 8 / pixels, abs=700 * 8 / pixels)
    assert lossy.kilobits == pytest.approx((lossy.bits_per_pixel or 0) * 32 * 26 * 25 / 1000)
    assert plain.compression is None
    assert lossy.compression is not None
    assert (lossy.compression.codec, lossy.compression.source) == ("h264", "decoder")


def test_whoever_watches_sees_what_is_measured(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", codec="ffv1", times=4)
    seen = Seen()
    coding = Coding(crfs=(None, 35.0), every=1)
    models = {"net": find_model("ecbsr", 2)}
    scores = evaluate_clip(probe(clip), models, NEAREST, UpscalerOptions(), coding, watcher=seen)
    for point in scores.points:
        for name, figures in point.figures.items():
            values = [psnr(frame[name], frame["original"]) for frame in seen.frames[point.crf]]
            assert figures.psnr_y == pytest.approx(np.mean(values), abs=1e-9)


def test_long_clips_are_made_small_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = probe(make_clip(tmp_path / "a.mkv", codec="ffv1", times=5))
    reads = []

    def counting(*arguments: object) -> object:
        reads.append(1)
        return read_frames(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(degraded, "read_frames", counting)
    kept = Small(info, None, (64, 48), 2)
    wanted = list(kept)
    assert (equal(list(kept), wanted), kept.count, len(reads)) == (True, 5, 1)
    monkeypatch.setattr(degraded, "_KEPT_BYTES", 4 * 32 * 24 * 3 // 2)
    anew = Small(info, None, (64, 48), 2)
    assert (equal(list(anew), wanted), anew.count, len(reads)) == (True, 5, 2)
    assert (equal(list(anew), wanted), len(reads)) == (True, 3)
    with coded(anew, 20, RATE, codec="libx264", preset="ultrafast") as low, closing(low.frames) as frames:
        assert len(list(frames)) == 5


def test_xpsnr_of_a_clip_is_what_ffmpeg_says_at_its_end() -> None:
    random = np.random.default_rng(0)
    still = random.integers(0, 255, (96, 128), dtype=np.uint8)
    level = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)
    try:
        with av.logging.Capture() as said:
            compare = Xpsnr(YUV, 128, 96, RATE)
            for index in range(5):
                one = np.roll(still, index, 1)
                noise = random.integers(-4 * index - 2, 4 * index + 3, one.shape)
                compare.add(one, np.clip(one + noise, 0, 255).astype(np.uint8))
            mean = compare.mean
            del compare  # the filter speaks when it ends
            gc.collect()  # PyAV 19 has it in a circle
    finally:
        av.logging.set_level(level)
    assert f"XPSNR  y: {mean:.4f}" in [text for _, _, text in said]
    twice = Xpsnr(YUV, 128, 96, RATE)
    assert twice.add(still, still) == twice.mean == float("inf")


@pytest.mark.parametrize("method", ["bicubic", "lanczos"])
def test_the_filters_shift_and_darken_nothing(method: str) -> None:
    (frame,) = planes((64, 48), 1)
    mirrored = tuple(np.ascontiguousarray(plane[::-1, ::-1]) for plane in frame)
    made, turned = (enlarge(f, YUV, 2, method)[0].astype(int) for f in (frame, mirrored))  # type: ignore[arg-type]
    assert made.shape == (96, 128)
    assert np.abs(made - turned[::-1, ::-1]).max() <= 1
    assert made.mean() == pytest.approx(frame[0].mean(), abs=0.03)
