"""Frames are freed when they are done, not when Python next looks for cycles: at 8K that is gigabytes."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av
import pytest
from fields import make_fields
from synth import make_clip

import vidsr
from vidsr import stages
from vidsr.planning import make_plan
from vidsr.video.video_sink import VideoSink
from vidsr.video.writer import OutputFrame


@pytest.fixture
def garbage() -> Iterator[list[object]]:
    """Yield what is found in cycles from here on."""
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.garbage.clear()
    try:
        yield gc.garbage
    finally:
        gc.set_debug(0)
        gc.garbage.clear()


@pytest.mark.parametrize("kind", ["progressive", "interlaced", "looked at first"])
def test_no_frame_is_in_a_cycle(tmp_path: Path, kind: str, garbage: list[object]) -> None:
    if kind == "interlaced":
        source = make_fields(tmp_path / "in.mp4", "t" * 8)
    else:
        source = make_clip(tmp_path / "in.mp4", times=8)
    model = "auto" if kind == "looked at first" else "ecbsr-m4c8"
    vidsr.run(vidsr.Job(source=source, output=tmp_path / "out.mp4", preset="ultrafast", model=model))
    gc.collect()
    assert [found for found in garbage if isinstance(found, av.VideoFrame | av.Packet)] == []


@pytest.mark.parametrize("backend", [pytest.param("nearest", marks=pytest.mark.slow), "openvino"])
@pytest.mark.parametrize(
    ("kind", "most"), [("progressive", 2), pytest.param("interlaced", 5, marks=pytest.mark.slow)]
)
def test_large_frames_are_not_held(
    tmp_path: Path, kind: str, most: int, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one is encoded: it and the source's; neighbours and the whole frame, where interlaced."""
    if kind == "interlaced":
        source = make_fields(tmp_path / "in.mp4", "t" * 30)
    else:
        source = make_clip(tmp_path / "in.mp4", times=30)
    monkeypatch.setattr(stages, "LARGE_BYTES", 0)
    write, held = VideoSink.write, []

    def counted(sink: VideoSink, out: OutputFrame) -> None:
        frames = (found for found in gc.get_objects() if issubclass(type(found), av.VideoFrame))
        held.append(sum(frame.width > 0 for frame in frames) - before)
        write(sink, out)

    monkeypatch.setattr(VideoSink, "write", counted)
    gc.collect()
    # Not isinstance: it asks objects for their class, and some of torch's warn then.
    before = sum(issubclass(type(found), av.VideoFrame) for found in gc.get_objects())
    job = vidsr.Job(source=source, output=tmp_path / "out.mp4", preset="ultrafast", backend=backend)
    vidsr.run(replace(job, model="ecbsr-m4c8", tile="32") if backend == "openvino" else job)
    assert len(held) == 30
    # In the end the decoder gives all that waited for their turn at once.
    assert max(held[:20]) <= most, held


def test_large_frames_do_not_wait_in_the_encoders_threads(tmp_path: Path) -> None:
    """At 16K x264's frame threads held 550 MB more than its slices."""
    source = make_clip(tmp_path / "in.mp4", size=(320, 240), times=2)
    job = vidsr.Job(source=source, output=tmp_path / "out.mp4")

    def threading_of(one: vidsr.Job) -> str | None:
        settings = make_plan(one).settings
        assert settings is not None
        return settings.options.get("thread_type")

    assert threading_of(job) == "frame"
    assert threading_of(replace(job, scale=None, size="4096x")) is None
    assert threading_of(replace(job, encoder_options={"thread_type": "slice"})) == "slice"
