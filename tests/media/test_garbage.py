"""Frames are freed when they are done, not when Python next looks for cycles: at 8K that is gigabytes."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import av
import pytest
from fields import make_fields
from synth import make_clip

import vidsr


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
