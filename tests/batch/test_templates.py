"""What results are called."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidsr.batch.inputs import BatchSource
from vidsr.batch.templates import PendingName, anchor, check_template, in_folder, resolve
from vidsr.errors import OptionsError
from vidsr.job import NULL_OUTPUT, Job
from vidsr.planning import default_output
from vidsr.target import resolve_target
from vidsr.video.probe import probe


def source(path: str, root: str | None = None) -> BatchSource:
    return BatchSource(source=Path(path), root=Path(path).parent if root is None else Path(root))


def job(**options: object) -> Job:
    return Job(source="x", **options)  # type: ignore[arg-type]


def named(template: str | None, one: BatchSource, base: str = "/base", **options: object) -> str:
    """Return the whole path, with a suffix and a size where they are pending."""
    name = resolve(template, one, job(**options), base=Path(base))
    return str(name.with_suffix(".mkv", "1920x1080") if isinstance(name, PendingName) else name)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (None, "/r/s/t/clip.a_2x.mkv"),
        ("{folder}/2x/{stem}_{target}{suffix}", "/r/s/t/2x/clip.a_2x.mkv"),
        ("{root}/{subfolder}/{name}.mp4", "/r/s/t/clip.a.avi.mp4"),
        ("out/{subfolder}/{stem}{suffix}", "/base/out/s/t/clip.a.mkv"),
        ("{subfolder}/{model}-{codec}.mov", "/base/s/t/auto-auto.mov"),
        ("../{stem}{suffix}", "/clip.a.mkv"),
        ("{{{stem}}}{suffix}", "/base/{clip.a}.mkv"),
        ("/abs/{name}", "/abs/clip.a.avi"),
        ("x_%04d.png", "/base/x_%04d.png"),
        ("null:", "null:"),
    ],
)
def test_fields(template: str | None, expected: str) -> None:
    assert named(template, source("/r/s/t/clip.a.avi", "/r")) == expected


def test_an_empty_subfolder_is_left_out() -> None:
    """Above all it does not make a path absolute."""
    assert named("{subfolder}/{stem}{suffix}", source("/r/a.avi")) == "/base/a.mkv"
    assert named(in_folder(Path("/o {x}")), source("/r/a.avi")) == "/o {x}/a_2x.mkv"
    assert named(in_folder(Path("/o {x}")), source("/r/s/a.avi", "/r")) == "/o {x}/s/a_2x.mkv"
    assert named(in_folder(Path("/o")), source("/elsewhere/a.avi", "/r")) == "/o/a_2x.mkv"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"scale": 3}, "3x"),
        ({"scale": 1.5}, "1.5x"),
        ({"size": "1280X720"}, "1280x720"),
        ({"size": "x1080"}, "1920x1080"),
    ],
)
def test_targets(options: dict[str, object], expected: str) -> None:
    assert named("{target}/{stem}_{target}{suffix}", source("/r/a.avi"), **options) == (
        f"/base/{expected}/a_{expected}.mkv"
    )


def test_a_size_that_is_not_known_yet() -> None:
    pending = resolve(None, source("/r/a.avi"), job(size="X1080"))
    assert isinstance(pending, PendingName)
    assert (pending.path, pending.size) == (Path("/r/a_x1080"), "x1080")
    with pytest.raises(ValueError, match="not known yet"):
        pending.with_suffix(".mp4")
    fixed = resolve("{folder}/{stem}{suffix}", source("/r/a.avi"), job(size="x1080"))
    assert isinstance(fixed, PendingName)
    assert fixed.with_suffix(".mp4") == Path("/r/a.mp4")
    with pytest.raises(OptionsError, match="known only with the source; end the template"):
        resolve("{stem}_{target}.mp4", source("/r/a.avi"), job(size="x1080"))
    up = resolve("{target}/../../{stem}{suffix}", source("/r/a.avi"), job(size="x1080"), base=Path("/b/c"))
    assert isinstance(up, PendingName)
    assert up.with_suffix(".mkv", "4x8") == Path("/b/a.mkv")


def test_models_and_codecs() -> None:
    options = {"model": "/nets/my.net.onnx", "codec": "libx265"}
    assert named("{model}_{codec}{suffix}", source("/r/a.avi"), **options) == "/base/my.net_libx265.mkv"


def test_patterns(tmp_path: Path) -> None:
    """Only a template and a sequence make one."""
    clip = tmp_path / "50%d.avi"
    clip.touch()
    assert named("{stem}_%d.png", source(str(clip))) == "/base/50%%d_%d.png"
    assert named("{stem}.png", source(str(clip))) == "/base/50_d.png"
    assert named("{stem}.mkv", source(str(clip))) == "/base/50%d.mkv"
    pending = resolve(None, source("/r/s_%04d.png"), job())
    assert isinstance(pending, PendingName)
    assert pending.with_suffix(".png") == Path("/r/2x_s_%04d.png")


def write_png(path: Path, width: int, height: int) -> None:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width + 1) * height))
    chunks = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def test_the_default_is_that_of_a_job(tmp_path: Path) -> None:
    """A picture called like a pattern is the hard case."""
    path = tmp_path / "50%d.png"
    write_png(path, 32, 16)
    info = probe(path)
    for options in ({"scale": 2}, {"size": "x64"}, {"size": "128x"}):
        one = Job(source=path, **options)  # type: ignore[arg-type]
        target = resolve_target(info, one.scale, one.size)
        pending = resolve(None, BatchSource(source=path, root=tmp_path), one)
        assert isinstance(pending, PendingName)
        assert pending.with_suffix(".png", target.label) == default_output(one, info, target)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{steam}{suffix}", "unknown field 'steam'; known fields: {folder}, {root}"),
        ("{}{suffix}", "unknown field ''"),
        ("{0}{suffix}", "unknown field '0'"),
        ("{stem.x}{suffix}", "unknown field 'stem.x'"),
        ("{stem[0]}{suffix}", "unknown field"),
        ("{stem!r}{suffix}", "unknown field 'stem!r'"),
        ("{stem:>9}{suffix}", "unknown field 'stem:>9'"),
        ("{stem", "is wrong .*known fields"),
        ("stem}", "is wrong"),
        ("{suffix}{stem}", "must come last, and once"),
        ("{suffix}.{suffix}", "must come last, and once"),
        ("out/", "names no file, or no container"),
        ("{folder}", "names no file, or no container"),
        ("{stem}", "names no file, or no container"),
        ("out/{suffix}", "names no file, or no container"),
        ("out/.mp4", "names no file, or no container"),
        ("", "names no file, or no container"),
        ("{{name}}", "names no file, or no container"),
        ("a\0{suffix}", "cannot hold a NUL"),
    ],
)
def test_templates_that_cannot_be(template: str, message: str) -> None:
    with pytest.raises(OptionsError, match=message):
        check_template(template)


def test_long_names_are_cut() -> None:
    for letter in ("x", "é"):
        stem = letter * (251 // len(letter.encode()))
        one, other = (source(f"/r/{stem[:-1]}{last}.mkv") for last in "ab")
        names = [named(None, each) for each in (one, other)]
        assert names[0] != names[1]
        for name in names:
            assert len(os.fsencode(Path(name).name)) <= 255
            assert name.startswith(f"/r/{stem[:90]}")
            assert "~" in name
            assert name.endswith("_2x.mkv")
    folder = "y" * 255
    assert named(None, source(f"/{folder}/a.mkv")) == f"/{folder}/a_2x.mkv"


def test_null() -> None:
    assert resolve("null:", source("/r/a.mkv"), job()) == NULL_OUTPUT


raw_names = (
    st.binary(min_size=1, max_size=255)
    .map(lambda raw: os.fsdecode(raw.replace(b"/", b"{").replace(b"\0", b"%")))
    .filter(lambda name: name not in (".", ".."))
)
file_names = raw_names | st.text("{}%d.~x\n-_2", min_size=1, max_size=12).filter(
    lambda n: n not in (".", "..")
)
TEMPLATES = [None, "out/{stem}_{target}{suffix}", "{stem}/{stem}/{name}", "{name}/x.mkv", "{stem}{suffix}"]


@given(file_names, st.sampled_from(TEMPLATES))
def test_no_name_gets_out_of_the_folder(name: str, template: str | None) -> None:
    one = source(f"/base/in/{name}", "/base/in")
    path = Path(named(template, one, base="/base/in"))
    assert path.is_relative_to("/base/in")
    assert ".." not in path.parts
    assert len(path.parts) - 3 == (1 if template is None else template.count("/") + 1)
    assert os.path.normpath(path) == str(path)


@given(file_names, file_names)
def test_different_stems_stay_different(one: str, other: str) -> None:
    if Path(one).stem != Path(other).stem:
        pair = [resolve(None, source(f"/in/{name}"), job()) for name in (one, other)]
        assert all(isinstance(name, PendingName) for name in pair)
        assert named(None, source(f"/in/{one}")) != named(None, source(f"/in/{other}"))


@pytest.mark.parametrize(
    ("template", "wanted"),
    [
        (None, "root"),
        ("{folder}/{stem}_2x.mp4", "root"),
        ("{root}/2x/{stem}.mp4", "root"),
        ("out/{subfolder}/{stem}.mkv", "base/out"),
        ("out_{stem}.mkv", "base"),
        ("/far/away/{stem}.mkv", "/far/away"),
        ("/far/away{stem}.mkv", "/far"),
    ],
)
def test_anchor_is_the_same_whatever_sources_come(tmp_path: Path, template: str | None, wanted: str) -> None:
    for place in ("a.mp4", "s1/a.mp4"):
        source = BatchSource(source=tmp_path / "root" / place, root=tmp_path / "root")
        assert anchor(template, source, base=tmp_path / "base") == tmp_path / wanted
