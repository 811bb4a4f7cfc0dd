"""Frame to frame: tile, submit, join. The same frames in the command line, batch, preview and plug-ins."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import lcm
from types import TracebackType
from typing import Self, cast

import numpy as np

from vidsr.backends.base import Backend, ResidentSession, Session, SessionOptions, Ticket
from vidsr.errors import DeviceMemoryError, OptionsError
from vidsr.frame import Frame, PixelFormat, Plane, Planes
from vidsr.models.deploy import Deployed, FrameFormat, deploy
from vidsr.models.lookup import Model
from vidsr.resident import DevicePlanes, Source, check_source
from vidsr.tiled import TiledTicket
from vidsr.tiling import Tile, TilePlan, plan_corners, plan_tiles

__all__ = ["AUTO_TILE", "WHOLE_FRAME_PIXELS", "Upscaler", "UpscalerOptions"]

WHOLE_FRAME_PIXELS = 2560 * 1600
"""Above this many pixels "auto" tiles: whole frames would need gigabytes between the layers."""
AUTO_TILE = 1024
"""Side of a tile then."""
_SMALLER_TILES = (1024, 512, 256)
"""Tried in turn where a GPU's memory does not suffice for whole frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpscalerOptions:
    """How frames are upscaled."""

    session: SessionOptions = field(default_factory=SessionOptions)
    tile: str = "auto"
    """See `Job.tile`."""


class Upscaler:
    """Upscales frames of one format and size with one model. Thread-safe; use it in a ``with``.

    Attributes:
        size_out: Width and height of the results.
        output_bytes: Of the planes of a result.
        in_flight: How many frames to keep submitted for full speed.
        layout: Of the frames.
        size: Their width and height.
        plan: How frames are cut.
        cut: The same in words.
        exact_tiles: Whether tiles would give the very samples that its whole frames have.
        notes: Decisions that a report should warn of.
        takes_from: Number of the GPU whose memory it takes frames from without a way by the host's; None: of
            none.
    """

    def __init__(
        self,
        model: Model,
        frame_format: FrameFormat,
        width: int,
        height: int,
        backend: Backend,
        options: UpscalerOptions | None = None,
        *,
        target: tuple[int, int] | None = None,
    ) -> None:
        """Deploy the model for frames of width x height and open the backend.

        Args:
            model: The network.
            frame_format: Of the frames.
            width: In luma pixels.
            height: In luma pixels.
            backend: What runs the deployed graph.
            options: How frames are upscaled.
            target: Width and height of the results, at least the source's; None: by the model's scale.

        Raises:
            ModelError: The model cannot be deployed for this format.
            BackendError: The backend cannot run it.
            OptionsError: Tiles were asked for that this model cannot be cut into, the target is no size, or
                int8 was asked for and the model does not offer it.
        """
        options = options or UpscalerOptions()
        self.notes: list[str] = []
        if options.session.precision == "int8":
            model = model.at("int8")
        spec = model.spec
        own = (width * spec.scale, height * spec.scale)
        self.size_out = target or own
        self.layout: PixelFormat = frame_format.pixel_format
        self.output_bytes = self.layout.frame_bytes(*self.size_out)
        self.size = self._padded = (width, height)
        if spec.input == "low" and self.size_out == own:
            # At other scales a padded frame would have other filter phases: the graph itself pads there.
            self._padded = (
                _up(width, spec.min_size, spec.multiple),
                _up(height, spec.min_size, spec.multiple),
            )
        self._ratio = (Fraction(self.size_out[0], width), Fraction(self.size_out[1], height))
        corners = spec.input == "target" and options.tile == "auto"
        whole = self._deploy(model, frame_format, *self._padded, corners=corners)
        smaller = [side for side in _SMALLER_TILES if side < max(self._padded)]
        if options.tile != "auto" or spec.input != "low":
            smaller = []
        deployed = self._open(model, frame_format, whole, backend, options, smaller)
        single = len(self.plan.tiles) == 1
        self.cut = self._corners(model) if corners else self._in_words()
        self._direct = single and self._padded == self.size
        self.exact_tiles = self._direct and self.size_out == own and deployed.exact and backend.tiles_exact
        self.in_flight = self._session.in_flight if single else 1
        session: object = self._session
        self._resident = session if self._direct and isinstance(session, ResidentSession) else None
        self.takes_from = None if self._resident is None else self._resident.takes_from
        self.notes += getattr(self._session, "notes", ())  # what a GPU's memory has not allowed

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the session."""
        self.close()

    def close(self) -> None:
        """Wait for the work in progress and free the model."""
        self._session.close()

    def check(self, src: Source, dst: Planes) -> None:
        """Check the planes of a `submit`.

        Raises:
            ValueError: They have other shapes or types.
        """
        check_source(self.layout, src, self.size)
        self.layout.check(dst, *self.size_out)

    def submit(self, src: Source, dst: Planes, tiles: tuple[Tile, ...] | None = None) -> Ticket:
        """Start upscaling.

        Args:
            src: Planes of the format and size given to the constructor, in memory or on a GPU.
            dst: Planes of the same format and the target's size, written in place.
            tiles: Those of the plan that are made; the rest of `dst` stays as it is. None: all.

        Returns:
            A ticket; both belong to the upscaler until its ``result()``.

        Raises:
            ValueError: The planes have other shapes or types.
        """
        self.check(src, dst)
        if isinstance(src, DevicePlanes):
            if self._resident is not None and src.ordinal == self.takes_from:
                return self._resident.submit(src, dst)
            src = src.download()
        if self._direct:
            return self._session.submit(src, dst)
        plan = self.plan if tiles is None else replace(self.plan, tiles=tiles)
        return TiledTicket(self._session, self.layout, self._ratio, plan, self._pad(src), dst)

    def upscale(self, frame: Frame) -> Frame:
        """Return the frame, upscaled, with its times and colour."""
        dst = self.layout.allocate(*self.size_out)
        self.submit(frame.planes, dst).result()
        return Frame(
            planes=dst,
            pixel_format=frame.pixel_format,
            color=frame.color,
            pts=frame.pts,
            duration=frame.duration,
            time_base=frame.time_base,
            origin=frame.origin,
        )

    def _open(
        self,
        model: Model,
        frame_format: FrameFormat,
        whole: Deployed,
        backend: Backend,
        options: UpscalerOptions,
        smaller: list[int],
    ) -> Deployed:
        """Open the backend, with ever smaller tiles while a GPU's memory does not suffice; what it runs."""
        wanted, notes = options.tile, list(self.notes)
        while True:
            self.plan = self._plan(model, whole, wanted, streams_rows=backend.streams_rows)
            deployed = whole
            if len(self.plan.tiles) > 1:
                deployed = self._deploy(model, frame_format, self.plan.width, self.plan.height)
            try:
                self._session: Session = backend.open(deployed, options.session)
            except DeviceMemoryError as error:
                if not smaller:
                    raise
                wanted = str(smaller.pop(0))
                self.notes[:] = [*notes, f"tiles of {wanted} pixels are used: {error.message}"]
            else:
                return deployed

    def _deploy(
        self, model: Model, frame_format: FrameFormat, width: int, height: int, *, corners: bool = False
    ) -> Deployed:
        """Deploy for a padded frame or a tile of it."""
        target = (int(width * self._ratio[0]), int(height * self._ratio[1]))
        return deploy(model, frame_format, width, height, target, corners=corners)

    def _plan(self, model: Model, whole: Deployed, wanted: str, *, streams_rows: bool) -> TilePlan:
        spec, (width, height) = model.spec, self._padded
        exact = spec.tiling == "exact"
        if wanted == "auto":
            # A network that works at the target's size has its own cropping there.
            large = width * height > WHOLE_FRAME_PIXELS and spec.input == "low" and not streams_rows
            side = AUTO_TILE if large else 0
            if large and not exact:
                self.notes.append(
                    f"tiles of {side} pixels because of memory: with {spec.id} they are not quite"
                    " what the whole frame would be"
                )
        else:
            side = int(wanted)
            if side and not exact:
                self.notes.append(f"tiles were asked for: with {spec.id} they are approximate")
        least = spec.min_size if spec.input == "low" else 1
        if 0 < side < least:
            raise OptionsError(f"{spec.id} needs tiles of at least {least} pixels")
        plan = plan_tiles(width, height, side, halo=whole.halo, align=whole.align, least=least)
        pixels = self.layout
        free = lcm(
            1 << max(pixels.chroma_shift_x, pixels.chroma_shift_y),
            spec.multiple if spec.input == "low" else 1,
        )
        self._note_uncut(plan, plan_tiles(width, height, side, halo=whole.halo, align=free, least=least))
        return plan

    def _note_uncut(self, plan: TilePlan, free: TilePlan) -> None:
        """Say so where the sizes' ratio leaves no place to cut at; `free` is what would be cut without."""
        width, height = self._padded
        uncut = [
            word
            for word, given, wanted, length in (
                ("wide", plan.width, free.width, width),
                ("high", plan.height, free.height, height),
            )
            if given == length > wanted
        ]
        if uncut:
            shape = f"tiles are as {uncut[0]} as the frame"
            shape = "whole frames are used" if len(plan.tiles) == 1 else shape
            sizes = " to ".join(f"{w}x{h}" for w, h in (self.size, self.size_out))
            self.notes.append(f"{shape}: from {sizes} no cut would fall between whole pixels of both")

    def _in_words(self) -> str:
        plan = self.plan
        if len(plan.tiles) == 1:
            return "whole frames"
        return f"{len(plan.tiles)} tiles of {plan.width}x{plan.height} pixels a frame"

    def _corners(self, model: Model) -> str:
        plan = plan_corners(*self.size_out, model.spec.multiple, least=model.spec.min_size)
        if len(plan.tiles) == 1:
            return "whole frames"
        return f"{len(plan.tiles)} overlapping patches of {plan.width}x{plan.height} pixels of the result"

    def _pad(self, src: Planes) -> Planes:
        """Repeat the last row and column until the planes have the size that the network takes."""
        if self._padded == self.size:
            return src
        shapes = self.layout.plane_shapes(*self._padded)
        padded: list[Plane] = []
        for plane, (rows, columns) in zip(src, shapes, strict=True):
            more = ((0, rows - plane.shape[0]), (0, columns - plane.shape[1]))
            padded.append(cast("Plane", np.pad(plane, more, mode="edge")))
        return tuple(padded)


def _up(side: int, least: int, multiple: int) -> int:
    return -(-max(side, least) // multiple) * multiple
