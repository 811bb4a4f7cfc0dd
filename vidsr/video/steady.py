"""What keeps an encoder's bytes from depending on what memory held before.

x264's macroblock tree (mbtree) reads past the end of its rows in the functions for AVX-512 where a row is no
multiple of 8 macroblocks, and with B-frames that reaches the bytes: a job of 516 pixels' width gave other
bytes in one run of some hundreds. Seen with malloc filling memory with other values (MALLOC_PERTURB_): widths
of a multiple of 8 macroblocks (640, 1280, 1920, 3840) are steady, and without AVX-512 all widths are. That
costs 7 % of x264's speed (1904x1072, veryfast and medium, two cores), and only these widths pay.

It is decided where the encoder is opened, not in a plan: processors without AVX-512 give the same bytes.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vidsr.video.encoders import EncoderSettings

__all__ = ["steady_options"]

_MACROBLOCK, _STEADY = 16, 8
_WITHOUT_AVX512 = "asm=0x10F3FF"
"""All that x264 knows up to AVX2, which every processor with AVX-512 has."""


def steady_options(settings: EncoderSettings) -> dict[str, str]:
    """Return an encoder's options, with what makes its bytes the same in every run on this machine."""
    options = dict(settings.options)
    uneven = -(-settings.width // _MACROBLOCK) % _STEADY
    if settings.codec in ("libx264", "libx264rgb") and uneven and _has_avx512():
        # First, so that what was asked for goes before.
        options["x264-params"] = ":".join(filter(None, [_WITHOUT_AVX512, options.get("x264-params", "")]))
    return options


@cache
def _has_avx512() -> bool:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return "avx512bw" in text
