"""The stages of a job at work, each overlapping the next: decode -> [queue] -> upscale -> [queue] -> encode.

Decoding and upscaling run in threads of their own (`Prefetch`); encoding in the caller's. Where one result is
so large that none may wait, nothing overlaps (`OnDemand`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing
from time import perf_counter
from typing import Protocol, TypeVar

from vidsr.backends.base import Ticket
from vidsr.errors import DecodeError, VidsrError
from vidsr.frame import Frame, Planes
from vidsr.prefetch import OnDemand, Prefetch
from vidsr.report import StageTimes
from vidsr.resident import source_of
from vidsr.reuse import PART_TILE, Reuse
from vidsr.upscaler import Upscaler
from vidsr.video.watch import SourceWatch

__all__ = [
    "LARGE_BYTES",
    "RESULT_BYTES",
    "SOURCE_BYTES",
    "FrameSink",
    "FrameSource",
    "Result",
    "flow",
    "with_reuse",
]

T = TypeVar("T")

SOURCE_BYTES = 24 << 20
"""Of frames waiting for the network, at most."""
RESULT_BYTES = 40 << 20
"""Of frames waiting for the encoder, at most."""
LARGE_BYTES = 96 << 20
"""Of one result; beyond, no frame waits anywhere."""
_QUEUE_FRAMES = 8


class FrameSource(Protocol):
    """Where frames come from, such as a `vidsr.video.reader.Reader`."""

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame's planes."""

    def __iter__(self) -> Iterator[Frame]:
        """Return the frames."""


class Result(Protocol):
    """A frame to be filled, such as a `vidsr.video.writer.OutputFrame`, which says what these are."""

    planes: Planes
    pts: int
    duration: int
    shift: int
    key: bool


R = TypeVar("R", bound=Result)


class FrameSink(Protocol[R]):
    """Where results go, such as a `vidsr.video.sinks.Sink`."""

    def allocate(self) -> R:
        """Return a frame to fill."""

    def write(self, out: R, /) -> None:
        """Take a filled frame."""


def with_reuse(opened: Callable[[str | None], Upscaler], wanted: str) -> Reuse:
    """Return a network with what repeats results before it.

    Args:
        opened: Opens the network, given how frames are cut; None: as was asked for.
        wanted: As `Job.reuse`.
    """
    whole = opened(None)
    # Where no frame waits anywhere, none is kept either.
    enabled = wanted == "auto" and whole.output_bytes <= LARGE_BYTES
    cut = max(whole.size) > PART_TILE
    return Reuse(whole, (lambda: opened(str(PART_TILE))) if cut else None, enabled=enabled)


def flow(
    reader: FrameSource,
    upscaler: Reuse,
    sink: FrameSink[R],
    done: Callable[[int], None],
    *,
    enough: Callable[[], bool] = lambda: False,
    watch: SourceWatch = SourceWatch(None, None),
    depth: int = _QUEUE_FRAMES,
    halt: Callable[[], None] = lambda: None,
) -> tuple[int, list[StageTimes]]:
    """Move frames through the stages: all of them, or until there are `enough`.

    Args:
        reader: Where frames come from.
        upscaler: What enlarges them.
        sink: Where they go.
        done: Called with the number of frames after each.
        enough: Asked after each frame; what is then on its way is dropped.
        watch: Checked before each frame is passed on.
        depth: Frames that wait between two stages, at most.
        halt: Called first when this is left, however: ends a reading that may wait for long.

    Returns:
        How many frames the sink got, and where the time went.
    """
    made = 0
    began = perf_counter()
    encoding = 0.0
    alone = upscaler.output_bytes > LARGE_BYTES
    source_depth = 0 if alone else min(depth, _depth(reader.frame_bytes, SOURCE_BYTES))
    result_depth = 0 if alone else min(depth, _depth(upscaler.output_bytes, RESULT_BYTES))
    with (
        _stage(watch.over(iter(reader)), source_depth, "decode", _frame_bytes) as frames,
        closing(_upscaled(frames, upscaler, sink, 1 if alone else upscaler.in_flight)) as upscaling,
        _stage(upscaling, result_depth, "inference", _output_bytes) as results,
        ExitStack() as leaving,
    ):
        leaving.callback(halt)
        for out in results:
            before = perf_counter()
            try:
                sink.write(out)
            except VidsrError as error:
                error.stage = error.stage or "encode"
                raise
            encoding += perf_counter() - before
            del out  # frames can be large: none is kept while the next is awaited
            made += 1
            done(made)
            if enough():
                break
        wall = perf_counter() - began
    inference = results.worked_s - frames.starved_s
    return made, [
        StageTimes("decode", frames.worked_s, 0.0, frames.blocked_s, wall),
        StageTimes("inference", inference, frames.starved_s, results.blocked_s, wall),
        StageTimes("encode", encoding, results.starved_s, 0.0, wall),
    ]


def _upscaled(
    frames: Prefetch[Frame] | OnDemand[Frame], upscaler: Reuse, sink: FrameSink[R], in_flight: int
) -> Generator[R]:
    """Yield filled frames in order, keeping the upscaler's sessions busy."""
    pending: deque[tuple[Frame, R, Ticket]] = deque()
    broken: DecodeError | None = None
    try:
        try:
            for frame in frames:
                out = sink.allocate()
                out.pts, out.duration = frame.pts, frame.duration
                out.shift, out.key = frame.shift, frame.key
                pending.append((frame, out, upscaler.submit(source_of(frame), out.planes)))
                del frame, out
                if len(pending) >= in_flight:
                    yield _finished(pending)
        except DecodeError as error:
            broken = error  # what came before it is good
        while pending:
            yield _finished(pending)
        if broken is not None:
            raise broken
    finally:
        # The session writes into these planes until its tickets are done.
        for _, _, ticket in pending:
            try:
                ticket.result()
            except VidsrError:
                continue


def _finished(pending: deque[tuple[Frame, R, Ticket]]) -> R:
    _, out, ticket = pending[0]
    ticket.result()
    pending.popleft()
    return out


def _depth(frame_bytes: int, room: int) -> int:
    return max(1, min(_QUEUE_FRAMES, room // max(1, frame_bytes)))


def _stage(source: Iterator[T], depth: int, name: str, size: Callable[[T], int]) -> Prefetch[T] | OnDemand[T]:
    return Prefetch(source, depth, name=name, size=size) if depth else OnDemand(source, name=name)


def _frame_bytes(frame: Frame) -> int:
    return frame.nbytes


def _output_bytes(out: Result) -> int:
    return sum(plane.nbytes for plane in out.planes)
