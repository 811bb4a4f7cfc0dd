"""Proving that a written file holds every frame at its time, before it gets its final name."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from vidsr.errors import VerificationError
from vidsr.sources import ffmpeg_name

__all__ = ["verify_video"]


def verify_video(
    path: Path,
    times: Sequence[Fraction],
    *,
    size: tuple[int, int],
    exact: bool,
    full: bool,
) -> None:
    """Check a file against what should be in it.

    Args:
        path: The file.
        times: Every frame's presentation time in seconds, ascending.
        size: Width and height in pixels.
        exact: Whether times relative to the first must be equal; otherwise within 1 ms.
        full: Decode every frame as well.

    Raises:
        VerificationError: It holds something else.
    """
    try:
        with av.open(ffmpeg_name(path)) as container:
            stream = _main_stream(container)
            if (stream.codec_context.width, stream.codec_context.height) != size:
                got = f"{stream.codec_context.width}x{stream.codec_context.height}"
                raise _wrong(path, f"its picture is {got} instead of {size[0]}x{size[1]}")
            unit = stream.time_base
            found = sorted(p.pts * unit for p in container.demux(stream) if p.size and p.pts is not None)
        _compare(path, times, found, exact=exact)
        if full:
            _decode(path, len(times), size)
    except (av.FFmpegError, OSError, IndexError) as error:
        raise _wrong(path, f"it cannot be read again ({error})") from error


def _main_stream(container: Any) -> Any:
    covers = av.stream.Disposition.attached_pic
    return next(s for s in container.streams.video if not s.disposition & covers)


def _compare(path: Path, times: Sequence[Fraction], found: Sequence[Fraction], *, exact: bool) -> None:
    if len(found) != len(times):
        raise _wrong(path, f"it holds {len(found)} frames instead of {len(times)}")
    allowed = Fraction(0) if exact else Fraction(1, 1000)
    for number, (wanted, got) in enumerate(zip(times, found, strict=True)):
        error = (got - found[0]) - (wanted - times[0])
        if abs(error) > allowed:
            raise _wrong(path, f"frame {number} is {float(error) * 1000:.3f} ms off its time")


def _decode(path: Path, frames: int, size: tuple[int, int]) -> None:
    count = 0
    with av.open(ffmpeg_name(path)) as container:
        stream = _main_stream(container)
        stream.thread_type = "AUTO"
        for frame in container.decode(stream):
            if (frame.width, frame.height) != size or frame.is_corrupt:
                raise _wrong(path, f"frame {count} does not decode as {size[0]}x{size[1]}")
            count += 1
    if count != frames:
        raise _wrong(path, f"{count} of its {frames} frames can be decoded")


def _wrong(path: Path, why: str) -> VerificationError:
    return VerificationError(
        f"the written file is not right: {why}",
        path=path,
        stage="verify",
        hint="please report this; the file was not given its final name",
    )
