"""HDR10's static data from source to result, and what else frames carry that is named when it is lost."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
from synth import make_clip

import vidsr
from vidsr.cli import _run
from vidsr.hdr import ContentLight, HdrInfo, MasteringDisplay
from vidsr.video.hdr import encoder_params
from vidsr.video.probe import probe
from vidsr.video.sidedata import hdr_of, losses, side_data

DISPLAY = MasteringDisplay(
    red=(34000, 16000),
    green=(13250, 34500),
    blue=(7500, 3000),
    white=(15635, 16450),
    max_luminance=10000000,
    min_luminance=50,
)
LIGHT = ContentLight(1000, 400)
SPELLED = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"


def hdr_clip(path: Path, params: str = f"mastering-display={SPELLED}:cll=1000,400") -> Path:
    """Write PQ with the data in the H.264 stream, made apart from the product's code."""
    options = {"x264-params": params, "preset": "ultrafast"}
    return make_clip(path, times=6, pixel_format="yuv420p10le", colors=(1, 9, 9, 16), options=options)


def upscaled(source: Path, output: Path, codec: str, **options: object) -> vidsr.JobReport:
    preset = {"libx264": "ultrafast", "libx265": "ultrafast", "libsvtav1": "12"}.get(codec)
    job = vidsr.Job(
        source=source,
        output=output,
        backend="nearest",
        codec=codec,
        preset=preset,
        segment_frames=4,
        **options,  # type: ignore[arg-type]
    )
    return vidsr.run(job)


@pytest.mark.parametrize(
    ("codec", "suffix"),
    [
        *(
            (codec, suffix)
            for codec in ("libx264", "libx265", "libsvtav1", "ffv1")
            for suffix in (".mp4", ".mkv")
        ),
        *(("libx264", ".mov"), ("prores_ks", ".mov"), ("prores_ks", ".mkv")),
        *(("libvpx-vp9", ".mp4"), ("libvpx-vp9", ".mkv"), ("libvpx-vp9", ".webm")),
    ],
)
def test_the_data_is_in_the_result(tmp_path: Path, codec: str, suffix: str) -> None:
    source = hdr_clip(tmp_path / "in.mp4")
    assert probe(source).hdr == HdrInfo(DISPLAY, LIGHT)
    report = upscaled(source, tmp_path / f"out{suffix}", codec)
    assert "mastering display 0.005 to 1000 cd/m2, MaxCLL 1000, MaxFALL 400 cd/m2" in (report.written or "")
    made = probe(tmp_path / f"out{suffix}")
    assert made.hdr == HdrInfo(DISPLAY, LIGHT)
    assert (made.color.primaries, made.color.transfer, made.color.matrix_code) == (9, 16, 9)
    assert not any("light" in warning or "mastering" in warning for warning in report.warnings)


@pytest.mark.parametrize(
    ("codec", "decoder"), [("libx264", "h264"), ("libx265", "hevc"), ("libsvtav1", "libdav1d")]
)
def test_the_data_is_in_the_stream_itself(tmp_path: Path, codec: str, decoder: str) -> None:
    """Where it survives a change of the container."""
    upscaled(hdr_clip(tmp_path / "in.mp4"), tmp_path / "out.mkv", codec)
    with av.open(str(tmp_path / "out.mkv")) as file:
        stream = file.streams.video[0]
        context = av.CodecContext.create(decoder, "r")
        context.extradata = stream.codec_context.extradata
        frame = next(frame for packet in file.demux(stream) for frame in context.decode(packet))
    assert hdr_of(side_data(frame)) == HdrInfo(DISPLAY, LIGHT)


@pytest.mark.parametrize("codec", ["libx264", "libx265", "ffv1"])
@pytest.mark.parametrize(
    ("params", "hdr"),
    [
        (f"mastering-display={SPELLED}", HdrInfo(DISPLAY)),
        ("cll=1000,0", HdrInfo(None, ContentLight(1000, 0))),
        ("cll=0,0", HdrInfo()),
    ],
)
def test_one_without_the_other(tmp_path: Path, codec: str, params: str, hdr: HdrInfo) -> None:
    # In MP4: of Matroska FFmpeg reads a light level only where both numbers are known.
    source = hdr_clip(tmp_path / "in.mp4", params)
    assert probe(source).hdr == hdr
    upscaled(source, tmp_path / "out.mp4", codec)
    assert probe(tmp_path / "out.mp4").hdr == hdr


def test_how_encoders_are_told() -> None:
    hdr = HdrInfo(DISPLAY, LIGHT)
    assert encoder_params("libx264", hdr) == [f"mastering-display={SPELLED}", "cll=1000,400"]
    assert encoder_params("libx265", hdr) == [f"master-display={SPELLED}", "max-cll=1000,400"]
    assert encoder_params("libsvtav1", hdr) == [
        "mastering-display=G(0.265000,0.690000)B(0.150000,0.060000)R(0.680000,0.320000)"
        "WP(0.312700,0.329000)L(1000.000000,0.005000)",
        "content-light=1000,400",
    ]
    assert encoder_params("ffv1", hdr) == encoder_params("libx265", HdrInfo()) == []


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_pictures_lose_it_and_say_so(tmp_path: Path, suffix: str) -> None:
    source = hdr_clip(tmp_path / "in.mp4")
    report = upscaled(source, tmp_path / f"out{suffix}", "auto", frames=1)
    assert any("no place for HDR10's static data" in warning for warning in report.warnings)
    pale = any("will look pale" in warning for warning in report.warnings)
    color = probe(tmp_path / f"out{suffix}").color
    assert ((color.primaries, color.transfer) == (9, 16)) is not pale
    assert pale is (suffix == ".jpg")


CAPTION = bytes([0xB5, 0x00, 0x31]) + b"GA94" + bytes([3, 0x41, 0xFF, 0xFC, 0x20, 0x41, 0xFF])


def captioned(path: Path, first: int) -> Path:
    """Write raw H.264 whose frames from `first` on carry captions (ATSC A/53) in an SEI message."""
    make_clip(path.with_suffix(".mkv"), times=6, options={"x264-params": "annexb=1:bframes=0"})
    note = bytes([0, 0, 0, 1, 6, 4, len(CAPTION)]) + CAPTION + b"\x80"
    with av.open(str(path.with_suffix(".mkv"))) as file, path.open("wb") as out:
        stream = file.streams.video[0]
        bsf = av.BitStreamFilterContext("h264_mp4toannexb", stream)
        packets = [bytes(p) for q in file.demux(stream) for p in bsf.filter(q if q.size else None)]
    with path.open("wb") as out:
        for number, data in enumerate(packets):
            # Before the slice: the first unit of a later frame, behind the parameters of the first.
            at = data.index(b"\0\0\1\x65") - 1 if number == 0 else 0
            out.write(data[:at] + (note if number >= first else b"") + data[at:])
    return path


@pytest.mark.parametrize("first", [0, 3])
def test_captions_in_the_video_are_named(tmp_path: Path, first: int) -> None:
    source = captioned(tmp_path / "in.h264", first)
    assert any("CEA-608" in text for text in probe(source).losses) is (first == 0)
    report = upscaled(source, tmp_path / "out.mkv", "libx264")
    assert sum("captions in the video stream (CEA-608/708) are lost" in w for w in report.warnings) == 1


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "fate/hevc/dovi-p5.mp4",
            "Dolby Vision metadata is lost (profile 5); its colours (IPT) will look wrong",
        ),
        ("androidx-media/mp4/sample_with_color_info.mp4", "Dolby Vision metadata is lost (profile 8)"),
        ("fate/vp9/hdr10_plus_vp9_sample.mp4", "HDR10+ dynamic metadata is lost"),
        # With side data of a kind that PyAV has no name for beside it.
        ("fate/hevc/multiview.mp4", "spherical (360 degrees)"),
    ],
)
def test_what_real_files_lose_is_named(data: Path, name: str, words: str) -> None:
    assert any(words in text for text in probe(data / "video" / name).losses)


def test_incomplete_and_impossible_data_is_left_out() -> None:
    numbers = [34000, 50000, 16000, 50000, 13250, 50000, 34500, 50000, 7500, 50000, 3000, 50000]
    numbers += [15635, 50000, 16450, 50000, 50, 10000, 10000000, 10000, 1, 1]

    def data(changes: dict[int, int]) -> dict[str, bytes]:
        changed = [changes.get(place, number) for place, number in enumerate(numbers)]
        return {"MASTERING_DISPLAY_METADATA": b"".join(n.to_bytes(4, "little", signed=True) for n in changed)}

    assert hdr_of(data({})).mastering == DISPLAY
    assert losses(data({})) == []
    for changes in ({20: 0}, {21: 0}, {1: 0}, {0: -1}, {0: 10**6}, {16: 2 * 10**9}):
        assert hdr_of(data(changes)).mastering is None
        assert len(losses(data(changes))) == 1


def test_dolby_vision_profiles() -> None:
    def rpu(profile: int, full: int, depth: int, spatial: int, no_residual: int) -> dict[str, bytes]:
        header = bytearray(20)
        header[4], header[10], header[12], header[15], header[16] = profile, full, depth, spatial, no_residual
        return {"DOVI_METADATA": (24).to_bytes(8, "little") + bytes(16) + bytes(header)}

    assert hdr_of(rpu(0, 1, 10, 0, 1)).dolby_vision == 5
    assert hdr_of(rpu(1, 0, 12, 1, 0)).dolby_vision == 7
    assert hdr_of(rpu(1, 0, 10, 1, 0)).dolby_vision == 4
    assert hdr_of(rpu(1, 0, 12, 1, 1)).dolby_vision == 8
    assert hdr_of({"DOVI_RPU_BUFFER": b"x"}).dolby_vision == 0
    assert hdr_of({}).dolby_vision is None
    assert losses(rpu(1, 0, 12, 1, 0)) == [
        "Dolby Vision metadata and its enhancement layer is lost (profile 7)"
    ]


def test_probe_tells_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["probe", str(hdr_clip(tmp_path / "in.mp4"))]) == 0
    assert "mastering display 0.005 to 1000 cd/m2, MaxCLL 1000" in " ".join(capsys.readouterr().out.split())
