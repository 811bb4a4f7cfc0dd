"""Clips, what is to become of them, and what is said of those that will not do; for vapoursynth_child.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import vapoursynth as vs

from vidsr.job import Job
from vidsr.models.deploy import FrameFormat
from vidsr.opening import decide, open_way

core = vs.core


def planes_of(frame: Any) -> list[np.ndarray]:
    """Copies of a frame's planes, in VapourSynth's order."""
    return [np.asarray(frame[number]).copy() for number in range(frame.format.num_planes)]


def noise(form: str, size: tuple[int, int], length: int) -> Any:
    """A clip of smooth noise that differs from frame to frame and plane to plane."""
    empty = core.std.BlankClip(format=getattr(vs, form).value, width=size[0], height=size[1], length=length)

    def fill(n: int, f: Any) -> Any:
        made = f.copy()
        peak = (1 << f.format.bits_per_sample) - 1
        for number in range(f.format.num_planes):
            plane = np.asarray(made[number])
            coarse = np.random.default_rng([n, number]).random(
                (plane.shape[0] // 4 + 1, plane.shape[1] // 4 + 1)
            )
            fine = coarse.repeat(4, 0).repeat(4, 1)[: plane.shape[0], : plane.shape[1]]
            plane[:] = (fine * peak).astype(plane.dtype)
        return made

    return core.std.ModifyFrame(empty, empty, fill)


def expected(frame: Any, form: FrameFormat, **options: Any) -> list[np.ndarray]:
    """What an `Upscaler` makes of a frame's planes, in VapourSynth's order."""
    planes = planes_of(frame)
    rgb = form.pixel_format.family == "gbr"
    red_first, green_first = ([2, 0, 1], [1, 2, 0]) if rgb else (range(len(planes)),) * 2
    job = Job(source="clip.mkv", **{"model": "ecbsr"} | options)
    with open_way(decide(job, form, (frame.width, frame.height))) as upscaler:
        made = form.pixel_format.allocate(*upscaler.size_out)
        upscaler.submit(tuple(planes[i] for i in green_first), made).result()
    return [made[i] for i in red_first]


def same(frame: Any, planes: list[np.ndarray]) -> None:
    """Assert that a frame's planes are these."""
    got = planes_of(frame)
    assert len(got) == len(planes)
    for number, (one, other) in enumerate(zip(got, planes, strict=True)):
        assert one.dtype == other.dtype
        assert np.array_equal(one, other), f"plane {number} of {frame.format.name}"


def one_line(call: Callable[[], Any]) -> str:
    """The text of the vs.Error that a call ends in."""
    try:
        call()
    except vs.Error as error:
        text = str(error).strip()
        assert "\n" not in text, text
        return text
    raise AssertionError("no vs.Error was raised")
