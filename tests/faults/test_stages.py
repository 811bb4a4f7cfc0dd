"""An encoder that fails in a frame, a thread that dies, memory that is not to be had."""

from __future__ import annotations

import errno
import resource
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import av
import pytest
from command import Command, Whole
from synth import make_clip

import vidsr
from vidsr.cli import _run
from vidsr.cli.endings import ending, out_of_memory
from vidsr.errors import EncodeError, InferenceError, VidsrError

JOB = {"backend": "nearest", "preset": "ultrafast", "segment_frames": 10, "encoder_threads": 1}


@pytest.fixture
def clip(tmp_path: Path, whole: Whole) -> Path:
    path = tmp_path / "in.mp4"
    path.write_bytes(whole.source.read_bytes())
    return path


def at_call(number: int, function: Callable[..., Any], error: BaseException) -> Callable[..., Any]:
    """Return `function`, which raises in its `number`-th call."""
    calls = 0

    def wrapped(*arguments: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number:
            raise error
        return function(*arguments, **more)

    return wrapped


STAGES = [
    ("vidsr.video.writer._repeat_border", "encode"),
    ("vidsr.video.framing.to_planar", "decode"),
    ("vidsr.backends.nearest._NearestSession.submit", "inference"),
    ("vidsr.video.video_sink.VideoSink.allocate", "inference"),
]


@pytest.mark.parametrize(("where", "stage"), STAGES)
@pytest.mark.parametrize(
    "kind", [ZeroDivisionError, MemoryError, partial(OSError, errno.EIO, "Input/output error")]
)
def test_a_stage_dies_in_frame_25(
    clip: Path,
    whole: Whole,
    where: str,
    stage: str,
    kind: Callable[[], Exception],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Told in one line with the stage; no thread stays, segments do, and the same command finishes."""
    usual = ["--backend", "nearest", "--segment-frames", "10", "--preset", "ultrafast", "--no-progress"]
    arguments = ["upscale", str(clip), "-o", str(clip.with_name("out.mp4")), *usual, "--encoder-threads", "1"]
    with monkeypatch.context() as patch:
        name, _, function = where.rpartition(".")
        error = kind()
        home = _resolved(name)
        patch.setattr(home, function, at_call(25, getattr(home, function), error))
        assert _run(arguments) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert type(error).__name__ in err or "out of memory" in err or "Input/output error" in err
    if stage != "encode" and isinstance(error, ZeroDivisionError | MemoryError):
        assert f"'{stage}'" in err
    assert not [t for t in threading.enumerate() if t.name.startswith("vidsr-")]
    assert not clip.with_name("out.mp4").exists()
    assert len(list(clip.with_name("out.mp4.vidsr").glob("00*.mp4"))) in (1, 2)
    assert _run(arguments) == 0
    assert clip.with_name("out.mp4").read_bytes() == whole.result


def _resolved(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        module, _, kind = name.rpartition(".")
        return getattr(importlib.import_module(module), kind)


class _Failing:
    """An encoder's stream that refuses its `number`-th frame."""

    def __init__(self, stream: Any, number: int, error: Exception) -> None:
        self._stream, self._left, self._error = stream, number, error

    def encode(self, frame: Any) -> Any:
        self._left -= 1
        if self._left == 0:
            raise self._error
        return self._stream.encode(frame)


@pytest.mark.parametrize("number", [5, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 10))])
def test_the_encoder_refuses_a_frame(
    clip: Path, whole: Whole, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import vidsr.video.writer as writer

    job = vidsr.Job(source=clip, output=clip.with_name("out.mp4"), **JOB)
    opened = writer._open_encoder
    refused = av.error.ExternalError(errno.EINVAL, "Generic error in an external library")
    with monkeypatch.context() as patch:
        patch.setattr(writer, "_open_encoder", lambda *a: _Failing(opened(*a), number, refused))
        with pytest.raises(EncodeError, match="encoding failed") as caught:
            vidsr.run(job)
    assert caught.value.stage == "encode"
    assert [p.name for p in clip.parent.iterdir()] == ["in.mp4"], "not one segment was whole"
    vidsr.run(job)
    assert clip.with_name("out.mp4").read_bytes() == whole.result


def test_a_limit_on_memory(command: Command) -> None:
    """A frame of 16384x8192 takes 200 MB, and there are several; the process may have 900."""
    make_clip(command.folder / "big.mkv", size=(1024, 512), times=2, codec="ffv1")
    command.source = "big.mkv"
    command.target = "out.mkv"
    command.usual += ["--scale", "16", "-c", "ffv1"]
    done = command.run(limits={resource.RLIMIT_AS: 900 << 20})
    line = command.failed(done)
    assert line.startswith("vidsr: out of memory"), line
    assert "--tile 256" in line


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (MemoryError(), True),
        (av.error.MemoryError(errno.ENOMEM, "Cannot allocate memory"), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (RuntimeError("Exception from src/inference:\nstd::bad_alloc"), True),
        (InferenceError("OpenVINO failed (std::bad_alloc)"), True),
        (InferenceError("OpenVINO failed (could not create a memory object)"), True),
        (EncodeError("encoding failed (Cannot allocate memory)"), True),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (ValueError("bad_alloc is a word"), False),
    ],
)
def test_every_library_s_word_for_no_memory(error: Exception, memory: bool) -> None:
    assert out_of_memory(error) == memory
    outer = VidsrError("something failed")
    outer.__cause__ = error
    line, code = ending(outer)
    assert (line.startswith("out of memory"), code) == (memory, 1)


def test_lines_are_lines() -> None:
    line, code = ending(KeyError("a\nb\x1b[31m"))
    assert (code, "\n" in line, "\x1b" in line) == (1, False, False)
    assert line.startswith("unexpected KeyError")
    assert ending(RecursionError())[0].startswith("unexpected RecursionError, a fault in vidsr")


@pytest.mark.parametrize("moment", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in (0, 2, 3))])
def test_pictures_killed_while_they_get_their_names(command: Command, moment: int) -> None:
    """The same command, without -y, gives the rest their names."""
    command.target, command.usual = "out_%02d.png", ["--backend", "nearest", "--no-progress", "--frames", "3"]
    dies = f"""
import os
import vidsr.video.pictures as pictures
name, count = pictures.give_name, 0
def dying(*paths):
    global count
    if count == {moment}:
        os.kill(os.getpid(), 9)
    count += 1
    name(*paths)
pictures.give_name = dying
"""
    done = command.run(before=dies)
    assert done.code == (-9 if moment < 3 else 0)
    assert len(list(command.folder.glob("*.png"))) == min(moment, 3)
    if moment < 3:
        assert command.run("--discard").code == (2 if moment else 0)
    if moment in (1, 2):
        first = (command.folder / "out_01.png").stat().st_mtime_ns
        assert command.run().code == 0
        assert (command.folder / "out_01.png").stat().st_mtime_ns == first, "it is not made again"
    assert sorted(p.name for p in command.folder.glob("out*")) == ["out_01.png", "out_02.png", "out_03.png"]
    assert command.run().code == 2, "now they are somebody's"
