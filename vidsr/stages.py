"""The stages of a job at work, each overlapping the next: decode -> [queue] -> upscale -> [queue] -> encode.

Decoding and upscaling run in threads of their own (`Prefetch`); encoding in the caller's. Where one result is
so large that none may wait, nothing overlaps (`OnDemand`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from time import perf_counter
from typing import TypeVar

from vidsr.backends.base import Ticket
from vidsr.errors import DecodeError, VidsrError
from vidsr.frame import Frame
from vidsr.prefetch import OnDemand, Prefetch
from vidsr.report import StageTimes
from vidsr.reuse import Reuse
from vidsr.video.reader import Reader
from vidsr.video.sinks import Sink
from vidsr.video.watch import SourceWatch
from vidsr.video.writer import OutputFrame

__all__ = ["LARGE_BYTES", "RESULT_BYTES", "SOURCE_BYTES", "flow"]

T = TypeVar("T")

SOURCE_BYTES = 24 << 20
"""Of frames waiting for the network, at most."""
RESULT_BYTES = 40 << 20
"""Of frames waiting for the encoder, at most."""
LARGE_BYTES = 96 << 20
"""Of one result; beyond, no frame waits anywhere."""
_QUEUE_FRAMES = 8


def flow(
    reader: Reader,
    upscaler: Reuse,
    sink: Sink,
    done: Callable[[int], None],
    *,
    enough: Callable[[], bool] = lambda: False,
    watch: SourceWatch = SourceWatch(None, None),
    depth: int = _QUEUE_FRAMES,
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
    ):
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
    frames: Prefetch[Frame] | OnDemand[Frame], upscaler: Reuse, sink: Sink, in_flight: int
) -> Generator[OutputFrame]:
    """Yield filled frames in order, keeping the upscaler's sessions busy."""
    pending: deque[tuple[Frame, OutputFrame, Ticket]] = deque()
    broken: DecodeError | None = None
    try:
        try:
            for frame in frames:
                out = sink.allocate()
                out.pts, out.duration = frame.pts, frame.duration
                out.shift, out.key = frame.shift, frame.key
                pending.append((frame, out, upscaler.submit(frame.planes, out.planes)))
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


def _finished(pending: deque[tuple[Frame, OutputFrame, Ticket]]) -> OutputFrame:
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


def _output_bytes(out: OutputFrame) -> int:
    return sum(plane.nbytes for plane in out.planes)
