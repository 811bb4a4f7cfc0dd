"""Frames through an encoder and back: the right ones, all of them, and the same each time."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
import pytest
from synth import planes_at

from vidsr.errors import EncodeError, OptionsError
from vidsr.frame import PixelFormat, Planes
from vidsr.video.formats import new_frame, planes_of
from vidsr.video.recode import recode


def clip(layout: PixelFormat, size: tuple[int, int], count: int) -> list[Planes]:
    return [tuple(planes_at(layout, size, index)) for index in range(count)]


def equal(one: list[Planes], other: list[Planes]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(np.array_equal(a, b) for x, y in pairs for a, b in zip(x, y, strict=True))


LOSSLESS = [
    ("libx264", "yuv420p", {"qp": "0", "bf": "3"}),
    ("libx264", "gray", {"qp": "0"}),
    ("libx264", "yuv422p10le", {"qp": "0"}),
    ("libx265", "yuv420p", {"x265-params": "lossless=1"}),
    ("libx265", "gray10le", {"x265-params": "lossless=1"}),
    ("ffv1", "yuv444p", {}),
]


@pytest.mark.parametrize(("codec", "name", "options"), LOSSLESS, ids=[f"{c} {n}" for c, n, _ in LOSSLESS])
def test_without_loss_the_same_planes_come_back(codec: str, name: str, options: dict[str, str]) -> None:
    layout = PixelFormat.parse(name)
    frames = clip(layout, (104, 76), 17)
    preset = None if codec == "ffv1" else "medium"
    done = recode(frames, layout, codec=codec, preset=preset, options=options)
    assert equal(done.frames, frames)
    assert 0 < done.bytes < 17 * sum(p.nbytes for p in frames[0])


def test_crf_0_is_lossless_and_larger_ones_are_ever_smaller() -> None:
    layout = PixelFormat.parse("yuv420p")
    frames = clip(layout, (64, 48), 8)
    assert equal(recode(frames, layout, crf=0).frames, frames)
    sizes = [recode(frames, layout, crf=crf).bytes for crf in (0, 18, 28, 38)]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 4


def test_against_a_file_written_and_read_by_ffmpeg() -> None:
    """The same coder in a container: the same pictures in the same order, with B-frames."""
    layout = PixelFormat.parse("yuv420p")
    frames = clip(layout, (96, 64), 21)
    options = {"crf": "27", "preset": "medium", "mbtree": "0", "bf": "3", "b_strategy": "2", "threads": "1"}
    file = io.BytesIO()
    with av.open(file, "w", format="nut") as out:
        stream = out.add_stream("libx264", rate=30, options=options)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for index, planes in enumerate(frames):
            frame, target = new_frame(layout, 96, 64)
            for one, other in zip(planes, target, strict=True):
                other[:] = one
            frame.pts, frame.time_base = index, Fraction(1, 30)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as source:
        coded = sum(packet.size for packet in source.demux(video=0))
    file.seek(0)
    with av.open(file) as source:
        kinds, wanted = [], []
        for frame in source.decode(video=0):
            kinds.append(frame.pict_type)
            wanted.append(planes_of(frame))
    assert av.video.frame.PictureType.B in kinds
    extra = {key: options[key] for key in ("mbtree", "bf", "b_strategy")}
    done = recode(frames, layout, crf=27, options=extra, frame_rate=Fraction(30))
    assert equal(done.frames, wanted)
    assert coded <= done.bytes < coded + 64  # NUT keeps the headers elsewhere


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("count", [1, 2, 5, 60])
def test_as_many_come_back_as_go_in(codec: str, count: int) -> None:
    layout = PixelFormat.parse("gray")
    frames = clip(layout, (100, 100), count)
    back = recode(iter(frames), layout, codec=codec, crf=20, preset="veryfast").frames
    assert len(back) == count
    for index, (planes,) in enumerate(back):  # each is nearest to its own source, so none is out of turn
        distances = [float(np.mean(np.abs(planes.astype(int) - f[0]))) for f in frames]
        assert int(np.argmin(distances)) == index


@pytest.mark.parametrize(
    ("codec", "options"), [("libx264", {"mbtree": "0"}), ("libx264", {"g": "4", "bf": "2"}), ("libx265", {})]
)
def test_the_same_each_time(codec: str, options: dict[str, str], capfd: pytest.CaptureFixture[str]) -> None:
    layout = PixelFormat.parse("yuv420p")
    frames = clip(layout, (112, 98), 8)
    first = recode(frames, layout, codec=codec, crf=25, options=options)
    junk = [np.full((98, 112), value, np.uint8) for value in range(50)]
    again = recode(frames, layout, codec=codec, crf=25, options=options)
    assert len(junk) == 50
    assert equal(first.frames, again.frames)
    assert first.bytes == again.bytes
    assert capfd.readouterr().err == ""  # x265 likes to talk


def test_what_comes_back_outlives_its_coder() -> None:
    layout = PixelFormat.parse("yuv420p")
    kept = recode(clip(layout, (64, 48), 6), layout, crf=20).frames
    before = [tuple(p.copy() for p in planes) for planes in kept]
    for _ in range(3):
        recode(clip(layout, (64, 48), 12), layout, crf=40)
    assert equal(kept, before)


WRONG = [
    ({"codec": "h266"}, "no encoder 'h266'"),
    ({"preset": "hasty"}, "libx264 has no preset 'hasty'; it has ultrafast"),
    ({"codec": "libx265", "preset": "hasty"}, "libx265 has no preset"),
    ({"options": {"no_such": "1"}}, "does not know the option 'no_such'"),
    ({"crf": -5.0}, "crf=-5"),
    ({"codec": "libvpx-vp9", "preset": "medium"}, "does not know the option 'preset'"),
]


@pytest.mark.parametrize(("keywords", "words"), WRONG, ids=[str(k) for k, _ in WRONG])
def test_what_the_encoder_does_not_take(
    keywords: dict[str, object], words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    layout = PixelFormat.parse("yuv420p")
    with pytest.raises(OptionsError) as caught:
        recode(clip(layout, (64, 48), 2), layout, **keywords)  # type: ignore[arg-type]
    assert words in str(caught.value)
    assert capfd.readouterr().err == ""


def test_frames_that_cannot_be_coded() -> None:
    layout = PixelFormat.parse("yuv420p")
    with pytest.raises(OptionsError, match="no frame"):
        recode([], layout)
    with pytest.raises(OptionsError, match="takes yuv420p"):
        recode(clip(PixelFormat.parse("yuv410p"), (64, 48), 1), PixelFormat.parse("yuv410p"))
    with pytest.raises(OptionsError, match="63x48"):
        recode(clip(layout, (63, 48), 1), layout)
    with pytest.raises(OptionsError, match="frame 1 differs from the first"):
        recode([*clip(layout, (64, 48), 1), *clip(layout, (64, 50), 1)], layout)


def test_a_frame_that_gets_lost_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the decoder had not been flushed."""
    layout = PixelFormat.parse("yuv420p")
    create = av.CodecContext.create

    class Leaky:
        def __init__(self, context: av.CodecContext) -> None:
            self._context = context

        def decode(self, packet: av.Packet | None) -> list[av.VideoFrame]:
            return [] if packet is None else self._context.decode(packet)  # type: ignore[return-value]

    def leaky(name: str, mode: str) -> object:
        return create(name, mode) if mode == "w" else Leaky(create(name, mode))  # type: ignore[arg-type]

    monkeypatch.setattr("av.CodecContext.create", leaky)
    with pytest.raises(EncodeError, match=r"of which \d+ could be decoded"):
        recode(clip(layout, (64, 48), 6), layout)
