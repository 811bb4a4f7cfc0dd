"""Damaged, cut and broken-off sources: what `--on-error` does, and what is kept."""

import random
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from describe import describe
from synth import make_clip
from test_times import recording

import vidsr
from vidsr.cli import _run
from vidsr.errors import DecodeError
from vidsr.job import OnError
from vidsr.video.reader import Reader
from vidsr.video.truncation import missing_bytes

FRAMES = 60
BAD = 33
"""Position in the file of the packet that is damaged; key frames are every 10."""


def clip(path: Path, **options: object) -> Path:
    """Write a clip with closed groups of ten frames, in each of which later ones hang on earlier ones."""
    codec = options.pop("codec", "libx264")
    coding = {"g": "10", "bf": "0", "refs": "1"} | (
        {"x264-params": "scenecut=0:cabac=0"} if codec == "libx264" else {}
    )
    return make_clip(path, times=FRAMES, codec=codec, options=coding, size=(96, 64), sound=True, **options)


def places(path: Path) -> list[tuple[int, int]]:
    """Return where the data of each packet of the video lies in its file."""
    data = path.read_bytes()
    with av.open(str(path)) as file:
        packets = [p for p in file.demux(video=0) if p.size]
    return [(data.index(bytes(p), p.pos or 0), p.size) for p in packets]


def damage(path: Path, place: tuple[int, int], kind: str) -> Path:
    """Return a copy in which a packet is overwritten by zeros, or whose second half is noise."""
    data = bytearray(path.read_bytes())
    begin, size = place
    if kind == "zeros":
        data[begin : begin + size] = bytes(size)
    else:
        data[begin + size // 2 : begin + size] = random.Random(1).randbytes(size - size // 2)
    bad = path.with_name(f"bad_{path.name}")
    bad.write_bytes(data)
    return bad


def read(path: Path, on_error: OnError) -> tuple[list[tuple[int, np.ndarray]], Reader]:
    with Reader(vidsr.probe(path), on_error=on_error) as reader:
        return [(f.pts, f.planes[0].copy()) for f in reader], reader


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("kind", ["zeros", "noise"])
def test_stop_keeps_what_is_good(tmp_path: Path, suffix: str, kind: str) -> None:
    whole = clip(tmp_path / f"in{suffix}")
    good, _ = read(whole, "stop")
    source = damage(whole, places(whole)[BAD], kind)
    output = tmp_path / f"out{suffix}"
    job = vidsr.Job(source=source, output=output, backend="nearest", preset="ultrafast", segment_frames=8)
    with pytest.raises(
        DecodeError, match=r"it is damaged .*; what was made before is in .*partial"
    ) as caught:
        vidsr.run(job)
    assert "--on-error skip" in str(caught.value)
    assert caught.value.stage == "decode"
    kept = tmp_path / f"out.partial{suffix}"
    assert not output.exists()
    after = describe(kept)
    assert len(after.times) == BAD
    # The sound ends with the picture.
    heard = len(after.sound[0]) * 1024 / 48000
    assert heard == pytest.approx(BAD / 25, abs=0.1)
    with pytest.raises(DecodeError):
        read(source, "stop")
    # Before the damage nothing differs from the whole file, whatever is chosen.
    for on_error in ("skip", "conceal"):
        frames, reader = read(source, on_error)
        assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(frames[:BAD], good[:BAD], strict=True))
        assert any("damaged place" in warning for warning in reader.warnings)
        # From the next key frame on as well.
        assert [pts for pts, _ in frames[-20:]] == [pts for pts, _ in good[-20:]]
        assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(frames[-20:], good[-20:], strict=True))


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg2video", "libvpx-vp9", "ffv1"])
def test_skip_leaves_out_and_conceal_repeats(tmp_path: Path, codec: str) -> None:
    whole = clip(tmp_path / "in.mkv", codec=codec)
    good, _ = read(whole, "stop")
    order = [pts for pts, _ in good]
    # To FFV1's checksum zeros are right.
    source = damage(whole, places(whole)[BAD], "noise" if codec == "ffv1" else "zeros")
    skipped, reader = read(source, "skip")
    assert len(skipped) < FRAMES
    assert {pts for pts, _ in skipped} < set(order)
    assert "left out" in reader.warnings[-1]
    patched, reader = read(source, "conceal")
    assert [pts for pts, _ in patched] == order
    assert "concealed" in reader.warnings[-1]


def test_going_on_with_skip(tmp_path: Path) -> None:
    """What was made before stopping is not made again."""
    whole = clip(tmp_path / "in.mp4")
    source = damage(whole, places(whole)[BAD], "zeros")
    job = {"source": source, "output": tmp_path / "out.mp4", "backend": "nearest", "segment_frames": 8}
    with pytest.raises(DecodeError):
        vidsr.run(vidsr.Job(**job))
    report = vidsr.run(vidsr.Job(**job, on_error="skip"))
    assert report.frames_resumed == BAD
    times = describe(tmp_path / "out.mp4").times
    assert len(times) == report.frames == len(set(times))
    assert any("damaged place" in warning for warning in report.warnings)
    assert (tmp_path / "out.partial.mp4").exists()
    assert not list(tmp_path.glob("*.vidsr"))


def test_pictures_are_kept_too(tmp_path: Path) -> None:
    whole = clip(tmp_path / "in.mp4")
    source = damage(whole, places(whole)[BAD], "zeros")
    job = {"source": source, "output": tmp_path / "p_%03d.png", "backend": "nearest"}
    with pytest.raises(DecodeError, match=r"p_%03d\.partial\.png"):
        vidsr.run(vidsr.Job(**job))
    assert len(list(tmp_path.glob("p_*.partial.png"))) == BAD
    assert vidsr.run(vidsr.Job(**job, on_error="conceal")).frames_resumed == BAD
    assert len(list(tmp_path.glob("p_???.png"))) == FRAMES


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_a_file_that_is_cut(tmp_path: Path, suffix: str) -> None:
    """FFmpeg ends without an error where Matroska is cut, or MP4 between two packets."""
    codec = "mpeg4" if suffix == ".avi" else "libx264"
    coding = {"movflags": "faststart"} if suffix == ".mp4" else {}
    whole = clip(tmp_path / f"whole{suffix}", codec=codec)
    if coding:
        moved = tmp_path / "moved.mp4"
        with av.open(str(whole)) as file, av.open(str(moved), "w", container_options=coding) as out:
            stream = out.add_stream_from_template(file.streams.video[0])
            for packet in file.demux(video=0):
                if packet.size:
                    packet.stream = stream
                    out.mux(packet)
        whole = moved
    assert missing_bytes(whole) == 0
    begin, size = places(whole)[40]
    for cut in (begin, begin + size // 2):
        source = tmp_path / f"cut{suffix}"
        source.write_bytes(whole.read_bytes()[:cut])
        assert missing_bytes(source) == whole.stat().st_size - cut
        with pytest.raises(DecodeError, match=r"damaged|cut off"):
            read(source, "stop")
        frames, reader = read(source, "skip")
        assert 38 <= len(frames) <= 41
        assert any("damaged place" in warning for warning in reader.warnings)


def test_a_recording_that_breaks_off(tmp_path: Path) -> None:
    """Broadcasts end, and begin, anywhere: that is no reason to stop."""
    whole = recording(tmp_path / "whole.ts", [(10, 40)])
    with av.open(str(whole)) as file:
        packets = [p.pos for p in file.demux(video=0) if p.size]
    source = tmp_path / "in.ts"
    # From within the first group of pictures to within the last packet.
    data = whole.read_bytes()
    end = len(data) - 188 * 8 - 100
    source.write_bytes(data[packets[2] // 188 * 188 : end])
    frames, reader = read(source, "stop")
    assert 25 <= len(frames) < 40
    assert all("breaks off" in w or "begins between" in w for w in reader.warnings)


def test_a_header_that_promises_more(tmp_path: Path) -> None:
    whole = clip(tmp_path / "whole.mkv")
    begin, _ = places(whole)[30]
    # Cut where nothing is missing by the file's structure: the Segment says that its size is unknown.
    data = bytearray(whole.read_bytes())
    at = data.index(bytes.fromhex("18538067")) + 4
    data[at : at + 8] = b"\x01" + b"\xff" * 7
    source = tmp_path / "in.mkv"
    source.write_bytes(data[:begin])
    assert missing_bytes(source) == 0
    frames, reader = read(source, "stop")
    assert len(frames) <= 31
    assert any("promises" in warning for warning in reader.warnings)


def test_the_first_picture_is_damaged(tmp_path: Path) -> None:
    whole = clip(tmp_path / "in.mkv")
    source = damage(whole, places(whole)[0], "zeros")
    with pytest.raises(DecodeError, match="damaged"):
        read(source, "stop")
    frames, _ = read(source, "skip")
    assert len(frames) == FRAMES - 10


@pytest.mark.parametrize("on_error", ["stop", "skip", "conceal"])
def test_nothing_can_be_decoded(
    tmp_path: Path, on_error: OnError, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = clip(tmp_path / "in.mkv")
    data = bytearray(whole.read_bytes())
    for begin, size in places(whole):
        data[begin : begin + size] = bytes(size)
    whole.write_bytes(data)
    output = tmp_path / "out.mkv"
    command = ["upscale", str(whole), "-o", str(output), "--on-error", on_error, "--no-progress"]
    assert _run(command) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "its first frame cannot be decoded" in told
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mkv"]


def test_an_encrypted_file(tmp_path: Path) -> None:
    source = tmp_path / "in.mp4"
    plain = clip(tmp_path / "plain.mp4")
    key = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "00" * 16, "encryption_kid": "11" * 16}
    with av.open(str(plain)) as file, av.open(str(source), "w", container_options=key) as out:
        stream = out.add_stream_from_template(file.streams.video[0])
        for packet in file.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    with pytest.raises(DecodeError, match="encrypted"):
        list(Reader(vidsr.probe(source)))


def test_time_bases_stay_exact(tmp_path: Path) -> None:
    source = damage(clip(tmp_path / "in.mp4"), places(tmp_path / "in.mp4")[BAD], "zeros")
    frames, _ = read(source, "conceal")
    base = vidsr.probe(source).time_base
    assert [(pts - frames[0][0]) * base for pts, _ in frames] == [Fraction(n, 25) for n in range(FRAMES)]
