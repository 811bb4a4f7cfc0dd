"""VapourSynth: ``upscale(clip)`` in a script, with the very samples that the command line makes.

std.ModifyFrame calls its selector for one frame at a time, so one filter would keep one frame in the network.
The clip is dealt out to as many lanes as the network takes frames at once, each a ModifyFrame of its own, and
taken together again: `Interleave(SelectEvery(...), ...)`. Lanes share the networks, one a format of frames.
"""

from __future__ import annotations

import importlib.util
import threading
import weakref
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from vidsr.backends import get_backend
from vidsr.errors import (
    BackendUnavailableError,
    OptionsError,
    VidsrError,
)
from vidsr.frame import PixelFormat
from vidsr.hosts.vapoursynth_frames import form_of, pixels_of, planes_of, reshape
from vidsr.job import Job
from vidsr.models.deploy import FrameFormat
from vidsr.opening import Way, decide, open_way
from vidsr.upscaler import Upscaler

__all__ = ["MAX_STREAMS", "upscale"]

MAX_STREAMS = 64
"""Frames in the network at once, at most."""

_IMPORT_FIRST = "; import vidsr.hosts.vapoursynth before anything uses vs.core: vs-mlrt's OpenVINO was first"


def _before_plugins() -> None:
    """Load OpenVINO before VapourSynth loads vs-mlrt's plugin for it, where that lies beside VapourSynth.

    Its libraries have the names of ours, and what is loaded first serves both: ours serves vs-mlrt too, but
    OpenVINO's Python refuses vs-mlrt's.
    """
    found = importlib.util.find_spec("vapoursynth")
    folders = (found.submodule_search_locations or ()) if found else ()
    if any(Path(folder).glob("plugins/**/*vsov*") for folder in folders):
        get_backend("openvino").availability()


_before_plugins()


def upscale(
    clip: Any,
    model: str = "ecbsr",
    scale: Fraction | float | None = None,
    backend: str = "auto",
    tile: int | None = None,
    num_streams: int | None = None,
    *,
    size: str | None = None,
    device: str = "auto",
    precision: Literal["auto", "f32", "bf16", "f16", "int8"] = "auto",
    fast: bool = False,
    threads: int = 0,
    chroma: Literal["bicubic", "nearest"] = "bicubic",
) -> Any:
    """Return a clip, enlarged: same format, same frame properties, frames in any order.

    The first frame is asked for at once: its _Matrix, _Range (or _ColorRange) and _ChromaLocation decide what
    is opened. Each further frame's decide for itself. What is not tagged is guessed as for files.

    Args:
        clip: Gray, YUV or RGB, integers of 8 to 16 bits, of one format and size.
        model: As `Job.model`; "auto" is what suits clean sources.
        scale: Such as 2 or 1.5; None: 2, or what `size` says.
        backend: As `Job.backend`.
        tile: Side of a tile in source pixels; 0: whole frames; None: the backend's choice.
        num_streams: Frames in the network at once; None: the backend's choice. Each waits in a thread of the
            core's while it is computed.
        size: Instead of a scale, as `Job.size`: "1920x1080", "1920x", "x1080".
        device: As `Job.device`.
        precision: As `Job.precision`.
        fast: As `Job.fast`.
        threads: As `Job.threads`; 0: all cores.
        chroma: As `Job.chroma`.

    Raises:
        vapoursynth.Error: The clip, the options or the machine will not do; one line, with what to do.
    """
    try:
        import vapoursynth as vs
    except ImportError as error:
        hint = "in Python 3.12 or newer run: pip install 'vidsr[vapoursynth]'"
        raise BackendUnavailableError("VapourSynth is not installed here", hint=hint) from error
    try:
        if not isinstance(clip, vs.VideoNode):
            raise OptionsError(f"a clip is wanted, not {type(clip).__name__}")
        pixels = pixels_of(clip, vs)
        if num_streams is not None and not 1 <= num_streams <= MAX_STREAMS:
            raise OptionsError(f"num_streams takes 1 to {MAX_STREAMS}, not {num_streams}")
        job = Job(
            source=Path("-"),
            model=model,
            scale=None if scale is None else Fraction(str(scale)),
            size=size,
            backend=backend,
            tile="auto" if tile is None else str(tile),
            device=device,
            precision=precision,
            fast=fast,
            threads=threads,
            chroma=chroma,
        )
        with clip.get_frame(0) as first:
            form = form_of(first.props, pixels, (clip.width, clip.height), chroma)
        networks = _Networks(job, (clip.width, clip.height), num_streams or 0)
        way, upscaler = networks.at(form)
    except (VidsrError, ValueError, ArithmeticError) as error:
        more = "OpenVINO does not start" in str(error) and hasattr(vs.core, "ov")
        raise vs.Error(f"vidsr: {error}{_IMPORT_FIRST if more else ''}") from None
    width, height = way.target.size
    large = vs.core.std.BlankClip(clip, width=width, height=height, keep=True)
    return _dealt(clip, large, _Selector(networks, pixels, vs), upscaler.in_flight, vs.core)


def _dealt(clip: Any, large: Any, selector: _Selector, lanes: int, core: Any) -> Any:
    """Return the frames of `large`, made by a selector in lanes that each work on one frame at a time."""
    lanes = min(lanes, clip.num_frames)

    def lane(number: int) -> Any:
        small, empty = (
            core.std.SelectEvery(c, cycle=lanes, offsets=number, modify_duration=False) for c in (clip, large)
        )
        return core.std.ModifyFrame(empty, small, lambda n, f: selector.made_of(f, n * lanes + number))

    if lanes == 1:
        return core.std.ModifyFrame(large, clip, lambda n, f: selector.made_of(f, n))
    return core.std.Interleave([lane(number) for number in range(lanes)], modify_duration=False)


class _Networks:
    """The networks of a clip, opened when a frame needs them and closed with the last filter that could."""

    def __init__(self, job: Job, size: tuple[int, int], in_flight: int) -> None:
        self._job, self._size, self._in_flight = job, size, in_flight
        self.chroma: Literal["bicubic", "nearest"] = job.chroma
        self._open: dict[FrameFormat, tuple[Way, Upscaler]] = {}
        self._opening = threading.Lock()
        weakref.finalize(self, _close, self._open)

    def at(self, form: FrameFormat) -> tuple[Way, Upscaler]:
        """Return how frames of a format are enlarged, and what does it; open for as long as `self` lives.

        Raises:
            VidsrError: It cannot be.
        """
        with self._opening:
            if form not in self._open:
                way = decide(self._job, form, self._size)
                _check_size(way)
                self._open[form] = way, open_way(way, in_flight=self._in_flight)
            return self._open[form]


def _close(networks: dict[FrameFormat, tuple[Way, Upscaler]]) -> None:
    for _, upscaler in networks.values():
        upscaler.close()
    networks.clear()


class _Selector:
    """From a frame to an enlarged frame, for std.ModifyFrame."""

    def __init__(self, networks: _Networks, pixels: PixelFormat, vs: Any) -> None:
        self._networks, self._pixels, self._vs = networks, pixels, vs
        self._failure = _failure_of(vs)

    def made_of(self, small: Any, number: int) -> Any:
        """Return frame `number`, made of `small`."""
        try:
            form = form_of(small.props, self._pixels, (small.width, small.height), self._networks.chroma)
            way, upscaler = self._networks.at(form)
            made = self._vs.core.create_video_frame(small.format, *way.target.size)
            upscaler.submit(planes_of(small, self._pixels), planes_of(made, self._pixels)).result()
        except VidsrError as error:
            raise self._failure(f"frame {number}: {error}") from None
        made.props = small.props
        reshape(made.props, way.target.sample_aspect_ratio)
        return made


def _check_size(way: Way) -> None:
    pixels, size = way.form.pixel_format, way.target.size
    steps = [1 << shift for shift in pixels.chroma_shifts]
    if any(side % step for side, step in zip(size, steps, strict=True)):
        raise OptionsError(
            f"a result of {size[0]}x{size[1]} does not go with chroma that is subsampled like this",
            hint=f"ask for multiples of {steps[0]} across and {steps[1]} down",
        )


def _failure_of(vs: Any) -> type[Exception]:
    """Return an error for selectors: VapourSynth tells of them by their traceback, and this one has none."""

    class Error(vs.Error):  # type: ignore[misc]
        @property
        def __traceback__(self) -> None:
            return None

    Error.__module__, Error.__qualname__ = "vidsr", "Error"
    return Error
