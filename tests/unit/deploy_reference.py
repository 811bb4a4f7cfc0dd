"""Deployed graphs in plain float64 numpy and torch, written apart from the product, to compare with."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from vidsr.frame import ChromaLocation, ColorRange, Matrix, PixelFormat, Planes
from vidsr.models import FrameFormat
from vidsr.networks.ecbsr import PlainECBSR

Array = NDArray[np.float64]
KR_KB = {Matrix.BT601: (0.299, 0.114), Matrix.BT709: (0.2126, 0.0722)}


def _keys(d: Array) -> Array:
    d = np.abs(d)
    near = 1.5 * d**3 - 2.5 * d**2 + 1
    far = -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def _sampler(positions: Array, length: int, stretch: float = 1.0) -> Array:
    """Return [len(positions), length]: the matrix that reads a row at positions, edges repeated."""
    reach = int(2 * stretch) + 2
    matrix = np.zeros((len(positions), length))
    for row, position in zip(matrix, positions, strict=True):
        taps = np.arange(np.floor(position) - reach, np.floor(position) + reach + 1)
        weights = _keys((position - taps) / stretch)
        np.add.at(row, np.clip(taps, 0, length - 1).astype(int), weights / weights.sum())
    return matrix


def _resample(plane: Array, size: tuple[int, int], rows: Array, columns: Array, stretch=(1.0, 1.0)) -> Array:
    down = _sampler(rows[: size[0]], plane.shape[0], stretch[0])
    across = _sampler(columns[: size[1]], plane.shape[1], stretch[1])
    return down @ plane @ across.T


def _offset(location: ChromaLocation, shifts: tuple[int, int]) -> tuple[float, float]:
    """Where chroma sample 0 lies, (rows, columns), in luma samples from the corner of the picture."""
    x = 0.5 if "left" in location.value else 2 ** shifts[0] / 2
    y = {"t": 0.5, "b": 2 ** shifts[1] - 0.5}.get(location.value[0], 2 ** shifts[1] / 2)
    return (y if shifts[1] else 0.5), (x if shifts[0] else 0.5)


def _enlarge(plane: Array, scale: int, size: tuple[int, int], offset=(0.5, 0.5)) -> Array:
    """Sample k of the target lies at ``(k + offset) / scale - offset``, offset in the plane's samples."""
    rows, columns = ((np.arange(n) + o) / scale - o for n, o in zip(size, offset, strict=True))
    return _resample(plane, size, rows, columns)


def _run(network: PlainECBSR, channels: Sequence[Array]) -> list[Array]:
    with torch.no_grad():
        out = network.double()(torch.from_numpy(np.stack(channels)[None]))
    network.float()
    return list(out[0].numpy())


def _codes(value: Array, pixels: PixelFormat) -> Array:
    return np.rint(np.clip(value, 0, pixels.peak))


def _to_rgb(ycc: Sequence[Array], matrix: Matrix) -> list[Array]:
    """H.273 equations, solved for R, G, B."""
    kr, kb = KR_KB[matrix]
    y, cb, cr = ycc
    red, blue = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
    return [red, (y - kr * red - kb * blue) / (1 - kr - kb), blue]


def _to_ycc(rgb: Sequence[Array], matrix: Matrix) -> list[Array]:
    kr, kb = KR_KB[matrix]
    red, green, blue = rgb
    y = kr * red + (1 - kr - kb) * green + kb * blue
    return [y, (blue - y) / (2 - 2 * kb), (red - y) / (2 - 2 * kr)]


def _spans(form: FrameFormat) -> tuple[float, float, float, float]:
    """Return luma span and zero, chroma span and zero, in codes."""
    unit, peak = 2 ** (form.pixel_format.bit_depth - 8), form.pixel_format.peak
    if form.range is ColorRange.FULL:
        return peak, 0, peak, 128 * unit
    return 219 * unit, 16 * unit, 224 * unit, 128 * unit


def expected_planes(form: FrameFormat, network: PlainECBSR, scale: int, src: Planes) -> list[Array]:
    pixels = form.pixel_format
    planes = [p.astype(np.float64) for p in src]
    height, width = planes[0].shape
    shapes = pixels.plane_shapes(width * scale, height * scale)
    shifts = (pixels.chroma_shift_x, pixels.chroma_shift_y)
    luma_offset = _offset(form.chroma_location, shifts)
    factors = (2 ** shifts[1], 2 ** shifts[0])
    offset = (luma_offset[0] / factors[0], luma_offset[1] / factors[1])
    done: list[Array] = []
    span, zero, chroma_span, chroma_zero = _spans(form)
    if network.channels == 1 and pixels.family != "gbr":
        done.append(_run(network, [planes[0] / pixels.peak])[0] * pixels.peak)
        colour = planes[1:3] if pixels.family == "yuv" else []
        done += [_enlarge(p, scale, s, offset) for p, s in zip(colour, shapes[1:], strict=False)]
    elif network.channels == 1:
        rgb = [(planes[i] - zero) / span for i in (2, 0, 1)]
        y, cb, cr = _to_ycc(rgb, form.working_matrix)
        y = (_run(network, [(219 * y + 16) / 255])[0] * 255 - 16) / 219
        rgb = _to_rgb([y, *(_enlarge(c, scale, shapes[0]) for c in (cb, cr))], form.working_matrix)
        done += [rgb[i] * span + zero for i in (1, 2, 0)]
    elif pixels.family == "gbr":
        rgb = _run(network, [(planes[i] - zero) / span for i in (2, 0, 1)])
        done += [rgb[i] * span + zero for i in (1, 2, 0)]
    elif pixels.family == "gray":
        rgb = _run(network, [(planes[0] - zero) / span] * 3)
        done.append(_to_ycc(rgb, Matrix.BT709)[0] * span + zero)
    else:
        fine = []
        for plane in planes[1:3]:
            rows, columns = (
                (np.arange(n) + 0.5) / f - o for n, f, o in zip((height, width), factors, offset, strict=True)
            )
            fine.append(_resample((plane - chroma_zero) / chroma_span, (height, width), rows, columns))
        rgb = _to_rgb([(planes[0] - zero) / span, *fine], form.working_matrix)
        y, *chroma = _to_ycc(_run(network, rgb), form.working_matrix)
        done.append(y * span + zero)
        for plane, size in zip(chroma, shapes[1:3], strict=True):
            rows, columns = (
                (np.arange(n) * f + o - 0.5) for n, f, o in zip(size, factors, luma_offset, strict=True)
            )
            done.append(_resample(plane, size, rows, columns, factors) * chroma_span + chroma_zero)
    if pixels.alpha:
        done.append(_enlarge(planes[-1], scale, shapes[-1]))
    return [_codes(p, pixels) for p in done]


# ---- tests -----------------------------------------------------------------------------------------
