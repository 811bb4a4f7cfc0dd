"""``--drop``, and that what becomes of each stream is told: in the plan, and in the report."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from streams import add_cover, add_packets, add_tone, codecs_of, extended, make_gopro, picture
from synth import make_clip

from vidsr.cli import _run
from vidsr.errors import OptionsError
from vidsr.job import Job
from vidsr.pipeline import run


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Streams: video, aac, ac3, subrip, ass, font, cover."""
    folder = tmp_path_factory.mktemp("rich")
    plain = make_clip(folder / "plain.mp4", times=5, size=(32, 32))
    with extended(plain, folder / "in.mkv") as (out, later):
        add_tone(out, later, "aac")
        add_tone(out, later, "ac3")
        add_packets(out, later, "subrip", [(0, 100, b"words")])
        add_packets(out, later, "ass", [(0, 100, b"0,0,Default,,0,0,0,,words")])
        out.add_attachment("a.ttf", "font/ttf", b"font")
        out.add_attachment("cover.png", "image/png", picture("png"))
    return folder / "in.mkv"


def upscale(capfd: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> tuple[str, str]:
    assert _run(["upscale", *map(str, arguments), "--backend", "nearest", "--no-progress"]) == code
    return capfd.readouterr()


KINDS: list[tuple[list[str], list[str]]] = [
    (["attachment", "4"], ["h264", "aac", "ac3", "mov_text", "cover"]),
    (["subtitle", "attachment"], ["h264", "aac", "ac3", "cover"]),
    (["audio", "4", "attachment", "cover"], ["h264", "mov_text"]),
    (["2", "subtitle", "5", "cover"], ["h264", "aac"]),
]


@pytest.mark.parametrize(("drop", "left"), KINDS, ids=[" ".join(d) for d, _ in KINDS])
def test_kinds_and_indices(
    rich: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], drop: list[str], left: list[str]
) -> None:
    output = tmp_path / "out.mp4"
    options = [text for asked in drop for text in ("--drop", asked)]
    out, _ = upscale(capfd, rich, "-o", output, *options, "--json")
    assert codecs_of(output) == left
    assert not [w for w in json.loads(out)["warnings"] if "left out" in w]
    text = Job(source=rich, output=output, overwrite=True, backend="nearest", drop=tuple(drop)).to_toml()
    (tmp_path / "job.toml").write_text(text)
    run(Job.load(tmp_path / "job.toml"))
    assert codecs_of(output) == left


def test_jobs_take_numbers_as_well(rich: Path, tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text(f'source = "{rich}"\ndrop = [1, "subtitle"]\n')
    assert Job.load(tmp_path / "job.toml").drop == (1, "subtitle")
    for wrong in ("[1.5]", '["pictures"]', "[true]", '"audio"'):
        (tmp_path / "job.toml").write_text(f'source = "{rich}"\ndrop = {wrong}\n')
        with pytest.raises(OptionsError, match="drop"):
            Job.load(tmp_path / "job.toml")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("all", "--drop 'all' means nothing; it takes the index of a stream, or audio, subtitle, attachment"),
        ("", "--drop '' means nothing"),
        ("-1", "--drop '-1' means nothing"),
        ("Audio", "--drop 'Audio' means nothing"),
        ("0", "--drop 0: this is the video that is enlarged; there are 1, 2, 3, 4, 5, 6: audio, subtitle,"),
        ("9", "--drop 9: no stream of that index to drop; there are 1, 2, 3, 4, 5, 6: audio, subtitle,"),
        ("data", "--drop data: no stream of that kind to drop; there are 1, 2, 3, 4, 5, 6: audio, subtitle"),
        ("video", "--drop video: no stream of that kind to drop"),
    ],
)
def test_what_cannot_be_dropped(
    rich: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], asked: str, words: str
) -> None:
    for more in ([], ["--plan"]):
        out, err = upscale(capfd, rich, "-o", tmp_path / "out.mkv", f"--drop={asked}", *more, code=2)
        assert out == ""
        assert words in err
        assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_all_misfits_are_named_at_once(rich: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    _, err = upscale(capfd, rich, "-o", tmp_path / "out.mov", code=2)
    assert err.endswith(
        ".mov cannot hold stream 4 (subtitle, ass), stream 5 (attachment, font/ttf), stream 6 (cover art,"
        " image/png); name the output .mkv, or add --drop 4 --drop 5 --drop 6 to leave them out\n"
    )


def test_the_plan_tells_what_becomes_of_each_stream(
    rich: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = [rich, "-o", tmp_path / "out.mp4", "--drop", "4", "--drop", "attachment"]
    text = re.sub(r"\s+", " ", upscale(capfd, *arguments, "--plan")[0])
    for words in (
        "stream 0 video h264: enlarged",
        "stream 1 audio aac: copied",
        "stream 3 subtitle subrip: converted to mov_text",
        "stream 4 subtitle ass: dropped (asked for by --drop)",
        "stream 5 attachment none: dropped (asked for by --drop)",
        "stream 6 video png: copied",
        "warning stream 3 (subtitle, subrip) is converted to mov_text",
    ):
        assert words in text
    plan: dict[str, Any] = json.loads(upscale(capfd, *arguments, "--plan", "--json")[0])
    report: dict[str, Any] = json.loads(upscale(capfd, *arguments, "--json")[0])
    assert plan["warnings"] == report["warnings"]


def test_a_chosen_container_is_told_with_its_reason(
    rich: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    plan = json.loads(upscale(capfd, rich, "--plan", "--json")[0])
    assert plan["output"].endswith("in_2x.mkv")
    assert plan["container_reason"] == ".mp4 would not hold stream 3 (subtitle, subrip) as it is"
    assert {stream["fate"] for stream in plan["streams"]} == {"enlarged", "copied"}
    plan = json.loads(upscale(capfd, rich, "--drop=subtitle", "--drop=attachment", "--plan", "--json")[0])
    assert plan["output"].endswith("in_2x.mp4")
    source = make_gopro(tmp_path / "in.mp4")
    plan = json.loads(upscale(capfd, source, "--plan", "--json")[0])
    assert [(s["kind"], s["fate"]) for s in plan["streams"]] == [("video", "enlarged"), ("data", "copied")]


def test_cover_art_alone_is_a_kind(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plain = make_clip(tmp_path / "plain.mp4", times=5, size=(32, 32))
    with extended(plain, tmp_path / "in.mp4") as (out, later):
        add_cover(out, later, tmp_path, "mjpeg")
    upscale(capfd, tmp_path / "in.mp4", "-o", tmp_path / "out.mov", "--drop", "cover")
    assert codecs_of(tmp_path / "out.mov") == ["h264"]
