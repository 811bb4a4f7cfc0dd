"""How many bytes the streams come to that are carried along, from a bounded look at their packets."""

from __future__ import annotations

from collections.abc import Collection
from fractions import Fraction
from time import perf_counter

import av

from vidsr.frame import VideoInfo
from vidsr.video.opening import open_info

__all__ = ["carried_bytes"]

_SECONDS = 1.0  # on the clock
_BYTES = 64 << 20


def carried_bytes(info: VideoInfo, indices: Collection[int]) -> int | None:
    """Return the bytes of some streams over the whole source; None: cannot be told.

    Extrapolated by time from what is looked at, unless that is everything.
    """
    if not indices:
        return 0
    sizes = 0
    sooner: Fraction | None = None
    later: Fraction | None = None
    deadline, left = perf_counter() + _SECONDS, _BYTES
    with open_info(info, timeout=_SECONDS) as container:
        try:
            for packet in container.demux():
                left -= packet.size
                sizes += packet.size if packet.stream.index in indices else 0
                if packet.dts is not None and packet.time_base and packet.size:
                    time = packet.dts * packet.time_base
                    sooner = time if sooner is None else min(sooner, time)
                    later = time if later is None else max(later, time)
                if left < 0 or perf_counter() > deadline:
                    break
            else:
                return sizes
        except (av.FFmpegError, OSError):  # damage is the reader's to report
            pass
    if info.duration is None or sooner is None or later is None or later <= sooner:
        return None
    return round(sizes * info.duration / float(later - sooner))
