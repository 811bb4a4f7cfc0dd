"""One small file of each class: containers, codecs, kinds of times."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from synth import make_clip

__all__ = ["make_classes"]


def make_classes(folder: Path) -> list[Path]:
    """Write the files, a few kilobytes each, and return their paths."""
    sound, group, quiet = {"sound": True}, {"g": "6"}, {"x265-params": "log-level=none"}
    checked = {"level": "3", "slicecrc": "1"}
    rows: list[tuple[str, dict[str, object]]] = [
        ("h264.mp4", sound | {"options": group | {"bf": "2"}, "subtitles": "mov_text", "chapters": True}),
        ("h264.mkv", sound | {"options": group, "subtitles": "subrip", "title": "a title"}),
        ("h264.mov", {"rotation": 90, "aspect": Fraction(4, 3), "options": {"bf": "2"}}),
        ("h264.ts", {"options": group | {"bf": "2"}}),
        ("h264.flv", {"options": group}),
        (
            "hevc.mkv",
            {"codec": "libx265", "pixel_format": "yuv420p10le", "options": {"x265-params": "log-level=none"}},
        ),
        ("hevc.mp4", {"codec": "libx265", "options": quiet}),
        ("mpeg4.avi", {"codec": "mpeg4", "options": group | {"bf": "2"}}),
        ("mpeg2.ts", {"codec": "mpeg2video", "options": group | {"bf": "2"}}),
        ("mpeg2.mpg", {"codec": "mpeg2video", "options": group}),
        ("vp9.webm", {"codec": "libvpx-vp9", "size": (63, 47)}),
        ("vp8.webm", {"codec": "libvpx"}),
        ("av1.mp4", {"codec": "libsvtav1", "size": (64, 64), "options": {"preset": "12"}}),
        (
            "ffv1.mkv",
            {"codec": "ffv1", "pixel_format": "yuv444p", "options": checked},
        ),
        ("prores.mov", {"codec": "prores_ks", "pixel_format": "yuv422p10le"}),
        ("vfr.mkv", {"times": [0, 1, 5, 6, 7, 20, 21, 22, 40, 41, 60, 61]}),
        ("late.mp4", sound | {"times": [t + 90 for t in range(12)]}),
        ("raw.h264", {"options": group}),
    ]
    return [make_clip(folder / name, **({"times": 18} | options)) for name, options in rows]
