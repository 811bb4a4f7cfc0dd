"""How much memory a worker needs for a job, about, and how much this machine has for all of them."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from vidsr.planning import Plan

__all__ = ["memory_of", "room_here"]

_BASE = 320 << 20  # Python, FFmpeg, the runtime and a small network, measured
_DECODED = 24  # frames of the source: what H.264 may refer to, one in each thread, and the queue
_WAITING = 12  # frames of the result: the queue, and those in the network's hands
# Bytes of activations a pixel that the network works on at once; measured with ECBSR and RFDN in f32.
_ACTIVATIONS = 320
_TILE = 1024 * 1024
_WHOLE = 2560 * 1600  # above this frames are cut, see `vidsr.upscaler`
# Frames that an encoder holds to look ahead, by preset (x264's and x265's own tables), each with what it
# computes of it.
_AHEAD = {
    "ultrafast": 4,
    "superfast": 4,
    "veryfast": 14,
    "faster": 24,
    "fast": 34,
    "medium": 44,
    "slow": 54,
    "slower": 64,
    "veryslow": 64,
    "placebo": 64,
}
_AHEAD_OTHERS = 50
_ENCODED_FACTOR = 1.7
_INTRA = ("prores", "ffv1", "mjpeg", "dnxhd")
_SHARE = 0.8  # of all memory, so that the system keeps a cache of files


def memory_of(plan: Plan) -> int:
    """Return the bytes that a worker needs for a plan, about; rather too many."""
    pixels = plan.info.pixel_format
    source = pixels.frame_bytes(plan.info.width, plan.info.height)
    result = pixels.frame_bytes(*plan.target.size)
    area = plan.info.width * plan.info.height
    network = _ACTIVATIONS * (area if area <= _WHOLE else _TILE)
    encoder = 0.0
    if plan.settings is not None:
        codec = plan.settings.codec
        preset = plan.settings.options.get("preset", "")
        held = 2 if codec.startswith(_INTRA) else _AHEAD.get(preset, _AHEAD_OTHERS)
        encoder = held * _ENCODED_FACTOR * plan.settings.planes.frame_bytes(*plan.target.size)
    queues = min(_DECODED * source, (96 << 20) + 8 * source) + min(
        _WAITING * result, (192 << 20) + 2 * result
    )
    return int(_BASE + queues + network + encoder)


def room_here() -> int | None:
    """Return the bytes that all workers of this machine may need together; None: it does not tell.

    The least of its memory and of the limits of the control groups this process is in.
    """
    limits = [int(number) for path in _limits() if (number := _number(path)).isdecimal()]
    with suppress(AttributeError, OSError, ValueError):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return int(min(limits) * _SHARE) if limits else None


def _limits() -> list[Path]:
    """Return the files that may hold a limit: cgroup v2's of this group and those above, and v1's."""
    root = Path("/sys/fs/cgroup")
    found = [root / "memory.max", root / "memory" / "memory.limit_in_bytes"]
    for line in _number(Path("/proc/self/cgroup")).splitlines():
        number, _, group = line.split(":", 2)
        if number == "0":
            own = root / group.strip("/")
            found += [folder / "memory.max" for folder in (own, *own.parents) if folder.is_relative_to(root)]
    return list(dict.fromkeys(found))


def _number(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
