"""VMAF through the extra's FFmpeg program: it measures, and says what is wrong when it cannot."""

from __future__ import annotations

import importlib.util
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from vidsr.errors import BackendError, OptionsError
from vidsr.evaluation.vmaf import Vmaf, check_vmaf
from vidsr.frame import PixelFormat

YUV = PixelFormat.parse("yuv420p")
RATE = Fraction(25)


def pattern(layout: PixelFormat, index: int) -> np.ndarray:
    y, x = np.mgrid[:128, :192]
    wave = np.sin((x + 3 * index) / 5) + np.cos((y - 2 * index) / 7) + ((x * 7 + y * 3) % 5) / 5
    return ((wave / 8 + 0.5) * layout.peak).astype(layout.dtype)


def vmaf_of(distance: int, layout: PixelFormat) -> float:
    frames = [pattern(layout, index) for index in range(6)]
    with Vmaf(layout, 192, 128, RATE) as compare:
        for frame in frames:
            compare.add(frame, np.roll(frame, distance, 1))
        return compare.mean()


@pytest.mark.usefixtures("vmaf")
def test_vmaf_is_high_for_equal_clips_and_falls() -> None:
    for layout in (YUV, PixelFormat.parse("yuv420p10le")):
        same, other = (vmaf_of(distance, layout) for distance in (0, 2))
        assert same > 95
        assert other < same - 20


@pytest.mark.usefixtures("vmaf")
def test_vmaf_without_libvmaf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "ffmpeg"
    other.write_text("#!/bin/sh\necho \"No such filter: 'libvmaf'\" >&2\nexit 8\n")
    other.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(other))
    with pytest.raises(BackendError, match=r"No such filter: 'libvmaf'.*; its FFmpeg has no libvmaf"):
        vmaf_of(0, YUV)


def test_vmaf_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(OptionsError, match=r"imageio-ffmpeg.*; run: pip install 'vidsr\[vmaf\]'"):
        check_vmaf()
