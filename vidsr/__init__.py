"""vidsr: video super-resolution that is right about your files.

    import vidsr

    report = vidsr.run(vidsr.Job(source=Path("clip.mp4"), scale=2))

Importing this package loads none of its heavy libraries; each name below does when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vidsr.errors import VidsrError
    from vidsr.frame import Frame, PixelFormat, VideoInfo
    from vidsr.job import Job
    from vidsr.pipeline import run
    from vidsr.report import JobReport
    from vidsr.upscaler import Upscaler
    from vidsr.video.probe import probe

__all__ = ["Frame", "Job", "JobReport", "PixelFormat", "Upscaler", "VideoInfo", "VidsrError", "probe", "run"]

_HOMES = {
    "Frame": "vidsr.frame",
    "Job": "vidsr.job",
    "JobReport": "vidsr.report",
    "PixelFormat": "vidsr.frame",
    "Upscaler": "vidsr.upscaler",
    "VideoInfo": "vidsr.frame",
    "VidsrError": "vidsr.errors",
    "probe": "vidsr.video.probe",
    "run": "vidsr.pipeline",
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
