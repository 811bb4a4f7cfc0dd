"""What an entry is recognised by."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vidsr.batch.identity import differences, fingerprint
from vidsr.errors import SourceError
from vidsr.identity import own_version, source_identity
from vidsr.job import Job


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / os.fsdecode(b"\xff{.mkv")
    path.write_bytes(bytes(range(256)) * 1024)
    return path


def test_a_fingerprint(clip: Path) -> None:
    seen: list[int] = []
    job = Job(source=clip, scale=1.5, crf=20.0, drop=("audio", 3))
    found = fingerprint(job, clip, full_hash=True, progress=seen.append)
    assert json.loads(json.dumps(found)) == found
    assert found["source"] == {
        **source_identity(clip),
        "sha256": hashlib.sha256(clip.read_bytes()).hexdigest(),
    }
    assert sum(seen) == 256 * 1024
    assert found["vidsr"] == own_version()
    assert (found["options"]["scale"], found["options"]["drop"]) == ("3/2", ["audio", 3])
    assert "sha256" not in fingerprint(job, clip, full_hash=False)["source"]


def test_options_that_do_not_change_a_result(clip: Path, tmp_path: Path) -> None:
    plain = fingerprint(Job(source=clip), clip, full_hash=False)
    other = Job(
        source=clip,
        output=tmp_path / "x.mkv",
        overwrite=True,
        discard=True,
        verify="full",
        threads=3,
        on_error="skip",
        allow_network=True,
    )
    assert fingerprint(other, clip, full_hash=False) == plain
    for options in ({"crf": 3}, {"segment_frames": 9}, {"encoder_threads": 2}, {"model": "x"}, {"end": 3}):
        changed = fingerprint(Job(source=clip, **options), clip, full_hash=False)  # type: ignore[arg-type]
        assert differences(plain, changed).startswith(f"{next(iter(options))} was ")


def test_differences_in_words(clip: Path) -> None:
    def taken(full_hash: bool = False, **options: object) -> dict[str, object]:
        return fingerprint(Job(source=clip, **options), clip, full_hash=full_hash)  # type: ignore[arg-type]

    old = taken(crf=18.0, encoder_options={"a": "1"})
    assert differences(old, taken(crf=18.0, encoder_options={"a": "1"})) == ""
    assert differences(old, taken(crf=20.0)) == "crf was 18, is 20; encoder_options.a was 1, is None"
    assert differences({**old, "digest": "aa", "model": 1}, {**old, "digest": "bb"}) == (
        "the model changed; digest was aa, is bb"
    )
    whole = taken(full_hash=True)
    assert differences(taken(), whole) == ""
    os.utime(clip, ns=(1, 1))
    assert differences(whole, taken()) == "the source changed"
    assert differences(whole, taken(full_hash=True)) == ""
    data = bytearray(clip.read_bytes())
    data[128 * 1024] ^= 1  # neither in the head nor in the tail
    clip.write_bytes(data)
    os.utime(clip, ns=(1, 1))
    assert differences(whole, taken(full_hash=True)) == "the source changed"


def test_a_sequence_is_all_its_pictures(tmp_path: Path) -> None:
    pattern = tmp_path / "s_%02d.png"
    for number in range(3):
        (tmp_path / f"s_{number:02d}.png").write_bytes(b"x")
        os.utime(tmp_path / f"s_{number:02d}.png", ns=(5, 5))

    def taken(full_hash: bool) -> dict[str, object]:
        return fingerprint(Job(source=pattern), pattern, full_hash=full_hash)

    quick, whole = taken(False), taken(True)
    assert quick["source"]["pictures"] == whole["source"]["pictures"] == 3  # type: ignore[index]
    (tmp_path / "s_01.png").write_bytes(b"y")
    os.utime(tmp_path / "s_01.png", ns=(5, 5))
    assert differences(quick, taken(False)) == ""
    assert differences(whole, taken(True)) == "the source changed"
    (tmp_path / "s_03.png").write_bytes(b"x")
    assert differences(quick, taken(False)) == "the source changed"
    for path in tmp_path.iterdir():
        path.unlink()
    with pytest.raises(SourceError, match="no picture of this pattern"):
        taken(False)


def test_addresses_and_what_is_missing(tmp_path: Path) -> None:
    address = "https://me:secret@host/clip.mp4"
    found = fingerprint(Job(source=address), address, full_hash=True)
    assert found["source"] == {"name": "https://host/clip.mp4"}
    gone = tmp_path / "gone.mkv"
    for full_hash in (False, True):
        with pytest.raises(SourceError, match=r"gone\.mkv: cannot read this \(No such file"):
            fingerprint(Job(source=gone), gone, full_hash=full_hash)


def test_no_heavy_library_is_imported() -> None:
    names = "entries finding identity inputs manifest results templates watching".split()
    code = "import sys\n" + "".join(f"import vidsr.batch.{name}\n" for name in names)
    code += "print(sorted({'av', 'onnx', 'openvino', 'torch', 'watchdog'} & set(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout == "[]\n"


def test_a_model_whose_file_changed_is_named_without_its_digest() -> None:
    old = {"source": {}, "options": {"model": "ecbsr"}, "model": "a" * 64}
    assert differences(old, {**old, "model": "b" * 64}) == "the model changed"
    other = {"source": {}, "options": {"model": "rfdn"}, "model": "c" * 64}
    assert differences(old, other) == "model was ecbsr, is rfdn"
