"""How much memory a worker needs for a job, about, and how much this machine has for all of them."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from vidsr.planning import Plan
from vidsr.stages import RESULT_BYTES, SOURCE_BYTES
from vidsr.upscaler import AUTO_TILE, WHOLE_FRAME_PIXELS

__all__ = ["memory_of", "room_here"]

_BASE = 320 << 20  # Python, FFmpeg, the runtime and a small network
_DECODED = 24  # frames of the source: what H.264 may refer to, one in each thread, and the queue
_WAITING = 12  # frames of the result: the queue, and those in the network's hands
# Bytes of activations in f32 for a pixel that the network works on at once, of ECBSR and of the others.
_ACTIVATIONS = 320
_ACTIVATIONS_OTHERS = 800
# Frames that an encoder holds: x264 looks ahead by these (its presets' rc-lookahead) and a few more; others
# are counted like it. Each comes with what is computed of it.
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
_ENCODED_FACTOR_X265 = 2.1
_INTRA = ("prores", "ffv1", "mjpeg", "dnxhd")
_SHARE = 0.8  # of all memory, so that the system keeps a cache of files


def memory_of(plan: Plan) -> int:
    """Return the bytes that a worker needs for a plan: an estimate from above, see docs/performance.md."""
    pixels = plan.info.pixel_format
    source = pixels.frame_bytes(plan.info.width, plan.info.height)
    result = pixels.frame_bytes(*plan.target.size)
    area = plan.info.width * plan.info.height
    each = _ACTIVATIONS if plan.choice.model.spec.network == "ecbsr" else _ACTIVATIONS_OTHERS
    network = each * (area if area <= WHOLE_FRAME_PIXELS else AUTO_TILE**2)
    encoder = 0.0
    if plan.settings is not None:
        codec = plan.settings.codec
        preset = plan.settings.options.get("preset", "")
        held = 2 if codec.startswith(_INTRA) else _AHEAD.get(preset, _AHEAD_OTHERS)
        factor = _ENCODED_FACTOR_X265 if codec == "libx265" else _ENCODED_FACTOR
        encoder = held * factor * plan.settings.planes.frame_bytes(*plan.target.size)
    queues = min(_DECODED * source, SOURCE_BYTES + 8 * source) + min(
        _WAITING * result, RESULT_BYTES + 2 * result
    )
    kept = source + result  # the last frame, which the next may repeat
    return int(_BASE + queues + kept + network + encoder)


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
