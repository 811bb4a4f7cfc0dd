"""Every shared clip that a GPU would decode, through the fake one: the reader gives the CPU's frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_gpu import FakeContext, install

from vidsr.errors import VidsrError
from vidsr.frame import VideoInfo
from vidsr.job import Job
from vidsr.video.hardware import Decoding, plan_decoding
from vidsr.video.probe import probe
from vidsr.video.reader import Reader, Span

FRAMES = 40


def _seen(info: VideoInfo, decoding: Decoding | None) -> tuple[list[Any], Reader]:
    found: list[Any] = []
    with Reader(info, Span(frames=FRAMES), on_error="skip", decoding=decoding) as reader:
        try:
            found.extend(
                (f.pts, f.duration, f.shift, f.key, [hash(p.tobytes()) for p in f.planes]) for f in reader
            )
        except VidsrError as error:
            found.append(str(error))
    return found, reader


@pytest.mark.slow
def test_all_shared_clips(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    compared = resident = 0
    for path in sorted((data / "video").rglob("*")):
        if not path.is_file() or path.stat().st_size > 30 << 20:
            continue
        try:
            info = probe(path)
        except VidsrError:
            continue
        decoding = plan_decoding(Job(source=path, hwaccel="auto", on_error="skip"), info)
        if decoding.gpu:
            FakeContext.decoded = 0
            found, reader = _seen(info, decoding)
            expected, cpu = _seen(info, None)
            assert found == expected, path
            assert reader.deinterlaced == cpu.deinterlaced, path
            compared += bool(FakeContext.decoded)
            stayed, reader = _seen(info, decoding.staying(0))
            assert stayed == expected, path
            resident += "in whose memory the frames stay" in reader.decoder
    assert compared > 70
    assert resident > 60
