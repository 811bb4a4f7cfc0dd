"""Matrices, ranges and chroma siting as plain numbers. Pure arithmetic, no I/O."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vidsr.frame import ChromaLocation, ColorInfo, ColorRange, Matrix, PixelFormat

__all__ = [
    "LUMA_WEIGHTS",
    "MATRIX_NAMES",
    "PRIMARIES",
    "TRANSFERS",
    "chroma_offsets",
    "code_scale",
    "complete_color",
    "layout_name",
    "rgb_to_ycc",
    "tag_name",
    "upsampling_phases",
]

LUMA_WEIGHTS: dict[Matrix, tuple[float, float]] = {
    Matrix.BT601: (0.299, 0.114),
    Matrix.BT709: (0.2126, 0.0722),
    Matrix.BT2020: (0.2627, 0.0593),
    Matrix.FCC: (0.30, 0.11),
    Matrix.SMPTE240M: (0.212, 0.087),
}
"""Kr and Kb of each matrix: ITU-R BT.601, BT.709, BT.2020; H.273 for the others."""


def rgb_to_ycc(matrix: Matrix) -> NDArray[np.float64]:
    """Return the 3x3 matrix from R, G, B (0..1) to Y (0..1), Cb, Cr (-0.5..0.5), rows in that order.

    Y = Kr R + Kg G + Kb B; Cb = (B - Y) / (2 (1 - Kb)); Cr = (R - Y) / (2 (1 - Kr)) (ITU-R BT.709,
    BT.2020). YCgCo (H.273): Y, Cg, Co.

    Raises:
        ValueError: `matrix` is RGB, which has no luma.
    """
    if matrix is Matrix.RGB:
        raise ValueError("RGB has no luma and chroma")
    if matrix is Matrix.YCGCO:
        return np.array([[0.25, 0.5, 0.25], [-0.25, 0.5, -0.25], [0.5, 0.0, -0.5]])
    red, blue = LUMA_WEIGHTS[matrix]
    luma = np.array([red, 1 - red - blue, blue])
    cb = (np.array([0.0, 0.0, 1.0]) - luma) / (2 * (1 - blue))
    cr = (np.array([1.0, 0.0, 0.0]) - luma) / (2 * (1 - red))
    return np.stack([luma, cb, cr])


def code_scale(depth: int, color_range: ColorRange, *, chroma: bool) -> tuple[float, float]:
    """Return (span, zero): code = span * value + zero, value 0..1 for luma, -0.5..0.5 for chroma.

    Limited range: 219 and 224 steps from 16 and around 128, times 2^(depth - 8); full range: the
    whole 2^depth - 1, chroma around 2^(depth - 1) (ITU-R BT.2100, table 9).
    """
    unit = float(1 << (depth - 8))
    if color_range is ColorRange.LIMITED:
        return (224 * unit, 128 * unit) if chroma else (219 * unit, 16 * unit)
    peak = float((1 << depth) - 1)
    return (peak, 128 * unit) if chroma else (peak, 0.0)


def chroma_offsets(location: ChromaLocation, shift_x: int, shift_y: int) -> tuple[float, float]:
    """Return where the first chroma sample lies: (x, y) from the picture's corner, in chroma samples.

    0.5 is the middle of the luma samples it stands for, which is the only place without
    subsampling; a co-sited sample lies half a *luma* sample from the corner.
    """

    def along(shift: int, *, first: bool, last: bool) -> float:
        half_luma = 0.5 / (1 << shift)
        return half_luma if first else 1 - half_luma if last else 0.5

    name = location.value
    return (
        along(shift_x, first="left" in name, last=False),
        along(shift_y, first=name.startswith("top"), last=name.startswith("bottom")),
    )


def upsampling_phases(scale: int, offset: float) -> list[float]:
    """Return, for each of `scale` output phases, its distance from the source sample it grows from.

    Output sample k = scale * q + p of a plane whose first sample lies at `offset` (see
    `chroma_offsets`) in source and target alike is at source index (k + offset) / scale - offset,
    which is q plus the p-th number returned.
    """
    return [(phase + offset) / scale - offset for phase in range(scale)]


PRIMARIES = {
    1: "bt709",
    4: "bt470m",
    5: "bt470bg",
    6: "smpte170m",
    7: "smpte240m",
    8: "film",
    9: "bt2020",
    10: "smpte428",
    11: "smpte431 (DCI-P3)",
    12: "smpte432 (Display P3)",
    22: "ebu3213",
}
"""Names of H.273 ColourPrimaries, as FFmpeg calls them; 2 means untagged."""

TRANSFERS = {
    1: "bt709",
    4: "gamma 2.2",
    5: "gamma 2.8",
    6: "smpte170m",
    7: "smpte240m",
    8: "linear",
    9: "log 100:1",
    10: "log 316:1",
    11: "iec61966-2-4 (xvYCC)",
    12: "bt1361",
    13: "iec61966-2-1 (sRGB)",
    14: "bt2020 10 bit",
    15: "bt2020 12 bit",
    16: "smpte2084 (PQ)",
    17: "smpte428",
    18: "arib-std-b67 (HLG)",
}
"""Names of H.273 TransferCharacteristics; 2 means untagged."""

MATRIX_NAMES = {
    0: "rgb",
    1: "bt709",
    4: "fcc",
    5: "bt470bg (bt601)",
    6: "smpte170m (bt601)",
    7: "smpte240m",
    8: "ycgco",
    9: "bt2020nc",
    10: "bt2020c",
}
"""Names of H.273 MatrixCoefficients; 2 means untagged."""


def tag_name(names: dict[int, str], code: int) -> str:
    """Return an H.273 code's name, "untagged", or the code where it has none here."""
    return "untagged" if code == 2 else names.get(code, f"code {code}")


_LAYOUTS = {
    (1, 1): "4:2:0",
    (1, 0): "4:2:2",
    (0, 0): "4:4:4",
    (0, 1): "4:4:0",
    (2, 0): "4:1:1",
    (2, 2): "4:1:0",
}


def layout_name(pixels: PixelFormat) -> str:
    """Return how a layout is spoken of: "YUV 4:2:0", "RGB with alpha", "gray"."""
    kind = {"gray": "gray", "gbr": "RGB"}.get(pixels.family, f"YUV {_LAYOUTS[pixels.chroma_shifts]}")
    return f"{kind} with alpha" if pixels.alpha else kind


def complete_color(
    pixels: PixelFormat,
    size: tuple[int, int],
    *,
    matrix: Matrix | None = None,
    color_range: ColorRange | None = None,
    chroma_location: ChromaLocation | None = None,
    primaries: int = 2,
    transfer: int = 2,
    matrix_code: int = 2,
    colorful: bool | None = None,
) -> ColorInfo:
    """Return colour as it is told, and guessed as players do where it is not.

    Guesses: BT.2020 with BT.2020 primaries; else BT.709 from 1280 columns or more than 576 rows, BT.601
    below; limited range for YUV, full for RGB and gray (as FFmpeg does); chroma at the top left for BT.2020,
    else left.

    Args:
        pixels: The frames' layout.
        size: Their width and height.
        matrix: As it is told, of the others too; None: it is not.
        color_range: The same.
        chroma_location: The same.
        primaries: The code.
        transfer: The code.
        matrix_code: The code.
        colorful: Whether what they were before counts as YUV where the range is guessed; None: by `pixels`.
    """
    guessed = set()
    if pixels.family == "gbr":
        matrix = Matrix.RGB
    elif matrix is None or matrix is Matrix.RGB:
        guessed.add("matrix")
        matrix = Matrix.BT709 if size[0] >= 1280 or size[1] > 576 else Matrix.BT601
        matrix = Matrix.BT2020 if primaries == 9 else matrix
    if color_range is None:
        guessed.add("range")
        limited = pixels.family == "yuv" if colorful is None else colorful
        color_range = ColorRange.LIMITED if limited else ColorRange.FULL
    if chroma_location is None:
        chroma_location = ChromaLocation.TOPLEFT if matrix is Matrix.BT2020 else ChromaLocation.LEFT
        guessed |= {"chroma_location"} if pixels.subsampled else set()
    return ColorInfo(
        matrix=matrix,
        range=color_range,
        primaries=primaries,
        transfer=transfer,
        matrix_code=matrix_code,
        chroma_location=chroma_location,
        guessed=frozenset(guessed),
    )
