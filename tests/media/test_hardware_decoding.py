"""Decoding on a GPU, up to the place where frames come from the codec; behind it is `fake_gpu`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import pytest
from fake_gpu import GPU, FakeContext, downloaded, install
from synth import make_clip
from test_damage import clip as damageable
from test_damage import damage, places

from vidsr.errors import DecodeError, HardwareError
from vidsr.frame import VideoInfo
from vidsr.job import Job
from vidsr.pipeline import run
from vidsr.video import hardware
from vidsr.video.gpu import Gpu
from vidsr.video.hardware import Decoding, plan_decoding
from vidsr.video.probe import probe
from vidsr.video.reader import Reader, Span

B_FRAMES = {"bf": "3", "g": "12", "preset": "veryfast"}
CLIPS: dict[str, dict[str, Any]] = {
    "h264": {"options": B_FRAMES},
    "h264 full range": {"options": B_FRAMES, "colors": (2, 5, 6, 6)},
    "h264 10 bit": {"pixel_format": "yuv420p10le", "options": B_FRAMES},
    "h264 4:2:2": {"pixel_format": "yuv422p10le", "options": B_FRAMES},
    "hevc": {"codec": "libx265", "options": {"x265-params": "log-level=error"}},
    "hevc hdr": {
        "codec": "libx265",
        "pixel_format": "yuv420p10le",
        "options": {"x265-params": "log-level=error:bframes=4"},
        "colors": (1, 9, 9, 16),
    },
    "hevc 12 bit": {
        "codec": "libx265",
        "pixel_format": "yuv420p12le",
        "options": {"x265-params": "log-level=error"},
    },
    "hevc 4:4:4": {
        "codec": "libx265",
        "pixel_format": "yuv444p10le",
        "options": {"x265-params": "log-level=error"},
    },
    "av1 odd": {"codec": "libsvtav1", "size": (85, 66), "options": {"preset": "12"}},
    "av1 10 bit": {"codec": "libsvtav1", "pixel_format": "yuv420p10le", "options": {"preset": "12"}},
    "vp9 odd": {"codec": "libvpx-vp9", "size": (53, 42)},
}


def asked(info: VideoInfo, **options: Any) -> Decoding:
    """Return what is planned for ``--hwaccel cuda``."""
    return plan_decoding(Job(source=info.path, hwaccel="cuda", **options), info)


def seen(info: VideoInfo, decoding: Decoding | None, span: Span | None = None, **options: Any) -> Any:
    """Return all that a reader gives of each frame, and the reader."""
    with Reader(info, span, decoding=decoding, **options) as reader:
        frames = [
            (f.pts, f.duration, f.shift, f.key, f.color, f.pixel_format, [p.tobytes() for p in f.planes])
            for f in reader
        ]
    return frames, reader


@pytest.mark.parametrize("name", CLIPS)
def test_planes_times_and_colour_are_the_cpus(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suffix = ".mkv" if "vp9" in name else ".mp4"
    info = probe(make_clip(tmp_path / f"clip{suffix}", times=30, **CLIPS[name]))
    install(monkeypatch)
    decoding = asked(info)
    expected, _ = seen(info, None)
    assert FakeContext.decoded == 0
    found, reader = seen(info, decoding)
    assert FakeContext.decoded == 30
    assert found == expected
    assert reader.warnings == []
    assert reader.decoder == f"{info.codec} on the GPU (NVDEC of NVIDIA L4)"
    part = Span(start=0.5, frames=7)
    assert seen(info, decoding, part)[0] == seen(info, None, part)[0] == expected[13:20]


def test_the_decoder_knows_what_the_container_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = probe(make_clip(tmp_path / "clip.mp4", times=30, options=B_FRAMES))
    with av.open(info.path) as file:
        depth = file.streams.video[0].codec_context.reorder_depth
    assert depth == 2
    install(monkeypatch)
    seen(info, asked(info))
    given = FakeContext.given
    assert (given["width"], given["height"]) == (64, 48)
    assert (given["reorder_depth"], given["thread_count"]) == (depth, 1)
    assert given["options"]["max_pixels"]
    assert given["flags"] & av.codec.context.Flags.unaligned


def test_interlaced_frames_keep_their_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"flags": "+ildct+ilme", "x264-params": "tff=1"}
    info = probe(make_clip(tmp_path / "clip.mp4", times=12, options=options))
    assert info.interlaced
    install(monkeypatch)
    expected, cpu = seen(info, None)
    found, gpu = seen(info, asked(info))
    assert found == expected
    assert gpu.deinterlaced == cpu.deinterlaced != ""


def test_what_the_gpu_does_not_decode_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    whys = {
        "mpeg2video": "mpeg2video is not specified to the last bit, so a GPU's samples would differ",
        "ffv1": "NVDEC is not for ffv1",
        "libx264": "NVDEC does not decode h264 in yuv444p",
    }
    for codec, why in whys.items():
        pixels = "yuv444p" if codec == "libx264" else "yuv420p"
        path = make_clip(tmp_path / f"{codec}.mkv", codec=codec, pixel_format=pixels)
        decoding = asked(probe(path))
        assert (decoding.gpu, decoding.why) == ("", why)
    odd = asked(probe(make_clip(tmp_path / "odd.mkv", codec="libvpx-vp9", size=(64, 47))))
    assert odd.why.startswith("FFmpeg may look for the chroma of an odd height (47)")
    assert asked(probe(make_clip(tmp_path / "even.mkv", codec="libvpx-vp9", size=(63, 48)))).gpu
    report = run(Job(source=path, output=tmp_path / "out.mp4", hwaccel="cuda", backend="nearest"))
    assert report.decoder == f"h264 on the CPU: {whys['libx264']}"
    assert f"decoded on the CPU: {whys['libx264']}" in report.warnings
    assert FakeContext.decoded == 0


class Older(FakeContext):
    """A GPU whose NVDEC lacks what the stream needs: FFmpeg then decodes on the CPU itself."""

    def __init__(self, codec: str, **_: bool) -> None:
        super().__init__(codec, lambda frame: frame)
        self.__dict__["pix_fmt"] = "yuv420p10le"


class Uncropping(FakeContext):
    """NVDEC's frames of a stream that is cropped at the left."""

    def __init__(self, codec: str, **_: bool) -> None:
        super().__init__(codec, lambda frame: downloaded(frame.reformat(width=frame.width + 2)))


class Halving(FakeContext):
    """An FFmpeg that knows no surface for what the GPU decodes, and asks it for 4:2:0 of 8 bits."""

    def __init__(self, codec: str, **_: bool) -> None:
        super().__init__(codec, lambda frame: frame.reformat(format="nv12"))


class Failing(FakeContext):
    """A GPU that fails after some frames."""

    def decode(self, packet: Any) -> list[av.VideoFrame]:
        if FakeContext.decoded >= 12:
            raise av.error.ExternalError(0, "CUDA_ERROR_ILLEGAL_ADDRESS", "")
        return super().decode(packet)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (Older, "this GPU does not decode it in yuv420p10le"),
        (Uncropping, "it is cropped at the left or the top, which a GPU does not do"),
        (Halving, "this FFmpeg gets it as nv12"),
        (Failing, "something is damaged, or the GPU failed"),
    ],
)
def test_falling_back_on_the_way_changes_no_frame(
    kind: Any, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_clip(tmp_path / "clip.mp4", times=30, pixel_format="yuv420p10le", options=B_FRAMES)
    info = probe(path)
    install(monkeypatch, kind)
    decoding = asked(info)
    for span in (None, Span(start=0.4)):
        FakeContext.decoded = 0
        expected, _ = seen(info, None, span)
        found, reader = seen(info, decoding, span)
        assert found == expected
        assert reader.warnings == [f"decoded on the CPU: {why}"]
        assert reader.decoder.endswith(f"h264 on the CPU: {why}")
        assert ("NVDEC" in reader.decoder) == (kind is Failing)


def test_damage_is_looked_at_by_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = damageable(tmp_path / "clip.mp4")
    path = damage(whole, places(whole)[33], "zeros")
    info = probe(path)
    install(monkeypatch)
    decoding = asked(info)
    with pytest.raises(DecodeError, match=r"damaged at 1\.320 s"):
        seen(info, decoding)
    expected, cpu = seen(info, None, on_error="skip")
    found, gpu = seen(info, decoding, on_error="skip")
    assert found == expected
    assert set(gpu.warnings) - set(cpu.warnings) == {
        "decoded on the CPU: something is damaged, or the GPU failed"
    }
    concealing = asked(info, on_error="conceal")
    assert concealing.gpu == ""
    assert concealing.why == "--on-error conceal is about what the CPU's decoder patches"


def test_a_job_makes_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_clip(tmp_path / "clip.mp4", times=30, options=B_FRAMES, sound=True)
    install(monkeypatch)
    made = {}
    for how in ("none", "cuda", "auto"):
        output = tmp_path / f"{how}.mp4"
        report = run(Job(source=path, output=output, hwaccel=how, backend="nearest"))
        assert ("NVDEC of NVIDIA L4" in report.decoder) == (how != "none")
        made[how] = output.read_bytes()
    assert made["none"] == made["cuda"] == made["auto"]
    assert FakeContext.decoded == 60


def test_without_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = probe(make_clip(tmp_path / "clip.mp4"))
    monkeypatch.setattr(hardware, "gpu_to_decode", lambda: Gpu(lacks="it is not here"))
    with pytest.raises(HardwareError, match=r"cuda cannot work here: it is not here; --hwaccel none"):
        asked(info)
    job = Job(source=info.path, hwaccel="auto")
    assert plan_decoding(job, info) == Decoding("h264", why="it is not here")
    assert plan_decoding(job, info).notes(job) == []
    # There is a driver, and the GPU cannot be opened: the real PyAV says so here.
    monkeypatch.setattr(hardware, "gpu_to_decode", lambda: GPU)
    with pytest.raises(HardwareError, match="NVIDIA L4 cannot be opened for decoding"):
        asked(info)
    assert "cannot be opened" in plan_decoding(job, info).why
