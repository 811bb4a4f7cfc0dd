"""The ways that planes take through a deployed graph, by the kind of network and of frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vidsr.color import code_scale, rgb_to_ycc, upsampling_phases
from vidsr.frame import Matrix
from vidsr.models.at_target import run_at_target
from vidsr.models.graph import GraphWriter, Picture
from vidsr.models.lattice import Lattice, Size
from vidsr.models.network import LumaCodes, interchange_opset, run_network
from vidsr.models.resample import reduce_plane, reduction_taps, upsample_codes, upsample_plane
from vidsr.models.resize import nearest_indices, repeat_to, resize_codes, resize_plane

if TYPE_CHECKING:
    from vidsr.models.lookup import Model

__all__ = ["write_planes"]

_Planes = list[Picture]


def write_planes(model: Model, lattice: Lattice, *, corners: bool) -> bytes:
    """Return the deployed graph of `model`, serialised; see `vidsr.models.deploy.deploy`."""
    return _Paths(model, lattice, corners=corners).write()


class _Paths:
    def __init__(self, model: Model, lattice: Lattice, *, corners: bool) -> None:
        self.model = model
        self.lattice = lattice
        self.corners = corners
        self.format = lattice.form
        self.pixels = self.format.pixel_format
        self.peak = self.pixels.peak
        self.size = lattice.source
        self.target = self.pixels.plane_shapes(lattice.target[1], lattice.target[0])
        wary = model.precision == "int8" and self.peak > 255
        self.writer = GraphWriter(interchange_opset(model.proto), wary=wary)

    def write(self) -> bytes:
        shapes = self.pixels.plane_shapes(self.size[1], self.size[0])
        planes = [self.writer.input(f"p{i}", *s, self.peak) for i, s in enumerate(shapes)]
        colour = planes[:-1] if self.pixels.alpha else planes
        ways: dict[tuple[int, str], Callable[[_Planes], _Planes]] = {
            (1, "gray"): self._luma_codes,
            (1, "yuv"): self._luma_codes,
            (1, "gbr"): self._luma_of_gbr,
            (3, "gray"): self._rgb_of_gray,
            (3, "yuv"): self._rgb_of_yuv,
            (3, "gbr"): self._rgb_of_gbr,
        }
        done = ways[self.model.spec.channels, self.pixels.family](colour)
        if self.pixels.alpha:
            done.append(self._enlarge_codes(planes[-1], self.target[-1], (0.5, 0.5)))
        for i, (plane, shape) in enumerate(zip(done, self.target, strict=True)):
            self.writer.output(f"q{i}", self.writer.crop(plane, *shape), self.peak)
        return self.writer.finish()

    # ---- luma networks -----------------------------------------------------------------------------

    def _luma_codes(self, planes: _Planes) -> _Planes:
        """Luma through the network as codes / peak; chroma through the filter."""
        writer, codes = self.writer, LumaCodes(planes[0], self.peak)
        (y,) = self._run([codes.values(writer)], codes)
        luma = writer.to_codes(writer.affine(self._settle(y), self.peak), self.peak)
        chroma = zip(planes[1:], self.target[1:], strict=False)
        return [luma, *(self._enlarge_codes(plane, shape, self.lattice.offsets) for plane, shape in chroma)]

    def _luma_of_gbr(self, planes: _Planes) -> _Planes:
        """GBR -> Y, Cb, Cr; Y through the network in studio range, as it was trained; back to GBR."""
        writer = self.writer
        matrix = rgb_to_ycc(self.format.working_matrix)
        y, *chroma = self._mix(self._rgb_of_codes(planes), matrix)
        (y,) = self._run([writer.affine(y, 219 / 255, 16 / 255)])
        y = writer.affine(self._settle(y), 255 / 219, -16 / 219)
        chroma = [self._enlarge(c) for c in chroma]
        return self._gbr_codes(self._mix([y, *chroma], np.linalg.inv(matrix)))

    # ---- RGB networks ------------------------------------------------------------------------------

    def _rgb_of_gbr(self, planes: _Planes) -> _Planes:
        return self._gbr_codes([self._settle(c) for c in self._run(self._rgb_of_codes(planes))])

    def _rgb_of_gray(self, planes: _Planes) -> _Planes:
        """Gray three times over; of what comes out, BT.709 luma."""
        gray = self._values(planes[0], chroma=False)
        rgb = self._run([gray] * 3)
        (luma,) = self._mix(rgb, rgb_to_ycc(Matrix.BT709)[:1])
        return [self._codes(self._settle(luma), chroma=False)]

    def _rgb_of_yuv(self, planes: _Planes) -> _Planes:
        """Chroma to luma's resolution, to RGB, through the network, and all the way back.

        RGB is not clipped on the way: codes outside the RGB cube come back as they were.
        """
        matrix = rgb_to_ycc(self.format.working_matrix)
        y = self._values(planes[0], chroma=False)
        chroma = [self._to_luma_lattice(self._values(p, chroma=True)) for p in planes[1:]]
        rgb = self._run(self._mix([y, *chroma], np.linalg.inv(matrix)))
        y, *chroma = self._mix(rgb, matrix)
        done = [self._codes(self._settle(y), chroma=False)]
        for c, shape in zip(chroma, self.target[1:], strict=False):
            done.append(self._codes(self._to_chroma_lattice(c, shape), chroma=True))
        return done

    def _to_luma_lattice(self, plane: Picture) -> Picture:
        """Chroma [1, 1, h, w], f32, at luma's size: luma sample k lies at chroma ``(k + 0.5) / factor``."""
        down, across = self.lattice.factors
        if (down, across) == (1, 1):
            return plane
        if self.format.chroma == "nearest":
            return self.writer.crop(self.writer.repeat(plane, down, across), *self.size)
        offset_y, offset_x = self.lattice.offsets
        phases_y = [(p + 0.5) / down - offset_y for p in range(down)]
        phases_x = [(p + 0.5) / across - offset_x for p in range(across)]
        return self.writer.crop(upsample_plane(self.writer, plane, phases_y, phases_x), *self.size)

    def _to_chroma_lattice(self, plane: Picture, shape: Size) -> Picture:
        lattice, (down, across) = self.lattice, self.lattice.factors
        if (down, across) == (1, 1):
            return self._settle(plane)
        if lattice.made != lattice.target:
            return resize_plane(self.writer, plane, *lattice.thinned(shape))
        box = self.format.chroma == "nearest"
        offset_y, offset_x = lattice.offsets
        taps_y = reduction_taps(down, offset_y, box=box)
        taps_x = reduction_taps(across, offset_x, box=box)
        return reduce_plane(self.writer, plane, taps_y, taps_x, shape, (down, across))

    # ---- shared ------------------------------------------------------------------------------------

    def _run(self, channels: _Planes, luma: LumaCodes | None = None) -> _Planes:
        if self.model.spec.input == "low":
            return run_network(self.writer, self.model, channels, luma)
        return run_at_target(self.writer, self.model, channels, self.lattice.target, corners=self.corners)

    def _settle(self, plane: Picture) -> Picture:
        """What the network made, f32, at the target's size."""
        return resize_plane(self.writer, plane, *self.lattice.settled())

    def _enlarge_codes(self, codes: Picture, shape: Size, offsets: tuple[float, float]) -> Picture:
        """An integer plane at the target's size, by the filter; its first sample lies at the offsets."""
        scale = self.lattice.own_scale
        if self.format.chroma == "nearest":
            return self._repeated(codes, shape)
        if scale is None:
            axes = self.lattice.direct((codes.height, codes.width), shape, offsets)
            return resize_codes(self.writer, codes, self.peak, *axes)
        phases_y, phases_x = (upsampling_phases(scale, o) for o in offsets)
        return upsample_codes(self.writer, codes, self.peak, phases_y, phases_x)

    def _enlarge(self, plane: Picture) -> Picture:
        """A full-size f32 plane at the target's size, by the filter."""
        scale = self.lattice.own_scale
        if self.format.chroma == "nearest":
            return self._repeated(plane, self.lattice.target)
        if scale is None:
            axes = self.lattice.direct(self.size, self.lattice.target, (0.5, 0.5))
            return resize_plane(self.writer, plane, *axes)
        phases = upsampling_phases(scale, 0.5)
        return upsample_plane(self.writer, plane, phases, phases)

    def _repeated(self, plane: Picture, shape: Size) -> Picture:
        """A plane at the target's size, each sample taken from the nearest."""
        lattice = self.lattice
        if lattice.own_scale is not None:
            return self.writer.repeat(plane, lattice.own_scale, lattice.own_scale)
        rows, columns = (
            nearest_indices(have, wanted, source, target)
            for have, wanted, source, target in zip(
                (plane.height, plane.width), shape, lattice.source, lattice.target, strict=True
            )
        )
        return repeat_to(self.writer, plane, rows, columns)

    def _values(self, codes: Picture, *, chroma: bool) -> Picture:
        span, zero = code_scale(self.pixels.bit_depth, self.format.range, chroma=chroma)
        return self.writer.affine(self.writer.from_codes(codes), 1 / span, -zero / span)

    def _codes(self, values: Picture, *, chroma: bool) -> Picture:
        span, zero = code_scale(self.pixels.bit_depth, self.format.range, chroma=chroma)
        return self.writer.to_codes(self.writer.affine(values, span, zero), self.peak)

    def _rgb_of_codes(self, planes: _Planes) -> _Planes:
        green, blue, red = (self._values(p, chroma=False) for p in planes)
        return [red, green, blue]

    def _gbr_codes(self, rgb: Sequence[Picture]) -> _Planes:
        red, green, blue = (self._codes(c, chroma=False) for c in rgb)
        return [green, blue, red]

    def _mix(self, channels: Sequence[Picture], matrix: NDArray[np.floating[Any]]) -> _Planes:
        """Each row of the matrix times the channels."""
        clean = np.where(np.abs(matrix) < 1e-12, 0.0, matrix)
        return [self.writer.weighted_sum(channels, [float(w) for w in row]) for row in clean]
