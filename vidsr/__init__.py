"""vidsr: video super-resolution that is right about your files.

    import vidsr

    report = vidsr.upscale("clip.mp4", "larger.mp4", scale=2)     # a whole file: what ``vidsr upscale`` does

    with vidsr.Upscaler("ecbsr", 2) as upscaler:                  # frames: numpy arrays, planes, PyAV's
        larger = upscaler.upscale(array)

    info = vidsr.probe("clip.mp4")                                # what a file holds

Importing this package loads none of its heavy libraries; each name below does when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vidsr.api import Upscaler, upscale
    from vidsr.errors import VidsrError
    from vidsr.frame import ChromaLocation, ColorInfo, ColorRange, Frame, Matrix, PixelFormat, VideoInfo
    from vidsr.job import Job
    from vidsr.pipeline import Progress, run
    from vidsr.report import JobReport
    from vidsr.streaming import Stream
    from vidsr.video.probe import probe

__all__ = [
    "ChromaLocation",
    "ColorInfo",
    "ColorRange",
    "Frame",
    "Job",
    "JobReport",
    "Matrix",
    "PixelFormat",
    "Progress",
    "Stream",
    "Upscaler",
    "VideoInfo",
    "VidsrError",
    "probe",
    "run",
    "upscale",
]

_HOMES = {
    "ChromaLocation": "vidsr.frame",
    "ColorInfo": "vidsr.frame",
    "ColorRange": "vidsr.frame",
    "Frame": "vidsr.frame",
    "Job": "vidsr.job",
    "JobReport": "vidsr.report",
    "Matrix": "vidsr.frame",
    "PixelFormat": "vidsr.frame",
    "Progress": "vidsr.pipeline",
    "Stream": "vidsr.streaming",
    "Upscaler": "vidsr.api",
    "VideoInfo": "vidsr.frame",
    "VidsrError": "vidsr.errors",
    "probe": "vidsr.video.probe",
    "run": "vidsr.pipeline",
    "upscale": "vidsr.api",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'vidsr' has no attribute '{name}'")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return list(__all__)
