"""``vidsr probe``: readable, for programs too, and never more than one line for what cannot be read."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from pathlib import Path
from time import perf_counter

import pytest
from synth import make_clip

from vidsr.cli import _run
from vidsr.cli.layout import bytes_in_words, clock, duration, labelled

SMALL = (32, 24)


def test_text(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_clip(
        Path("a.mkv"),
        times=[0, 1, 2, 5, 6],
        size=SMALL,
        sound=True,
        subtitles="ass",
        chapters=True,
        title="name\x1b[2J",
        pixel_format="yuv420p10le",
        aspect=Fraction(4, 3),
        colors=(0, 2, 2, 2),
    )
    assert _run(["probe", "a.mkv"]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[0] == "a.mkv"
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in out
    text = re.sub(r"\s+", " ", out)
    for words in (
        "container matroska,webm",
        "stream 1 audio aac (LC), 48000 Hz stereo, fra: copied",
        "stream 2 subtitle ass, ita: copied",
        "picture 32x24, pixels 4:3, shown as 43x24",
        "pixels yuv420p10le: 10 bits, YUV 4:2:0",
        "matrix bt601 (guessed: untagged)",
        "times variable, 40.00 ms to 120.00 ms a frame; begin at 0; ticks of 1/1000 s; seen in all 5 packets",
        "frames 5 (its packets, counted)",
        "fields progressive, by the flags of the first 5 frames",
        "compressed h264 at QP",
        "chapters 0:00 to 0:00.2 one 0:00.2 to 0:00.4 two",
        "title: name [2J",
        "by default a_2x.mkv, 64x48: .mp4 would not hold stream 2 (subtitle, ass) as it is",
        "changes nothing else is lost or changed",
    ):
        assert words in text
    assert [p.name for p in tmp_path.iterdir()] == ["a.mkv"]


def test_json_and_several_files(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    good = make_clip(tmp_path / "a.mp4", times=4, size=SMALL)
    bad = tmp_path / "b.mp4"
    bad.write_text("no video\n" * 100)
    assert _run(["probe", str(bad), str(good), str(tmp_path / "c.mp4"), "--json"]) == 1
    out, err = capfd.readouterr()
    broken, found, missing = json.loads(out)
    assert set(broken) == set(missing) == {"path", "error"}
    assert [line.split(":")[0] for line in err.splitlines()] == ["vidsr", "vidsr"]
    assert set(found) == {
        *("path", "seen", "output", "container_reason", "size_out", "streams", "changes", "refusal")
    }
    assert (found["output"], found["size_out"], found["refusal"]) == ("a_2x.mp4", [64, 48], None)
    seen = found["seen"]
    assert seen["info"]["frame_rate"] == 25
    assert seen["info"]["color"]["guessed"] == []
    assert seen["timing"]["kind"] == "constant"
    assert seen["frames"] == {"count": 4, "source": "counted"}
    assert seen["compression"]["codec"] == "h264"
    assert seen["streams"][0]["sample_rate"] is None  # keys are always there


def test_text_of_several_files(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    good = make_clip(tmp_path / "a.mp4", times=4, size=SMALL)
    assert _run(["probe", str(tmp_path / "none.mp4"), str(good)]) == 1
    out, err = capfd.readouterr()
    assert err == f"vidsr: {tmp_path / 'none.mp4'}: no such file\n"
    assert str(good) in out
    assert _run(["probe", str(good)]) == 0
    assert _run(["probe"]) == 2


def test_a_folder_that_cannot_be_written_and_a_result_that_is_there(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither is about the source."""
    good = make_clip(tmp_path / "a.mp4", times=4, size=SMALL)
    (tmp_path / "a_2x.mp4").write_bytes(b"there")
    assert _run(["probe", str(good)]) == 0
    assert "a_2x.mp4, 64x48" in capfd.readouterr().out


def test_figures() -> None:
    assert [bytes_in_words(n) for n in (12, 1500, 2.5e6, 3e9)] == ["12 bytes", "2 kB", "2.5 MB", "3.0 GB"]
    assert [duration(s) for s in (0.25, 4.21, 61, 3723)] == ["0.25 s", "4.2 s", "1:01 min", "1:02:03"]
    assert [clock(s) for s in (0, 3.5, 59.96, 3600)] == ["0:00", "0:03.5", "1:00", "1:00:00"]
    assert labelled([("label", "word " * 20), ("", "next\x07")], width=40)[-1] == f"{'':12}next"


@pytest.mark.slow
def test_all_shared_clips(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows = (data / "video" / "MANIFEST.tsv").read_text(encoding="utf-8").splitlines()[1:]
    names = [row.split("\t")[0] for row in rows]
    assert len(names) == 119
    refused = []
    for name in names:
        began = perf_counter()
        code = _run(["probe", str(data / "video" / name)])
        out, err = capfd.readouterr()
        assert perf_counter() - began < 10, name
        if code == 0:
            assert (out.count("\n") > 10, err) == (True, ""), name
        else:
            assert (code, out, err.count("\n"), err[:7]) == (1, "", 1, "vidsr: "), name
            refused.append(name)
    assert len(refused) == 4, refused
