"""How hard a source was compressed: the quantiser that decoders tell, and what stands for it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from vidsr.errors import ProbeError
from vidsr.video.compression import measure_compression

pytestmark = pytest.mark.media


def write_clip(path: Path, codec: str, options: dict[str, str], *, pix_fmt: str = "yuv420p") -> Path:
    """Write 30 frames of moving texture, 192x128."""
    random = np.random.default_rng(0)
    coarse = random.integers(30, 220, (40, 60)).astype(np.uint8)
    texture = coarse.repeat(4, axis=0).repeat(4, axis=1)
    texture = texture + random.integers(-8, 9, texture.shape, dtype=np.int64)
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=Fraction(25), options=options)
        stream.width, stream.height, stream.pix_fmt = 192, 128, pix_fmt  # type: ignore[attr-defined]
        for i in range(30):
            gray = texture[i : i + 128, i : i + 192].clip(0, 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(gray, format="gray").reformat(format=pix_fmt)
            for packet in stream.encode(frame):  # type: ignore[attr-defined]
                out.mux(packet)
        for packet in stream.encode():  # type: ignore[attr-defined]
            out.mux(packet)
    return path


@pytest.mark.parametrize("qp", [16, 34])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le"])
def test_h264_tells_its_quantiser(tmp_path: Path, qp: int, pix_fmt: str) -> None:
    told = qp + (12 if "10" in pix_fmt else 0)  # FFmpeg counts 10 bit from -12
    path = write_clip(tmp_path / "a.mp4", "libx264", {"qp": str(told), "bf": "0"}, pix_fmt=pix_fmt)
    found = measure_compression(path)
    assert found.source == "decoder"
    assert found.quantiser == pytest.approx(qp, abs=1.5)  # x264 takes 3 less for key frames
    assert f"h264 at QP {found.quantiser:.0f}" in str(found)


@pytest.mark.parametrize(("suffix", "surplus"), [(".mp4", 0.01), (".mkv", 0.05)])
def test_bits_are_those_of_the_file(tmp_path: Path, suffix: str, surplus: float) -> None:
    """Key frames, which are where it looks, have many more than the others."""
    path = write_clip(tmp_path / f"a{suffix}", "libx264", {"qp": "24", "g": "10"})
    with av.open(str(path)) as container:
        size = sum(p.size for p in container.demux(video=0))
    assert measure_compression(path).bits_per_pixel == pytest.approx(size * 8 / (192 * 128 * 30), rel=surplus)


@pytest.mark.parametrize(("codec", "suffix"), [("mpeg2video", ".mpg"), ("mpeg4", ".mp4")])
def test_mpeg_quantisers_come_to_the_same_scale(tmp_path: Path, codec: str, suffix: str) -> None:
    found = {}
    for scale in (2, 16):
        options = {"qmin": str(scale), "qmax": str(scale), "b": "100M", "bf": "0"}
        found[scale] = measure_compression(
            write_clip(tmp_path / f"{scale}{suffix}", codec, options)
        ).quantiser
    assert found[2] == pytest.approx(16, abs=0.5)  # both have a step of twice the scale
    assert found[16] == pytest.approx(34, abs=0.5)


def test_vp9_comes_to_the_same_scale(tmp_path: Path) -> None:
    """Equal quality to the eye of PSNR stands for equal quantisers, within some steps."""
    options = {"crf": "40", "b": "0", "deadline": "realtime", "cpu-used": "8"}
    vp9 = measure_compression(write_clip(tmp_path / "a.webm", "libvpx-vp9", options))
    assert vp9.source == "decoder"
    assert vp9.quantiser is not None
    assert 26 < vp9.quantiser < 42
    better = write_clip(tmp_path / "b.webm", "libvpx-vp9", {**options, "crf": "10"})
    assert (measure_compression(better).quantiser or 99) < vp9.quantiser - 8


def test_x265_notes_what_it_was_asked_for(tmp_path: Path) -> None:
    options = {"crf": "31", "x265-params": "log-level=none"}
    found = measure_compression(write_clip(tmp_path / "a.mp4", "libx265", options))
    assert (found.source, found.quantiser) == ("encoder's note", 31.0)


def test_lossless_and_unknown_say_so(tmp_path: Path) -> None:
    lossless = measure_compression(write_clip(tmp_path / "a.mkv", "ffv1", {}))
    assert (lossless.source, lossless.quantiser, str(lossless)) == ("lossless", None, "ffv1, lossless")
    snow = measure_compression(write_clip(tmp_path / "b.mkv", "snow", {}))
    assert snow.quantiser is None
    assert "quality not known" in str(snow)


def test_missing_files_are_refused_and_damaged_ones_are_not(tmp_path: Path) -> None:
    with pytest.raises(ProbeError, match="no such file"):
        measure_compression(tmp_path / "absent.mp4")
    path = write_clip(tmp_path / "a.mkv", "libx264", {"qp": "20", "bf": "0"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert measure_compression(path).quantiser == pytest.approx(20, abs=1.5)


def test_jpeg_tells_by_its_tables(tmp_path: Path) -> None:
    found = {}
    for scale in (2, 20):
        options = {"qmin": str(scale), "qmax": str(scale), "b": "100M"}
        path = write_clip(tmp_path / f"{scale}.avi", "mjpeg", options, pix_fmt="yuvj420p")
        compression = measure_compression(path)
        assert compression.source == "tables"
        found[scale] = compression.quantiser or 0.0
    # Ten times the step is log2(10) doublings of 6 each.
    assert found[20] - found[2] == pytest.approx(6 * np.log2(10), abs=1.5)
