"""``vidsr pipe`` between the real programs."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import time
from fractions import Fraction
from pathlib import Path

import pytest
from piping import NEAREST, PIPE, described, ffmpeg, hashes, pipe, piped, program, times
from required import require
from synth import make_clip

pytestmark = pytest.mark.media
RAW = ["-c:v", "rawvideo", "-an", "-f", "nut", "-"]
Y4M = ["-f", "yuv4mpegpipe", "-strict", "-1", "-"]


@pytest.fixture(scope="session")
def moving() -> bytes:
    """Twelve frames of 64x48 in Y4M."""
    return ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:r=10:d=1.2", "-f", "yuv4mpegpipe", "-")


@pytest.fixture(scope="session")
def raw_nut() -> bytes:
    """The same in NUT."""
    return ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:r=10:d=1.2", "-c:v", "rawvideo", "-f", "nut", "-")


@pytest.mark.parametrize("form", [Y4M, RAW], ids=["y4m", "nut"])
@pytest.mark.parametrize("pixels", ["yuv420p", "yuv420p10le", "yuv444p", "gray"])
def test_the_same_planes_as_upscale(tmp_path: Path, form: list[str], pixels: str) -> None:
    clip = make_clip(tmp_path / "clip.mkv", pixel_format=pixels, codec="ffv1", times=6)
    # What neither format carries is told.
    options = ["--model", "ecbsr", *(["--matrix", "bt709"] if "yuv" in pixels else ["--range", "limited"])]
    options += ["--chroma-location", "left"] if "420" in pixels else []
    made = piped(ffmpeg("-i", clip, *form), *options)
    command = [*PIPE[:-1], "upscale", "clip.mkv", "-o", "out.mkv", "--model", "ecbsr", "-c", "ffv1"]
    subprocess.run([*command, "--no-progress"], cwd=tmp_path, check=True, capture_output=True)
    assert len(hashes(made)) == 6
    assert hashes(made) == hashes(tmp_path / "out.mkv")


def test_between_two_ffmpegs(tmp_path: Path) -> None:
    source = f"{program('ffmpeg')} -v error -f lavfi -i testsrc2=s=64x48:r=10:d=1.2 -f yuv4mpegpipe -"
    middle = " ".join([*PIPE, *NEAREST, "--scale", "1.5"])
    last = f"{program('ffmpeg')} -v error -i - -c:v libx264 -y {tmp_path}/out.mp4"
    subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{source} | {middle} | {last}"], check=True, capture_output=True
    )
    made = (tmp_path / "out.mp4").read_bytes()
    assert described(made, "width", "height") == ["96", "72"]
    assert len(hashes(tmp_path / "out.mp4")) == 12


ENCODERS = {
    "x264": "x264 --quiet --demuxer y4m -o {} -",
    "x265": "x265 --log-level none --y4m --input - -o {}",
    "SvtAv1EncApp": "SvtAv1EncApp --preset 12 --progress 0 -i stdin -b {}",
    "aomenc": "aomenc --quiet --ivf --rt --cpu-used=9 -o {} -",
    "vpxenc": "vpxenc --quiet --ivf --codec=vp9 --rt --cpu-used=8 -o {} -",
    "rav1e": "rav1e --quiet --speed 10 -o {} -",
}
"""The encoders of video makers' shells and of Av1an, reading Y4M from a pipe."""
PACKAGES = {"SvtAv1EncApp": "svt-av1", "aomenc": "aom-tools", "vpxenc": "vpx-tools"}


@pytest.mark.slow
@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("name", ENCODERS)
def test_into_encoders(name: str, depth: int, tmp_path: Path) -> None:
    if shutil.which(name) is None:
        require("encoders", f"there is no {name}; run: apt-get install {PACKAGES.get(name, name)}")
    suffix = {"x264": "264", "x265": "265"}.get(name, "ivf")
    pixels = "yuv420p" if depth == 8 else "yuv420p10le"
    source = ffmpeg(
        *("-f", "lavfi", "-i", f"testsrc2=s=80x64:r=10:d=1.2,format={pixels}"),
        *("-strict", "-1", "-f", "yuv4mpegpipe", "-"),
    )
    options = {"x264": f" --output-depth {depth}", "x265": f" -D {depth}"}.get(name, "")
    if depth == 10 and name == "vpxenc":
        options = " --profile=2 --bit-depth=10"
    last = ENCODERS[name].format(tmp_path / f"out.{suffix}") + options
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{' '.join([*PIPE, '-m', 'ecbsr'])} | {last}"],
        input=source,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    made = tmp_path / f"out.{suffix}"
    assert described(made.read_bytes(), "width", "height", "pix_fmt") == ["160", "128", pixels]
    assert len(hashes(made)) == 12


def test_into_mpv(moving: bytes) -> None:
    player = f"{program('mpv')} --no-config --vo=null --ao=null --untimed --no-terminal --frames=12 -"
    command = f"{' '.join([*PIPE, *NEAREST])} | {player}"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], input=moving, capture_output=True, timeout=60, check=False
    )
    assert done.returncode in (0, 141), done.stderr.decode()  # mpv leaves after the last frame
    assert not done.stderr


def test_the_header_stays_but_for_the_size(moving: bytes) -> None:
    head, _, rest = moving.partition(b"\n")
    assert head == b"YUV4MPEG2 W64 H48 F10:1 Ip A1:1 C420jpeg XYSCSS=420JPEG"
    line = b"YUV4MPEG2 Xmine W64 H48 F10:1 It A4:3 C420paldv XCOLORRANGE=FULL"
    done = pipe(line + b"\n" + rest.replace(b"FRAME\n", b"FRAME Itp\n", 3), *NEAREST)
    assert done.code == 0
    assert done.out.startswith(line.replace(b"W64 H48", b"W128 H96") + b"\nFRAME Itp\n")
    assert done.out.count(b"FRAME Itp\n") == 3
    assert len(done.lines) == 1
    assert "bwdif" in done.lines[0]


def test_times_that_vary_stay_exact_in_nut(tmp_path: Path) -> None:
    stamps = [0, 1, 7, 8, 30, 31, 95]
    clip = make_clip(tmp_path / "vfr.mkv", times=stamps, time_base=Fraction(1, 1000), codec="ffv1")
    source = ffmpeg("-i", clip, "-vsync", "passthrough", "-enc_time_base", "1:1000", *RAW)
    assert [round(float(t) * 1000) for t in times(source)] == stamps
    assert times(piped(source, *NEAREST)) == times(source)
    done = pipe(source, *NEAREST, "--to", "y4m")
    assert (done.code, len(hashes(done.out))) == (0, len(stamps))
    assert "--to nut keeps them" in done.lines[0]


def test_y4m_to_nut_and_back(moving: bytes) -> None:
    moving = moving.replace(b"A1:1", b"A4:3", 1)
    as_nut = piped(moving, *NEAREST, "--to", "nut")
    assert as_nut.startswith(b"nut/multimedia container")
    said = ["r_frame_rate", "sample_aspect_ratio", "pix_fmt"]
    assert sorted(described(as_nut, *said)) == ["10/1", "4:3", "yuv420p"]
    direct, back = piped(moving, *NEAREST, "--scale", "4"), piped(as_nut, *NEAREST, "--to", "y4m")
    assert hashes(direct) == hashes(back)


def test_rgb_in_nut() -> None:
    source = ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:r=5:d=1,format=rgb24", *RAW)
    made = piped(source, *NEAREST)
    assert sorted(described(made, "pix_fmt", "width")) == ["128", "gbrp"]
    assert hashes(made, "-vf", "scale=64:48:flags=neighbor", "-pix_fmt", "rgb24") == hashes(source)
    done = pipe(source, *NEAREST, "--to", "y4m")
    assert (done.code, len(done.lines)) == (1, 1)
    assert "--to nut" in done.lines[0]


@pytest.mark.parametrize(
    ("cut", "words", "whole"),
    [
        (slice(0, 20000), "within frame 4, after 1482 of its 4608 bytes", 4),
        (slice(0, 59), "within the line before frame 0", 0),
        (slice(0, 30), "does not end", 0),
        (slice(0, 0), "nothing came in", 0),
        (slice(100, None), "neither Y4M nor NUT", 0),
    ],
)
def test_early_ends(moving: bytes, cut: slice, words: str, whole: int) -> None:
    done = pipe(moving[cut], *NEAREST)
    assert (done.code, len(done.lines)) == (1, 1), done
    assert words in done.lines[0]
    assert done.out.count(b"FRAME\n") == whole
    if whole:
        assert hashes(done.out) == hashes(piped(moving, *NEAREST))[:whole]


def test_early_ends_in_nut(raw_nut: bytes) -> None:
    frame = 64 * 48 * 3 // 2
    cut = pipe(raw_nut[: 5 * frame], *NEAREST)
    assert (cut.code, len(cut.lines)) == (1, 1), cut.lines
    assert hashes(cut.out) == hashes(piped(raw_nut, *NEAREST))[:4]
    behind = pipe(raw_nut + os.urandom(3 * frame), *NEAREST)
    assert (behind.code, len(behind.lines)) == (1, 1), behind.lines
    assert hashes(behind.out) == hashes(piped(raw_nut, *NEAREST))
    # A frame overwritten together with what leads to it.
    amid = pipe(raw_nut[: 5 * frame] + os.urandom(frame) + raw_nut[6 * frame :], *NEAREST)
    assert (amid.code, len(amid.lines)) == (1, 1), amid.lines


def test_garbage_behind_the_last_frame(moving: bytes) -> None:
    done = pipe(moving + b"\0" * 5000, *NEAREST)
    assert (done.code, len(done.lines)) == (1, 1)
    assert "instead of frame 12" in done.lines[0]
    assert done.out == piped(moving, *NEAREST)


def test_what_is_no_raw_video(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", times=3, sound=True)
    done = pipe(clip.read_bytes(), *NEAREST)
    assert (done.code, done.out) == (1, b"")
    assert "vidsr upscale FILE" in done.lines[0]
    coded = pipe(ffmpeg("-i", clip, "-c", "copy", "-f", "nut", "-"), *NEAREST)
    assert (coded.code, coded.out) == (1, b"")
    assert "-c:v rawvideo -an" in coded.lines[0]


@pytest.mark.parametrize("form", [Y4M, RAW], ids=["y4m", "nut"])
def test_the_reader_goes_away(form: list[str]) -> None:
    source = ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:r=10:d=3", *form)
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*PIPE, *NEAREST], input=source, stdout=writing, stderr=subprocess.PIPE, timeout=30, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_while_nothing_comes(moving: bytes, number: int, code: int) -> None:
    command = ["env", "--default-signal=INT", *PIPE, *NEAREST]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(moving[:30000])
        process.stdin.flush()
        assert process.stdout.read(9) == b"YUV4MPEG2"  # so it is at work, and waits for the rest
        time.sleep(0.3)
        process.send_signal(number)
        process.wait(timeout=20)
        said = process.stderr.read().decode() if process.stderr else ""
    assert process.returncode == code
    assert said.splitlines() == [f"vidsr: {'interrupted' if code == 130 else 'terminated'}"]


def test_a_terminal_is_refused(moving: bytes) -> None:
    mine, other = pty.openpty()
    try:
        as_input = subprocess.run(PIPE, stdin=other, capture_output=True, timeout=30, check=False)
        as_output = subprocess.run(
            PIPE, input=moving, stdout=other, stderr=subprocess.PIPE, timeout=30, check=False
        )
    finally:
        os.close(mine)
        os.close(other)
    for done, what in ((as_input, "input"), (as_output, "output")):
        (line,) = done.stderr.decode().splitlines()
        assert done.returncode == 2
        assert f"standard {what} is a terminal" in line
        assert "| vidsr pipe |" in line


def test_what_is_printed_stays_out_of_the_stream(moving: bytes, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import atexit, vidsr.stages as s\nold = s.flow\n"
        "def flow(*a, **k):\n    print('loud', flush=True)\n    return old(*a, **k)\ns.flow = flow\n"
    )
    env = os.environ | {"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run([*PIPE, *NEAREST], input=moving, env=env, capture_output=True, check=False)
    assert done.stderr == b"loud\n"
    assert done.stdout == piped(moving, *NEAREST)


def test_equal_frames_are_repeated(moving: bytes) -> None:
    head, _, rest = moving.partition(b"FRAME\n")
    still = head + (b"FRAME\n" + rest[:4608]) * 5
    done = pipe(still, "--model", "ecbsr", "--progress")
    assert done.code == 0
    assert "4 frames repeated" in done.lines[-1]
    assert len(set(hashes(done.out))) == 1
    assert done.out == pipe(still, "--model", "ecbsr", "--reuse", "off").out


@pytest.mark.parametrize(
    "wrong", [("--to", "avi"), ("--matrix", "rgb"), ("--range", "tv"), ("--chroma-location", "x")]
)
def test_wrong_options(wrong: tuple[str, str]) -> None:
    done = pipe(b"", *wrong)
    assert (done.code, len(done.lines)) == (2, 1)
    assert wrong[0] in done.lines[0]
