"""What is not the picture: times, sound, subtitles, tags, chapters. Shared clips: `test_shared_clips`."""

from fractions import Fraction
from pathlib import Path

import av
import pytest
from describe import Description, describe
from synth import SUBTITLES, make_clip

import vidsr
from vidsr.video.reader import Reader, Span
from vidsr.video.writer import SegmentWriter

VARIABLE = [0, 1, 5, 6, 7, 20, 21, 22, 40, 41, 60, 90, 91, 92]
LIMITED_ONLY = (1, 2, 2, 2)
"""Tagged limited range and nothing else: H.264 does not write what is its default."""


def upscale(source: Path, output: Path, **options: object) -> Description:
    job = vidsr.Job(
        source=source, output=output, backend="nearest", preset="ultrafast", segment_frames=4, **options
    )
    vidsr.run(job)
    assert not list(output.parent.glob("*.vidsr"))
    return describe(output)


def largest_error(
    before: list[Fraction], after: list[Fraction], origins: tuple[Fraction, Fraction]
) -> Fraction:
    assert len(before) == len(after)
    shifted = zip(before, after, strict=True)
    return max((abs((b - origins[1]) - (a - origins[0])) for a, b in shifted), default=Fraction(0))


def assert_kept(before: Description, after: Description, *, exact: bool) -> None:
    """Check everything that must survive in `after`."""
    origins = (before.times[0], after.times[0])
    allowed = Fraction(0) if exact else Fraction(1, 1000)
    assert largest_error(before.times, after.times, origins) <= allowed
    # An MP4 muxer leaves out streams without a single packet.
    assert [s for s in before.sound if s] == [s for s in after.sound if s]
    for earlier, later in zip(before.sound_times, after.sound_times, strict=False):
        heard = [(a, b) for a, b in zip(earlier, later, strict=True) if a >= origins[0]]
        assert largest_error([a for a, _ in heard], [b for _, b in heard], origins) <= Fraction(1, 1000)
    if before.colors != LIMITED_ONLY:
        assert after.colors == before.colors
    # Zero is "not known", which players take for one.
    assert float(after.aspect or 1) == pytest.approx(float(before.aspect or 1), abs=1e-4)
    assert after.rotation == before.rotation
    assert [c[2] for c in after.chapters] == [c[2] for c in before.chapters]
    assert after.size == (before.size[0] * 2, before.size[1] * 2)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_everything_is_kept(tmp_path: Path, suffix: str) -> None:
    source = make_clip(
        tmp_path / "in.mp4",
        sound=True,
        subtitles="mov_text",
        colors=(1, 6, 6, 6),
        aspect=Fraction(4, 3),
        rotation=90,
        chapters=True,
        title="a title",
        times=25,
    )
    before = describe(source)
    assert before.rotation == 90
    assert len(before.sound[0]) > 40
    after = upscale(source, tmp_path / f"out{suffix}")
    assert_kept(before, after, exact=suffix != ".mkv")
    assert after.tags["title"] == "a title"
    assert after.languages[1:3] == ["fra", "ita"]
    words = [packet for packet, _ in after.subtitles[0] if packet.strip(b"\0")]
    assert [w[-len(text) :].decode() for w, (_, _, text) in zip(words, SUBTITLES, strict=True)] == [
        text for _, _, text in SUBTITLES
    ]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1", "libvpx-vp9", "ffv1"])
@pytest.mark.parametrize("time_base", [Fraction(1, 90000), Fraction(1001, 30000), Fraction(1, 1000)])
def test_variable_frame_rate(tmp_path: Path, suffix: str, codec: str, time_base: Fraction) -> None:
    step = max(1, round(Fraction(1, 30) / time_base))
    times = [7 + t * step for t in VARIABLE]
    source = make_clip(tmp_path / "in.mp4", times=times, time_base=time_base, sound=True, size=(64, 64))
    before = describe(source)
    job = vidsr.Job(
        source=source,
        output=tmp_path / f"out{suffix}",
        backend="nearest",
        codec=codec,
        preset={"libsvtav1": "12", "libx264": "veryfast", "libx265": "ultrafast"}.get(codec),
        segment_frames=5,
        verify="full",
    )
    vidsr.run(job)
    assert_kept(before, describe(job.output), exact=suffix == ".mp4")


@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("garbage", [-94768584666832, 4489176846061060590, -1024])
def test_x265_of_fewer_frames_than_it_reorders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frames: int, garbage: int
) -> None:
    """It then takes decoding times from memory that it never wrote: here, from what was seen there."""
    mend = SegmentWriter._mend_dts

    def unwritten(self: SegmentWriter, packet: av.Packet) -> None:
        packet.dts = garbage + packet.pts
        mend(self, packet)

    monkeypatch.setattr(SegmentWriter, "_mend_dts", unwritten)
    source = make_clip(tmp_path / "in.mp4", times=frames, size=(64, 64))
    job = vidsr.Job(
        source=source, output=tmp_path / "out.mp4", backend="nearest", codec="x265", verify="full"
    )
    assert vidsr.run(job).frames == frames
    assert len(describe(job.output).times) == frames


@pytest.mark.parametrize("suffix", [".mov", ".mkv"])
def test_prores(tmp_path: Path, suffix: str) -> None:
    source = make_clip(tmp_path / "in.mp4", times=9, sound=True, size=(64, 64), colors=(1, 1, 2, 2))
    before = describe(source)
    job = vidsr.Job(
        source=source, output=tmp_path / f"out{suffix}", backend="nearest", codec="prores", segment_frames=4
    )
    vidsr.run(job)
    after = describe(job.output)
    assert after.kinds[0] == ("video", "prores")
    assert_kept(before, after, exact=suffix == ".mov")


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_subrip_is_kept_or_converted(tmp_path: Path, suffix: str) -> None:
    source = make_clip(tmp_path / "in.mkv", subtitles="subrip", times=25)
    after = upscale(source, tmp_path / f"out{suffix}")
    assert after.kinds[1] == ("subtitle", "subrip" if suffix == ".mkv" else "mov_text")
    cues = [(packet, time) for packet, time in after.subtitles[0] if packet.strip(b"\0")]
    for (packet, time), (start, _, words) in zip(cues, SUBTITLES, strict=True):
        assert packet.endswith(words.encode())
        assert abs(time - Fraction(start, 1000)) <= Fraction(1, 1000)


def test_tags_without_a_place_are_named(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mkv", times=3, title="a title", tags={"DIRECTOR": "somebody"})
    for suffix, kept in ((".mkv", True), (".mp4", False)):
        job = vidsr.Job(source=source, output=tmp_path / f"out{suffix}", backend="nearest")
        report = vidsr.run(job)
        tags = describe(tmp_path / f"out{suffix}").tags
        assert ("DIRECTOR" in tags) == kept
        assert any("DIRECTOR" in warning for warning in report.warnings) != kept
        assert "a title" in tags.values()


def test_attachments_are_kept(tmp_path: Path) -> None:
    import av

    plain = make_clip(tmp_path / "plain.mkv", times=3)
    source = tmp_path / "in.mkv"
    with av.open(str(plain)) as file, av.open(str(source), "w") as out:
        video = out.add_stream_from_template(file.streams.video[0])
        out.add_attachment("font.ttf", "application/x-truetype-font", b"not a font" * 50)
        for packet in file.demux(video=0):
            if packet.size:
                packet.stream = video
                out.mux(packet)
    upscale(source, tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as file:
        attached = file.streams.attachments[0]
        assert attached.name == "font.ttf"
        assert attached.data == b"not a font" * 50


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_part_of_the_source(tmp_path: Path, suffix: str) -> None:
    source = make_clip(tmp_path / "in.mp4", times=50, sound=True, subtitles="mov_text", size=(32, 32))
    before = describe(source)
    after = upscale(source, tmp_path / f"out{suffix}", start=0.4, end=1.2)
    assert len(after.times) == 20
    wanted = [t - before.times[10] for t in before.times[10:30]]
    assert largest_error(wanted, after.times, (wanted[0], after.times[0])) <= Fraction(1, 1000)
    length = len(after.sound[0]) * 1024 / 48000
    assert length == pytest.approx(0.8, abs=0.05)
    # The sound that is left is the one that belonged to these frames.
    index = before.sound[0].index(after.sound[0][0])
    distance = before.sound_times[0][index] - before.times[10]
    assert abs((after.sound_times[0][0] - after.times[0]) - distance) <= Fraction(1, 1000)


def test_part_of_a_source_that_cannot_be_searched(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.h264", times=30, options={"g": "5"})
    info = vidsr.probe(source)
    whole = [(f.pts, f.planes[0].copy()) for f in Reader(info)]
    reader = Reader(info, Span(start=0.5))
    part = [(f.pts, f.planes[0].copy()) for f in reader]
    assert [pts for pts, _ in part] == [pts for pts, _ in whole if pts * info.time_base >= 0.5]
    assert all((a == b).all() for (_, a), (_, b) in zip(part, whole[-len(part) :], strict=True))
    assert any("cannot be searched" in warning for warning in reader.warnings)


def test_frames_limits_the_count(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", times=20)
    assert len(upscale(source, tmp_path / "out.mp4", frames=7).times) == 7
