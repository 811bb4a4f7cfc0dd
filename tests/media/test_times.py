"""Times that are strange: out of order, repeated, jumping, wrapping; and which video is meant."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest
from describe import describe
from synth import add_sound, make_clip
from test_fidelity import upscale

import vidsr
from vidsr.errors import OptionsError
from vidsr.pipeline import Progress
from vidsr.video.reader import Reader, Span


def packets_of(path: Path) -> list[av.Packet]:
    with av.open(str(path)) as file:
        return [p for p in file.demux(video=0) if p.size]


def read(path: Path, **options: object) -> tuple[list[int], Reader]:
    with Reader(vidsr.probe(path), **options) as reader:
        return [frame.pts for frame in reader], reader


@pytest.mark.parametrize("name", ["avi/sample-with-large-length.avi", "packed_bframes.avi"])
def test_avi_guesses_are_put_in_order(data: Path, tmp_path: Path, name: str) -> None:
    """The demuxer's times are right as a set, and given to the wrong frames."""
    folder = "androidx-media" if "/" in name else "fate/mpeg4"
    source = data / "video" / folder / name
    with av.open(str(source)) as file:
        stream = file.streams.video[0]
        stream.thread_type = "SLICE"
        told = [frame.pts for frame in file.decode(stream)]
    times, reader = read(source)
    assert told != sorted(told)
    assert times == sorted(told)
    assert reader.warnings == []
    after = upscale(source, tmp_path / "out.mp4")
    base = vidsr.probe(source).time_base
    assert [t - after.times[0] for t in after.times] == [(t - times[0]) * base for t in times]
    assert after.sound == describe(source).sound


def test_avi_with_repeated_frames(tmp_path: Path) -> None:
    """A gap in an AVI is made of empty chunks."""
    stamps = [0, 1, 2, 6, 7, 12, 13]
    source = make_clip(tmp_path / "in.avi", times=stamps, codec="mpeg4")
    assert b"00dc\0\0\0\0" in source.read_bytes()
    assert read(source)[0] == stamps
    assert len(upscale(source, tmp_path / "out.mkv").times) == len(stamps)


def recording(path: Path, pieces: list[tuple[int, int]], *, size: tuple[int, int] = (64, 48)) -> Path:
    """Write an MPEG-TS of pieces, each with picture and sound on a clock of its own.

    Args:
        path: The file.
        pieces: Of each, the second at which its clock begins and how many frames it has, at 25 a second.
        size: Of the picture.
    """
    whole = b""
    for number, (begin, frames) in enumerate(pieces):
        piece = path.with_name(f"{number}.ts")
        with av.open(
            str(piece), "w", format="mpegts", options={"mpegts_copyts": "1", "muxdelay": "0"}
        ) as out:
            video = out.add_stream("mpeg2video", rate=25, options={"g": "5", "bf": "2"})
            video.width, video.height, video.pix_fmt = *size, "yuv420p"
            sound = out.add_stream("mp2", rate=48000, layout="mono")
            for index in range(frames):
                frame = av.VideoFrame(*size, "yuv420p")
                for plane in frame.planes:
                    plane.update(bytes([16 * (index % 13) + 8 * number]) * plane.buffer_size)
                frame.pts, frame.time_base = index + begin * 25, Fraction(1, 25)
                out.mux(video.encode(frame))
            out.mux(video.encode(None))
            for index in range(frames * 1920 // 1152):
                tone = av.AudioFrame("s16", "mono", 1152)
                tone.planes[0].update(bytes([index % 251, number]) * 1152)
                tone.sample_rate, tone.time_base = 48000, Fraction(1, 48000)
                tone.pts = begin * 48000 + index * 1152
                out.mux(sound.encode(tone))
            out.mux(sound.encode(None))
        whole += piece.read_bytes()
        piece.unlink()
    path.write_bytes(whole)
    return path


@pytest.mark.parametrize("second", [5, 500, 95])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_clock_that_jumps(tmp_path: Path, second: int, suffix: str) -> None:
    """Recordings one behind the other: back, ahead, or hardly (an ordinary gap of five seconds)."""
    source = recording(tmp_path / "in.ts", [(90, 30), (second, 30)])
    output = tmp_path / f"out{suffix}"
    report = vidsr.run(vidsr.Job(source=source, output=output, backend="nearest", preset="ultrafast"))
    after = describe(output)
    steps = [round((b - a) * 1000) for a, b in pairwise(after.times)]
    gap = 40 + 3800 if second == 95 else 40
    assert sorted(steps) == [40] * 58 + [gap]
    assert steps.count(40) >= 58
    jumps = [w for w in report.warnings if "clock jumps" in w]
    assert len(jumps) == (0 if second == 95 else 1)
    # Every packet of sound is there, and each piece's sound begins where its picture does.
    before = describe(source)
    assert after.sound == before.sound
    half = len(after.sound[0]) // 2
    apart = after.sound_times[0][half] - after.sound_times[0][0]
    assert abs(float(apart - (after.times[30] - after.times[0]))) < 0.05


def test_going_on_behind_a_jump(tmp_path: Path) -> None:
    source = recording(tmp_path / "in.ts", [(90, 20), (5, 20), (300, 20)])
    whole = [(f.pts, bytes(f.planes[0]), f.shift) for f in Reader(vidsr.probe(source))]
    assert len(whole) == 60
    assert len({shift for _, _, shift in whole}) == 3
    # A segment that ends behind the first jump was recorded; reading goes on from there.
    for number in (5, 25, 45):
        rest = Reader(vidsr.probe(source), after=whole[number][0], sequential=whole[number][2] != 0)
        assert [(f.pts, bytes(f.planes[0]), f.shift) for f in rest] == whole[number + 1 :]
    job = vidsr.Job(
        source=source, output=tmp_path / "out.mp4", backend="nearest", preset="ultrafast", segment_frames=7
    )
    made = 0

    def stop(progress: Progress) -> None:
        nonlocal made
        made = progress.frames
        if made == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        vidsr.run(job, progress=stop)
    report = vidsr.run(job)
    # Cut at the key frames, which are 12 frames apart, and at twice 7.
    assert (report.frames, report.frames_resumed) == (60, 26)
    resumed = (tmp_path / "out.mp4").read_bytes()
    vidsr.run(replace(job, overwrite=True))
    assert (tmp_path / "out.mp4").read_bytes() == resumed


def test_time_stamps_that_wrap(tmp_path: Path) -> None:
    """MPEG-TS counts to 2^33 at 90 kHz, and begins anew after 26.5 hours."""
    begin = (1 << 33) // 90000 - 1
    source = recording(tmp_path / "in.ts", [(begin, 60)])
    stamps = [p.pts for p in packets_of(source)]
    after = upscale(source, tmp_path / "out.mp4")
    assert len(stamps) == 60
    assert [round((b - a) * 1000) for a, b in pairwise(after.times)] == [40] * 59
    assert after.sound == describe(source).sound


def test_repeated_and_backward_times(tmp_path: Path) -> None:
    """Matroska takes any time; the smallest step keeps every frame, and the report says so."""
    source = tmp_path / "in.mkv"
    stamps = [0, 40, 80, 80, 120, 110, 200]
    with av.open(str(source), "w") as out:
        video = out.add_stream("mjpeg", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuvj420p"
        coded = [video.encode(av.VideoFrame(64, 48, "yuvj420p"))[0] for _ in stamps]
        for index, (packet, stamp) in enumerate(zip(coded, stamps, strict=True)):
            packet.pts, packet.dts, packet.time_base = stamp, index, Fraction(1, 1000)
            out.mux(packet)
    times, reader = read(source)
    assert len(times) == len(stamps)
    assert times == [0, 40, 80, 81, 120, 121, 200]
    assert reader.warnings == ["time stamps that do not increase: moved by the smallest step that makes them"]
    assert len(upscale(source, tmp_path / "out.mkv").times) == len(stamps)


def two_videos(path: Path) -> Path:
    """Write a file whose stream 0 is sound, 1 and 2 are videos of 5 and 7 frames."""
    first, second = (make_clip(path.with_name(f"{n}.mp4"), times=n, size=(32 * n, 64)) for n in (5, 7))
    with av.open(str(path), "w") as out, av.open(str(first)) as a, av.open(str(second)) as b:
        sound = out.add_stream("aac", rate=48000, layout="stereo")
        streams = [out.add_stream_from_template(f.streams.video[0]) for f in (a, b)]
        out.start_encoding()
        add_sound(out, sound, 0.3)
        for file, stream in zip((a, b), streams, strict=True):
            for packet in file.demux(video=0):
                if packet.size:
                    packet.stream = stream
                    out.mux(packet)
    return path


def test_choosing_the_video(tmp_path: Path) -> None:
    source = two_videos(tmp_path / "in.mkv")
    for index, frames, width in ((None, 5, 160), (1, 5, 160), (2, 7, 224)):
        job = vidsr.Job(
            source=source, output=tmp_path / f"{index}.mkv", backend="nearest", video_stream=index
        )
        report = vidsr.run(job)
        assert (report.frames, report.size_in[0]) == (frames, width)
        with av.open(str(job.output)) as file:
            sizes = sorted(s.codec_context.width for s in file.streams.video)
        # The other video comes along as it is.
        assert sizes == sorted([2 * width, 384 - width])
    for index in (0, 3, 9):
        with pytest.raises(OptionsError, match="--video-stream takes 1, 2"):
            vidsr.run(vidsr.Job(source=source, output=tmp_path / "x.mkv", video_stream=index))
    assert vidsr.probe(source, index=2).width == 224


def test_a_part_of_each_kind_begins_at_its_frame(tmp_path: Path) -> None:
    """Reading from a time on gives the frames of a whole reading."""
    made = {
        "avi": make_clip(tmp_path / "in.avi", times=60, codec="mpeg4", options={"g": "7", "bf": "2"}),
        "ts": recording(tmp_path / "in.ts", [(3, 60)]),
        "mkv": make_clip(tmp_path / "in.mkv", times=60, options={"g": "7", "bf": "2"}),
    }
    for source in made.values():
        info = vidsr.probe(source)
        whole = [(f.pts, bytes(f.planes[0])) for f in Reader(info)]
        assert len(whole) == 60
        part = [(f.pts, bytes(f.planes[0])) for f in Reader(info, Span(start=1.2))]
        assert part == [w for w in whole if (w[0] - whole[0][0]) * info.time_base >= Fraction(12, 10)]


def test_a_picture_that_changes_its_size(tmp_path: Path) -> None:
    """FFmpeg's MPEG-2 decoder alone loses the last picture before the change."""
    large = recording(tmp_path / "large.ts", [(0, 12)], size=(96, 64))
    small = recording(tmp_path / "small.ts", [(1, 12)], size=(64, 48))
    source = tmp_path / "in.ts"
    source.write_bytes(large.read_bytes() + small.read_bytes())
    with av.open(str(source)) as file:
        assert len(list(file.decode(video=0))) == 23
    job = vidsr.Job(source=source, output=tmp_path / "out.mp4", backend="nearest", preset="ultrafast")
    report = vidsr.run(job)
    assert (report.frames, report.size_out) == (24, (192, 128))
    assert report.warnings == ("the picture changes its size to 64x48 on the way: scaled back to 96x64",)
    assert len(set(describe(job.output).times)) == 24


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_frames_closer_than_a_container_counts(tmp_path: Path, suffix: str) -> None:
    source = make_clip(
        tmp_path / "in.mp4",
        times=[*range(10), 40_000],
        time_base=Fraction(1, 1_000_000),
        options={"bf": "0"},
    )
    job = vidsr.Job(source=source, output=tmp_path / f"out{suffix}", backend="nearest", preset="ultrafast")
    if suffix == ".mp4":
        assert vidsr.run(job).frames == 11
        return
    with pytest.raises(OptionsError, match=r"counts milliseconds.*name the output \.mp4"):
        vidsr.run(job)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]
