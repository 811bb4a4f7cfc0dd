"""Frame to frame: tile, submit, join. The same frames in the command line, batch, preview and plug-ins."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, cast

import numpy as np

from vidsr.backends.base import Backend, Session, SessionOptions, Ticket
from vidsr.errors import OptionsError
from vidsr.frame import Frame, PixelFormat, Plane, Planes
from vidsr.models.deploy import FrameFormat, deploy
from vidsr.models.lookup import Model
from vidsr.tiling import Rect, Tile, TilePlan, plan_tiles

__all__ = ["Upscaler", "UpscalerOptions"]

# Above this many pixels "auto" tiles: whole frames would need gigabytes between the layers.
_WHOLE_FRAME_PIXELS = 2560 * 1600
_AUTO_TILE = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class UpscalerOptions:
    """How frames are upscaled."""

    session: SessionOptions = field(default_factory=SessionOptions)
    tile: str = "auto"
    """See `Job.tile`."""


class Upscaler:
    """Upscales frames of one format and size with one model. Thread-safe; use it in a ``with``.

    Attributes:
        scale: Magnification.
        in_flight: How many frames to keep submitted for full speed.
        notes: Decisions that a report should mention.
    """

    def __init__(
        self,
        model: Model,
        frame_format: FrameFormat,
        width: int,
        height: int,
        backend: Backend,
        options: UpscalerOptions | None = None,
    ) -> None:
        """Deploy the model for frames of width x height and open the backend.

        Raises:
            ModelError: The model cannot be deployed for this format.
            BackendError: The backend cannot run it.
            OptionsError: Tiles were asked for that this model cannot be cut into.
        """
        options = options or UpscalerOptions()
        self.scale = model.spec.scale
        self.notes: list[str] = []
        self._layout: PixelFormat = frame_format.pixel_format
        self._size = (width, height)
        least, multiple = model.spec.min_size, model.spec.multiple
        self._padded = (_up(width, least, multiple), _up(height, least, multiple))
        whole = deploy(model, frame_format, *self._padded)
        self.plan = self._plan(model, whole.halo, whole.align, options.tile)
        single = len(self.plan.tiles) == 1
        deployed = whole if single else deploy(model, frame_format, self.plan.width, self.plan.height)
        self._direct = single and self._padded == self._size
        self._session: Session = backend.open(deployed, options.session)
        self.in_flight = self._session.in_flight if single else 1

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

    def submit(self, src: Planes, dst: Planes) -> Ticket:
        """Start upscaling.

        Args:
            src: Planes of the format and size given to the constructor.
            dst: Planes of the same format, `scale` times as large, written in place.

        Returns:
            A ticket; both belong to the upscaler until its ``result()``.

        Raises:
            ValueError: The planes have other shapes or types.
        """
        width, height = self._size
        self._layout.check(src, width, height)
        self._layout.check(dst, width * self.scale, height * self.scale)
        if self._direct:
            return self._session.submit(src, dst)
        return _TiledTicket(self._session, self._layout, self.scale, self.plan, self._pad(src), dst)

    def upscale(self, frame: Frame) -> Frame:
        """Return the frame, upscaled, with its times and colour."""
        dst = self._layout.allocate(self._size[0] * self.scale, self._size[1] * self.scale)
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

    def _plan(self, model: Model, halo: int, align: int, wanted: str) -> TilePlan:
        width, height = self._padded
        if wanted == "auto":
            large = width * height > _WHOLE_FRAME_PIXELS
            exact = model.spec.tiling == "exact"
            side = _AUTO_TILE if large else 0
            if large and not exact:
                self.notes.append(
                    f"tiles of {side} pixels because of memory: with {model.spec.id} they are not quite"
                    " what the whole frame would be"
                )
        else:
            side = int(wanted)
            if side and model.spec.tiling != "exact":
                self.notes.append(f"tiles were asked for: with {model.spec.id} they are approximate")
        if 0 < side < model.spec.min_size:
            raise OptionsError(f"{model.spec.id} needs tiles of at least {model.spec.min_size} pixels")
        return plan_tiles(width, height, side, halo=halo, align=align, least=model.spec.min_size)

    def _pad(self, src: Planes) -> Planes:
        """Repeat the last row and column until the planes have the size that the network takes."""
        if self._padded == self._size:
            return src
        shapes = self._layout.plane_shapes(*self._padded)
        padded: list[Plane] = []
        for plane, (rows, columns) in zip(src, shapes, strict=True):
            more = ((0, rows - plane.shape[0]), (0, columns - plane.shape[1]))
            padded.append(cast("Plane", np.pad(plane, more, mode="edge")))
        return tuple(padded)


class _TiledTicket:
    """A frame in tiles: as many in work as the session takes, each joined when it is done."""

    def __init__(
        self,
        session: Session,
        layout: PixelFormat,
        scale: int,
        plan: TilePlan,
        src: Planes,
        dst: Planes,
    ) -> None:
        self._layout, self._scale, self._plan, self._dst = layout, scale, plan, dst
        self._error: BaseException | None = None
        self._work: deque[tuple[Tile, Planes, Ticket]] = deque()
        free: list[Planes] = []
        size = (plan.width * scale, plan.height * scale)
        try:
            for tile in plan.tiles:
                if len(self._work) >= session.in_flight:
                    free.append(self._join_one())
                made = free.pop() if free else layout.allocate(*size)
                cut = tuple(_cut(src, layout, tile.source))
                self._work.append((tile, made, session.submit(cut, made)))
        except BaseException:
            self._drain()
            raise

    def result(self) -> None:
        """Wait for the tiles that are still in work, and join them."""
        if self._error is not None:
            raise self._error
        try:
            while self._work:
                self._join_one()
        except BaseException as error:
            self._error = error
            self._drain()
            raise

    def _join_one(self) -> Planes:
        tile, made, ticket = self._work.popleft()
        ticket.result()
        scale = self._scale
        kept = _scaled(tile.kept, scale)
        inside = Rect(kept.x - tile.source.x * scale, kept.y - tile.source.y * scale, kept.width, kept.height)
        pairs = zip(_cut(self._dst, self._layout, kept), _cut(made, self._layout, inside), strict=True)
        for target, part in pairs:
            # A padded frame's tiles reach beyond the picture.
            height, width = target.shape
            np.copyto(target, part[:height, :width])
        return made

    def _drain(self) -> None:
        """Wait for everything, whatever comes of it: the session still writes into our planes."""
        for _, _, ticket in self._work:
            try:
                ticket.result()
            except Exception:  # noqa: BLE001 - the first error is on its way already
                continue
        self._work.clear()


def _cut(planes: Planes, layout: PixelFormat, rect: Rect) -> Iterator[Plane]:
    """Yield each plane's part of a rectangle in luma pixels."""
    for plane, (shift_x, shift_y) in zip(planes, _shifts(layout), strict=True):
        x, y = rect.x >> shift_x, rect.y >> shift_y
        right = -(-(rect.x + rect.width) >> shift_x)
        bottom = -(-(rect.y + rect.height) >> shift_y)
        yield plane[y:bottom, x:right]


def _up(side: int, least: int, multiple: int) -> int:
    return -(-max(side, least) // multiple) * multiple


def _shifts(layout: PixelFormat) -> Iterator[tuple[int, int]]:
    yield 0, 0
    if layout.family != "gray":
        yield from [(layout.chroma_shift_x, layout.chroma_shift_y)] * 2
    if layout.alpha:
        yield 0, 0


def _scaled(rect: Rect, scale: int) -> Rect:
    return Rect(rect.x * scale, rect.y * scale, rect.width * scale, rect.height * scale)
