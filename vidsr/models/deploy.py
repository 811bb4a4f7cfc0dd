"""`deploy`: from an interchange graph to one that takes and gives integer planes.

The deployed graph is ONNX with static shapes: one input p0, p1, ... and one output q0, q1, ... a plane,
[1, 1, rows, columns], uint8 or uint16. Every backend runs it, and its digest names compiled engines.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from math import ceil, lcm
from typing import TYPE_CHECKING, Literal

from vidsr.color import chroma_offsets, upsampling_phases
from vidsr.errors import OptionsError
from vidsr.frame import ChromaLocation, ColorRange, Matrix, PixelFormat
from vidsr.models.resample import reduction_taps, upsampling_reach
from vidsr.models.rows import RowWork, row_work

if TYPE_CHECKING:
    from vidsr.models.lookup import Model, Stored

__all__ = ["Deployed", "FrameFormat", "deploy"]

MAX_SIDE = 1 << 16


@dataclass(frozen=True, slots=True)
class FrameFormat:
    """What the planes are and how those that the network does not make are enlarged."""

    pixel_format: PixelFormat
    matrix: Matrix = Matrix.BT709
    """`Matrix.RGB` stands for "none known": BT.709 is used where one is needed."""
    range: ColorRange = ColorRange.LIMITED
    chroma_location: ChromaLocation = ChromaLocation.LEFT
    chroma: Literal["bicubic", "nearest"] = "bicubic"
    """bicubic: Keys' cubic, exact to the siting; nearest: every sample repeated."""

    @property
    def working_matrix(self) -> Matrix:
        """The matrix with luma: the frame's, or BT.709 where it has none."""
        return Matrix.BT709 if self.matrix is Matrix.RGB else self.matrix


@dataclass(frozen=True, slots=True)
class Deployed:
    """A deployed graph and what the rest of vidsr must know of it."""

    model_bytes: bytes = field(repr=False)
    """Serialised ONNX."""
    digest: str
    """sha256 of `model_bytes`, hexadecimal."""
    format: FrameFormat
    width: int
    """Of the frames (or tiles) that go in, in luma pixels."""
    height: int
    out_width: int
    """Of what comes out."""
    out_height: int
    input_shapes: tuple[tuple[int, int], ...]
    """(rows, columns) of each plane that goes in."""
    output_shapes: tuple[tuple[int, int], ...]
    """(rows, columns) of each plane that comes out."""
    halo: int
    """Luma pixels on each side that an output sample depends on, chroma filters included."""
    align: tuple[int, int]
    """Across and down: tiles begin at multiples of these, in luma pixels."""
    exact: bool
    """Whether tiles that overlap by the halo equal the whole frame."""
    rows: RowWork | str
    """The same work for the compiled kernels, or why they cannot do it."""
    stored: Stored = "f32"
    """Which of the model's files it was made of."""
    source: Model | None = field(default=None, repr=False, compare=False)
    """The model itself."""

    @property
    def model(self) -> str:
        """The model's id, for people and for what is kept of its engines."""
        return "" if self.source is None else self.source.spec.id

    @property
    def model_sha256(self) -> str:
        """Of the model's file, by its card."""
        return "" if self.source is None else self.source.sha256


def deploy(
    model: Model,
    frame_format: FrameFormat,
    width: int,
    height: int,
    target: tuple[int, int] | None = None,
    *,
    corners: bool = False,
) -> Deployed:
    """Return the graph that upscales width x height frames of a format with a model.

    Luma networks get luma codes divided by the largest code; GBR is converted and brought to studio
    range, in which they were trained. RGB networks get 0..1 by matrix and range. Where the network's
    scale is not the target's, what it makes is resampled before it is rounded, and what it does not make
    goes from the source's samples to the target's at once.

    Args:
        model: The network; ``model.at("int8")`` for its int8 file.
        frame_format: Of the frames.
        width: In luma pixels.
        height: In luma pixels.
        target: Width and height of the result; None: those that the model's scale gives.
        corners: For a network with ``input = "target"``: adaptive cropping into four overlapping
            patches, instead of padding to the network's multiple.

    Raises:
        OptionsError: A size is not one of a picture.
        ModelError: The model's file cannot be used.
        WeightsError: It is not the one of its card.
    """
    from vidsr.models.lattice import Lattice
    from vidsr.models.paths import write_planes

    spec, pixels = model.spec, frame_format.pixel_format
    own = (width * spec.scale, height * spec.scale)
    out_width, out_height = own if target is None else target
    if not all(1 <= side <= MAX_SIDE for side in (width, height)):
        raise OptionsError(f"a picture of {width}x{height} cannot be upscaled")
    if not (width <= out_width <= 16 * MAX_SIDE and height <= out_height <= 16 * MAX_SIDE):
        raise OptionsError(f"a picture of {width}x{height} cannot become {out_width}x{out_height}")
    lattice = Lattice.of(spec, frame_format, (height, width), (out_height, out_width))
    data = write_planes(model, lattice, corners=corners)
    if lattice.own_scale is not None:
        halo, side = _context(model, frame_format)
        align = (side, side)
    else:
        halo, align = lattice.halo(spec), lattice.steps(spec)[::-1]
    return Deployed(
        model_bytes=data,
        digest=hashlib.sha256(data).hexdigest(),
        format=frame_format,
        width=width,
        height=height,
        out_width=out_width,
        out_height=out_height,
        input_shapes=pixels.plane_shapes(width, height),
        output_shapes=pixels.plane_shapes(out_width, out_height),
        halo=halo,
        align=align,
        exact=spec.tiling == "exact",
        rows=row_work(model, frame_format, (width, height), (out_width, out_height)),
        stored=model.precision,
        source=model,
    )


def _context(model: Model, frame_format: FrameFormat) -> tuple[int, int]:
    """Return halo and alignment in luma pixels at the network's own scale."""
    spec, pixels = model.spec, frame_format.pixel_format
    shifts = (pixels.chroma_shift_x, pixels.chroma_shift_y)
    align = lcm(1 << max(shifts), spec.multiple)
    if frame_format.chroma == "nearest":
        # Blocks of repeated samples; a chroma block never leaves its own aligned luma block.
        return spec.halo + (max(align - 1, 0) if spec.channels == 3 and pixels.subsampled else 0), align
    side = (
        upsampling_reach(upsampling_phases(spec.scale, 0.5)) if pixels.alpha or pixels.family == "gbr" else 0
    )
    if pixels.family != "yuv":
        return max(spec.halo, side), align
    offsets = chroma_offsets(frame_format.chroma_location, *shifts)
    for shift, offset in zip(shifts, offsets, strict=True):
        factor = 1 << shift
        if spec.channels == 1:
            reach = upsampling_reach(upsampling_phases(spec.scale, offset)) * factor
        elif factor == 1:
            reach = spec.halo
        else:
            up = upsampling_reach([(p + 0.5) / factor - offset for p in range(factor)]) * factor
            down = max(abs(k) for k in reduction_taps(factor, offset, box=False))
            reach = spec.halo + up + factor - 1 + ceil(down / spec.scale)
        side = max(side, reach + (factor - 1 if spec.channels == 1 else 0))
    return max(spec.halo, side), align
