"""What test_vapoursynth.py asks of a process with VapourSynth: functions by name, JSON in and out.

What compares planes takes as truth what an `Upscaler` makes of the same planes, without VapourSynth's frames.
"""

from __future__ import annotations

import gc
import json
import os
import random
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from vidsr.frame import Planes
from vidsr.hosts import vapoursynth as host
from vidsr.hosts import vapoursynth_frames as frames
from vidsr.opening import Way, open_way
from vidsr.upscaler import Upscaler

# vidsr first, so that its OpenVINO works beside vs-mlrt's, as in a script.
import vapoursynth as vs  # isort: skip

from vapoursynth_clips import core, expected, noise, one_line, planes_of, same  # isort: skip


@contextmanager
def openings(then: Callable[..., Upscaler] = open_way) -> Iterator[list[tuple[Way, Any]]]:
    """The ways that are opened meanwhile, with what was opened."""
    opened: list[tuple[Way, Any]] = []

    def noting(way: Way, **options: Any) -> Upscaler:
        opened.append((way, then(way, **options)))
        return opened[-1][1]

    host.open_way = noting
    try:
        yield opened
    finally:
        host.open_way = open_way


def own_threads() -> list[str]:
    """Names of vidsr's threads."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("vidsr-")]


def eventually(what: Callable[[], bool], seconds: float = 20) -> bool:
    """Whether something becomes true."""
    end = time.monotonic() + seconds
    while not what() and time.monotonic() < end:
        gc.collect()
        time.sleep(0.02)
    return what()


def random_order(clip: str, into: str, model: str, backend: str) -> None:
    """Write the raw frames of a file, enlarged, asked for all at once and in random order."""
    large = host.upscale(core.bs.VideoSource(clip, cachemode=0), model, 2, backend)
    order = list(range(large.num_frames))
    random.Random(5).shuffle(order)
    waiting = [(number, large.get_frame_async(number)) for number in order]
    made = {number: planes_of(future.result()) for number, future in waiting}
    Path(into).write_bytes(b"".join(plane.tobytes() for n in sorted(made) for plane in made[n]))


def every_format(form: str, name: str, backend: str) -> None:
    """Compare two frames of a format with what they are to be."""
    clip = noise(form, (64, 48), 2)
    clip = core.std.SetFrameProps(clip, _Matrix=0 if "RGB" in form else 1, _ChromaLocation=0)
    clip = core.std.SetFrameProps(clip, _Range=int("RGB" in form))
    large = host.upscale(clip, backend=backend)
    assert large.format.id == clip.format.id
    assert (large.width, large.height, large.num_frames, large.fps) == (128, 96, 2, clip.fps)
    pixels = frames.pixels_of(clip, vs)
    assert pixels.name == name
    form_of = frames.form_of(clip.get_frame(0).props, pixels, (64, 48), "bicubic")
    for number in (1, 0):
        with large.get_frame(number) as frame, clip.get_frame(number) as small:
            same(frame, expected(small, form_of, backend=backend))


def every_option(options: dict[str, Any], job: dict[str, Any], size: list[int]) -> None:
    """Compare a frame made with options with what a job's are to make."""
    clip = noise("YUV420P8", (96, 64), 3)
    large = host.upscale(clip, **options)
    assert [large.width, large.height] == size
    form = frames.form_of({}, frames.pixels_of(clip, vs), (96, 64), job.get("chroma", "bicubic"))
    with large.get_frame(2) as frame, clip.get_frame(2) as small:
        same(frame, expected(small, form, **job))


def properties_stay() -> None:
    """Every property, in each frame, as it was."""
    clip = noise("YUV420P10", (64, 48), 3)
    clip = core.std.SetFrameProps(clip, _SARNum=64, _SARDen=45, name="ü", many=[1, 2, 3], real=[0.5, 2.5])
    clip = core.std.ModifyFrame(clip, clip, numbered)
    clip = core.std.PropToClip(core.std.ClipToProp(clip, clip[1], prop="inner"), "inner")
    clip = core.std.ClipToProp(clip, core.std.BlankClip(clip, length=3), prop="other")
    large = host.upscale(clip)
    for number in (2, 0, 1):
        small, made = clip.get_frame(number), large.get_frame(number)
        kept, was = dict(made.props), dict(small.props)
        assert kept.pop("other").width == was.pop("other").width == 64
        assert kept == was
        assert kept["_SARNum"] == 64
        assert kept["many"] == [1, 2, 3]


def numbered(n: int, f: Any) -> Any:
    """A frame that knows its number."""
    made = f.copy()
    made.props["number"] = n
    return made


def shape_of_pixels(size: str, sar: list[int] | None) -> list[int]:
    """_SARNum and _SARDen of a result."""
    clip = noise("YUV420P8", (64, 48), 1)
    if sar:
        clip = core.std.SetFrameProps(clip, _SARNum=sar[0], _SARDen=sar[1])
    props = host.upscale(clip, size=size).get_frame(0).props
    return [props.get("_SARNum", 0), props.get("_SARDen", 0)]


def colour_by_the_frame() -> None:
    """Frames of two sitings in turn: each by its own, and each opened once."""
    one = noise("YUV420P8", (64, 48), 6)
    clip = core.std.Interleave(
        [core.std.SetFrameProps(one, _ChromaLocation=place) for place in (0, 2)], modify_duration=False
    )
    pixels = frames.pixels_of(clip, vs)
    with openings() as opened:
        large = host.upscale(clip)
        for future in [large.get_frame_async(number) for number in range(12)]:
            future.result()
        assert len(opened) == 2
    made = []
    for number in (2, 3):
        small = clip.get_frame(number)
        truth = expected(small, frames.form_of(small.props, pixels, (64, 48), "bicubic"))
        same(large.get_frame(number), truth)
        made.append(truth)
    assert np.array_equal(made[0][0], made[1][0])
    assert not np.array_equal(made[0][1], made[1][1])


def refused(what: str) -> str:
    """What is said of a clip that will not do."""
    clip = noise("YUV420P8", (64, 48), 2)
    other = core.std.BlankClip(clip, format=vs.GRAY8)
    wrong = {
        "float": lambda: core.resize.Point(clip, format=vs.YUV420PS),
        "half": lambda: core.resize.Point(clip, format=vs.YUV444PH),
        "long": lambda: core.std.BlankClip(clip, format=vs.GRAY32),
        "format": lambda: core.std.Splice([clip, other], mismatch=True),
        "size": lambda: core.std.Splice([clip, core.std.BlankClip(clip, width=128)], mismatch=True),
        "sound": core.std.BlankAudio,
        "fields": lambda: core.std.SetFieldBased(clip, 2),
    }
    return one_line(lambda: host.upscale(wrong[what]()))


def wrong_option(options: dict[str, Any]) -> str:
    """What is said of options that will not do."""
    return one_line(lambda: host.upscale(noise("YUV420P8", (64, 48), 2), **options))


def wrong_later() -> str:
    """What is said where the second frame will not do."""
    clip = noise("YUV420P8", (64, 48), 2)
    large = host.upscale(core.std.Splice([clip[0], core.std.SetFieldBased(clip[1], 1)]))
    large.get_frame(0)
    return one_line(lambda: large.get_frame(1))


class Meeting:
    """An upscaler whose frames wait for each other: they end only where so many are there at once."""

    def __init__(self, way: Way, in_flight: int) -> None:
        self.in_flight, self._met = in_flight, threading.Barrier(in_flight)

    def submit(self, src: Planes, dst: Planes) -> Meeting:
        return self

    def result(self) -> None:
        self._met.wait(timeout=30)

    def close(self) -> None:
        """Nothing is open."""


def frames_at_once(streams: int) -> None:
    """As many frames are in the network as it takes, whatever the order."""
    core.num_threads = streams + 1
    with openings(Meeting):
        large = host.upscale(noise("GRAY8", (32, 32), 3 * streams), num_streams=streams)
        for future in [large.get_frame_async(number) for number in reversed(range(3 * streams))]:
            future.result()


def nothing_left(backend: str) -> None:
    """A clip that is dropped, finished or not, takes its networks along."""
    clip = noise("YUV420P8", (320, 240), 40)
    page, sizes = os.sysconf("SC_PAGE_SIZE"), []
    for number in range(8):
        with openings() as opened:
            large = host.upscale(clip, backend=backend)
            futures = [large.get_frame_async(n) for n in range(1 + 2 * number)]
            if number % 2:
                [future.result() for future in futures]
            closed: list[int] = []
            close = opened[0][1].close
            opened[0][1].close = lambda close=close, closed=closed: (closed.append(1), close())
        del large, futures, opened, close
        assert eventually(lambda closed=closed: closed == [1]), "the network is still open"
        assert eventually(lambda: not own_threads()), own_threads()
        sizes.append(int(Path("/proc/self/statm").read_text().split()[1]) * page >> 20)
    assert sizes[-1] - sizes[2] < 40, f"MiB after each clip: {sizes}"


def beside_mlrt(model: str, scale: int) -> float:
    """Share of luma samples by which vs-mlrt on full-range GRAYS and we differ by more than a code."""
    clip = core.std.SetFrameProps(noise("GRAY8", (64, 48), 1), _Range=1)
    given = core.resize.Point(clip, format=vs.GRAYS)
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    theirs = core.ov.Model(given, network_path=model, device="CPU", config=lambda: exact)
    theirs = core.resize.Point(theirs, format=vs.GRAY8)
    ours = host.upscale(clip, model, scale, "openvino", precision="f32")
    one, other = (np.asarray(c.get_frame(0)[0]).astype(int) for c in (theirs, ours))
    return float((np.abs(one - other) > 1).mean())


def main() -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    for line in sys.stdin:
        name, arguments = json.loads(line)
        try:
            answer = {"returned": globals()[name](**arguments)}
        except Exception:
            answer = {"failed": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
