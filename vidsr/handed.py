"""What users of the Python API hand over as a frame, into planes; and results into the same kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from vidsr.color import complete_color
from vidsr.errors import OptionsError
from vidsr.frame import ColorInfo, Frame, PixelFormat, Planes

if TYPE_CHECKING:
    from vidsr.video.given import Sitings

__all__ = ["Handed", "Hands"]

_KINDS = (
    "give a gray array [H, W], an RGB array [H, W, 3], a tuple of planes with pixel_format=, a vidsr.Frame"
    " or a PyAV VideoFrame"
)
_RGB = (1, 2, 0)  # where the planes G, B, R are in a pixel


@dataclass(frozen=True, slots=True)
class Handed:
    """A frame as planes."""

    planes: Planes
    pixel_format: PixelFormat
    color: ColorInfo
    result: Callable[[tuple[int, int]], tuple[Planes, Callable[[], Any]]]
    """For a width and height: planes for the result, and what makes them, filled, the kind that was given."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        rows, columns = self.planes[0].shape
        return columns, rows


class Hands:
    """Takes frames; it remembers of PyAV's where their chroma lies."""

    def __init__(self) -> None:
        self._sitings: Sitings | None = None

    def take(self, frame: Any, pixel_format: str | None, color: ColorInfo | None) -> Handed:
        """Return any frame as planes.

        Args:
            frame: As `vidsr.Upscaler.upscale` takes it.
            pixel_format: Of arrays and planes; None: gray or RGB by the array's shape.
            color: Of arrays and planes; None: guessed as players do.

        Raises:
            OptionsError: It is nothing that can be taken.
            UnsupportedFormatError: A PyAV frame that is not in memory or has a palette.
        """
        if isinstance(frame, np.ndarray):
            if frame.ndim == 3 and frame.shape[2] == 3:
                return _rgb(frame, pixel_format, color)
            name = pixel_format or ("gray" if frame.dtype == np.uint8 else "gray16le")
            return _planes((frame,), name, color, lambda planes: planes[0])
        if isinstance(frame, tuple | list):
            if pixel_format is None:
                raise OptionsError(
                    "planes need to be told what they are", hint="say pixel_format='yuv420p', or as it is"
                )
            return _planes(frame, pixel_format, color, list if isinstance(frame, list) else tuple)
        if pixel_format is not None or color is not None:
            raise OptionsError(
                "pixel_format and color are for arrays and planes",
                hint="leave them out: this frame has its own",
            )
        if isinstance(frame, Frame):
            _check(frame.planes, frame.pixel_format)
            return _of_frame(frame)
        if type(frame).__module__.partition(".")[0] == "av":
            return self._of_av(frame)
        raise OptionsError(f"a frame cannot be of type {type(frame).__name__}", hint=_KINDS)

    def _of_av(self, frame: Any) -> Handed:
        from vidsr.video.given import GivenFrame, Sitings, is_frame

        if not is_frame(frame):
            raise OptionsError(f"PyAV's {type(frame).__name__} is no picture", hint="give its VideoFrames")
        if self._sitings is None:
            self._sitings = Sitings()
        given = GivenFrame(frame, self._sitings)

        def result(size: tuple[int, int]) -> tuple[Planes, Callable[[], Any]]:
            made, planes = given.result(size)
            return planes, lambda: given.finished(made)

        return Handed(given.planes, given.pixel_format, given.color, result)


def _layout(name: str) -> PixelFormat:
    try:
        return PixelFormat.parse(name)
    except ValueError as error:
        hint = "name one such as gray, yuv420p, yuv422p10le, yuv444p, gbrp, gbrp16le"
        raise OptionsError(str(error), hint=hint) from None


def _check_array(plane: Any) -> None:
    if not isinstance(plane, np.ndarray):
        raise OptionsError(f"a plane cannot be of type {type(plane).__name__}", hint=_KINDS)
    if plane.dtype not in (np.uint8, np.uint16) or not plane.dtype.isnative:
        raise OptionsError(
            f"samples of type {plane.dtype.name} are no code values",
            hint="give uint8 (0..255) or uint16 in this machine's byte order",
        )
    if plane.ndim != 2 or 0 in plane.shape:
        raise OptionsError(f"an array of shape {plane.shape} is no plane of a picture", hint=_KINDS)


def _check(planes: Sequence[Any], layout: PixelFormat) -> Planes:
    """Return planes with the samples of each row side by side.

    Raises:
        OptionsError: Count, shapes, types or values are not the format's.
    """
    for plane in planes:
        _check_array(plane)
    if len(planes) != layout.plane_count:
        raise OptionsError(f"{layout.name} has {layout.plane_count} planes, not {len(planes)}")
    rows, columns = planes[0].shape
    try:
        layout.check(planes, columns, rows)
    except ValueError as error:
        raise OptionsError(str(error), hint="width and height are those of the first plane") from None
    if layout.bit_depth not in (8, 16) and max(int(plane.max()) for plane in planes) > layout.peak:
        raise OptionsError(
            f"{layout.name} has codes up to {layout.peak}, and here are larger ones",
            hint="name the format of their depth, or shift them",
        )
    return tuple(p if p.strides[1] == p.itemsize else np.ascontiguousarray(p) for p in planes)


def _planes(
    given: Sequence[Any],
    pixel_format: str,
    color: ColorInfo | None,
    back: Callable[[Planes], Any],
) -> Handed:
    layout = _layout(pixel_format)
    planes = _check(given, layout)
    rows, columns = planes[0].shape

    def result(size: tuple[int, int]) -> tuple[Planes, Callable[[], Any]]:
        made = layout.allocate(*size)
        return made, lambda: back(made)

    return Handed(planes, layout, color or complete_color(layout, (columns, rows)), result)


def _rgb(pixels: Any, pixel_format: str | None, color: ColorInfo | None) -> Handed:
    name = pixel_format or ("gbrp" if pixels.dtype == np.uint8 else "gbrp16le")
    if _layout(name).family != "gbr" or _layout(name).alpha:
        raise OptionsError(
            f"an array [H, W, 3] is RGB, not {name}",
            hint="leave pixel_format out, or name gbrp, gbrp10le, gbrp12le, gbrp16le for its depth",
        )
    planes = tuple(np.ascontiguousarray(pixels[..., channel]) for channel in _RGB)
    return _planes(planes, name, color, lambda made: np.stack([made[2], made[0], made[1]], axis=-1))


def _of_frame(frame: Frame) -> Handed:
    def result(size: tuple[int, int]) -> tuple[Planes, Callable[[], Any]]:
        made = frame.pixel_format.allocate(*size)
        return made, lambda: replace(frame, planes=made)

    return Handed(frame.planes, frame.pixel_format, frame.color, result)
