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


def _lanczos(d: Array) -> Array:
    """sinc(d) sinc(d / 3), by the sines themselves."""
    x = np.pi * np.where(d == 0, 1.0, d)
    inside = 3 * np.sin(x) * np.sin(x / 3) / x**2
    return np.where(d == 0, 1.0, np.where(np.abs(d) < 3, inside, 0.0))


def _sampler(positions: Array, length: int, stretch: float = 1.0, kernel=_keys) -> Array:
    """Return [len(positions), length]: the matrix that reads a row at positions, edges repeated."""
    reach = int(3 * stretch) + 2
    matrix = np.zeros((len(positions), length))
    for row, position in zip(matrix, positions, strict=True):
        taps = np.arange(np.floor(position) - reach, np.floor(position) + reach + 1)
        weights = kernel((position - taps) / stretch)
        np.add.at(row, np.clip(taps, 0, length - 1).astype(int), weights / weights.sum())
    return matrix


def _resample(
    plane: Array, size: tuple[int, int], rows: Array, columns: Array, stretch=(1.0, 1.0), kernel=_keys
) -> Array:
    down = _sampler(rows[: size[0]], plane.shape[0], stretch[0], kernel)
    across = _sampler(columns[: size[1]], plane.shape[1], stretch[1], kernel)
    return down @ plane @ across.T


def _settled(plane: Array, size: tuple[int, int]) -> Array:
    """What a network made, at the target's size: Lanczos, stretched where it comes down."""
    if plane.shape == size:
        return plane
    steps = [made / wanted for made, wanted in zip(plane.shape, size, strict=True)]
    rows, columns = ((np.arange(n) + 0.5) * step - 0.5 for n, step in zip(size, steps, strict=True))
    return _resample(plane, size, rows, columns, [max(1.0, step) for step in steps], _lanczos)


def _offset(location: ChromaLocation, shifts: tuple[int, int]) -> tuple[float, float]:
    """Where chroma sample 0 lies, (rows, columns), in luma samples from the corner of the picture."""
    x = 0.5 if "left" in location.value else 2 ** shifts[0] / 2
    y = {"t": 0.5, "b": 2 ** shifts[1] - 0.5}.get(location.value[0], 2 ** shifts[1] / 2)
    return (y if shifts[1] else 0.5), (x if shifts[0] else 0.5)


def _enlarge(plane: Array, ratio: tuple[float, float], size: tuple[int, int], offset=(0.5, 0.5)) -> Array:
    """Sample k of the target lies at ``(k + offset) / ratio - offset``, offset in the plane's samples."""
    rows, columns = ((np.arange(n) + o) / r - o for n, r, o in zip(size, ratio, offset, strict=True))
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


def expected_planes(
    form: FrameFormat, network: PlainECBSR, scale: int, src: Planes, target: tuple[int, int] | None = None
) -> list[Array]:
    """Planes at `target`, width and height; None: at the network's scale."""
    pixels = form.pixel_format
    planes = [p.astype(np.float64) for p in src]
    height, width = planes[0].shape
    full_width, full_height = target or (width * scale, height * scale)
    shapes = pixels.plane_shapes(full_width, full_height)
    ratio = (full_height / height, full_width / width)
    shifts = (pixels.chroma_shift_x, pixels.chroma_shift_y)
    luma_offset = _offset(form.chroma_location, shifts)
    factors = (2 ** shifts[1], 2 ** shifts[0])
    offset = (luma_offset[0] / factors[0], luma_offset[1] / factors[1])
    done: list[Array] = []
    span, zero, chroma_span, chroma_zero = _spans(form)
    if network.channels == 1 and pixels.family != "gbr":
        done.append(_settled(_run(network, [planes[0] / pixels.peak])[0] * pixels.peak, shapes[0]))
        colour = planes[1:3] if pixels.family == "yuv" else []
        done += [_enlarge(p, ratio, s, offset) for p, s in zip(colour, shapes[1:], strict=False)]
    elif network.channels == 1:
        rgb = [(planes[i] - zero) / span for i in (2, 0, 1)]
        y, cb, cr = _to_ycc(rgb, form.working_matrix)
        y = (_settled(_run(network, [(219 * y + 16) / 255])[0], shapes[0]) * 255 - 16) / 219
        rgb = _to_rgb([y, *(_enlarge(c, ratio, shapes[0]) for c in (cb, cr))], form.working_matrix)
        done += [rgb[i] * span + zero for i in (1, 2, 0)]
    elif pixels.family == "gbr":
        rgb = _run(network, [(planes[i] - zero) / span for i in (2, 0, 1)])
        done += [_settled(rgb[i], shapes[0]) * span + zero for i in (1, 2, 0)]
    elif pixels.family == "gray":
        rgb = _run(network, [(planes[0] - zero) / span] * 3)
        done.append(_settled(_to_ycc(rgb, Matrix.BT709)[0], shapes[0]) * span + zero)
    else:
        fine = []
        for plane in planes[1:3]:
            rows, columns = (
                (np.arange(n) + 0.5) / f - o for n, f, o in zip((height, width), factors, offset, strict=True)
            )
            fine.append(_resample((plane - chroma_zero) / chroma_span, (height, width), rows, columns))
        rgb = _to_rgb([(planes[0] - zero) / span, *fine], form.working_matrix)
        y, *chroma = _to_ycc(_run(network, rgb), form.working_matrix)
        done.append(_settled(y, shapes[0]) * span + zero)
        for plane, size in zip(chroma, shapes[1:3], strict=True):
            done.append(_thinned(plane, size, ratio, scale, factors, luma_offset) * chroma_span + chroma_zero)
    if pixels.alpha:
        done.append(_enlarge(planes[-1], ratio, shapes[-1]))
    return [_codes(p, pixels) for p in done]


def _thinned(plane: Array, size, ratio, scale: int, factors, luma_offset) -> Array:
    """Chroma at what the network made, brought to the target's chroma one axis after the other."""
    for axis in (0, 1):
        made = scale / ratio[axis]  # samples the network made in a luma sample of the target
        step = made * factors[axis]
        if made == factors[axis] == 1:
            continue
        places = (np.arange(size[axis]) * factors[axis] + luma_offset[axis]) * made - 0.5
        kernel = _keys if factors[axis] > 1 else _lanczos
        matrix = _sampler(places, plane.shape[axis], max(1.0, step), kernel)
        plane = np.moveaxis(np.tensordot(matrix, plane, axes=(1, axis)), 0, axis)
    return plane
