"""Encoding one segment: frames in, a self-contained file and its time stamps out."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import av
import av.container
import numpy as np

from vidsr.errors import EncodeError, OptionsError, OutputError
from vidsr.frame import PixelFormat, Planes
from vidsr.sources import ffmpeg_name
from vidsr.video.convert import convert_frame
from vidsr.video.encoders import EncoderSettings
from vidsr.video.formats import new_frame
from vidsr.video.nvenc import NVENC, is_nvenc, refusal
from vidsr.video.priority import ordinary_priority
from vidsr.video.steady import steady_options

__all__ = ["OutputFrame", "SegmentWriter", "segment_suffix"]

# Codecs that the MP4 muxer takes with exact times; the others travel in NUT.
_IN_MP4 = frozenset({"h264", "hevc", "av1", "vp9", "ffv1", "mpeg4", "mpeg2video"})
_DOUBTFUL = ("libx265", *NVENC)
_MOST_REORDERED = 17  # x265 has at most 16 B frames in a row
_FRAGMENTED = {
    "movflags": "frag_keyframe+delay_moov+default_base_moof",
    # The muxer holds a fragment in memory: without this all of a segment, hundreds of MB at 8K.
    "frag_size": str(8 << 20),
    "movie_timescale": "90000",
}


@dataclass(slots=True)
class OutputFrame:
    """A frame to be filled in place and then encoded."""

    planes: Planes
    """Where the upscaled picture goes: the visible part, in the upscaler's layout."""
    frame: av.VideoFrame
    """The whole frame that `planes` are views of."""
    whole: Planes
    """All of the frame's planes, with what an encoder needs beyond the picture."""
    pts: int = 0
    """Presentation time in ticks of the source, set by whoever fills the frame."""
    duration: int = 0
    """Ticks; 0: not known."""
    shift: int = 0
    """See `Frame.shift`."""
    key: bool = False
    """See `Frame.key`."""

    @classmethod
    def allocate(cls, layout: PixelFormat, size: tuple[int, int], coded: tuple[int, int]) -> OutputFrame:
        """Return a frame of `coded` size (width, height), whose planes show `size` of it."""
        frame, whole = new_frame(layout, *coded)
        shapes = layout.plane_shapes(*size)
        planes = tuple(p[:h, :w] for p, (h, w) in zip(whole, shapes, strict=True))
        return cls(planes, frame, whole)


def segment_suffix(settings: EncoderSettings) -> str:
    """Return the file suffix of segments of an encoder."""
    name = _codec_id(settings.codec)
    if name == "vp9" and settings.planes.alpha:
        return ".mkv"  # nothing else has a place for the alpha
    return ".mov" if name == "prores" else ".mp4" if name in _IN_MP4 else ".nut"


class SegmentWriter:
    """One segment being written; `finish` makes it whole, leaving without it discards it.

    Attributes:
        path: The segment's file.
        pts: Time stamps handed in so far, in ticks of the settings' time base, relative to `origin`.
        sizes: Bytes of each packet that came out so far.
        reorder: Most places by which a packet precedes its turn in presentation order.
    """

    def __init__(self, path: Path, settings: EncoderSettings, origin: int, *, into: Any = None) -> None:
        """Open encoder and file.

        Args:
            path: The segment's file; must not be a final name.
            settings: The encoder.
            origin: Subtracted from every pts, so that the segment begins at zero.
            into: An object whose ``write`` takes the bytes instead of a file; `path` is then but a name.

        Raises:
            OptionsError: The encoder does not know an option, or refuses its value.
            EncodeError: The encoder refuses the settings together.
        """
        self.pts: list[int] = []
        self.sizes: list[int] = []
        self.reorder = 0
        self.path, self._settings, self._origin = path, settings, origin
        self._in_a_file = into is None
        self._decode_order: list[int] = []
        self._durations: dict[int, int] = {}
        self._mending = False
        try:
            form = path.suffix.removeprefix(".").replace("mkv", "matroska")
            self._container: Any = av.open(
                into or ffmpeg_name(path),
                "w",
                format=form,
                container_options=_FRAGMENTED if form in ("mp4", "mov") else {},
            )
        except (av.FFmpegError, OSError) as error:
            raise OutputError(f"cannot write here ({error.strerror})", path=path) from error
        try:
            self._stream = _open_encoder(self._container, settings)
        except BaseException:
            self.discard()
            raise

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(self, *error: object) -> None:
        """Discard the file unless `finish` was called."""
        self.discard()

    def write(self, out: OutputFrame) -> None:
        """Encode a frame; its pts must be larger than the last one's.

        Raises:
            EncodeError: The encoder or the disk refused.
        """
        settings = self._settings
        _repeat_border(out)
        frame = convert_frame(out.frame, settings.source_color, settings.pixel_format, settings.color)
        pts = out.pts - self._origin
        frame.pts, frame.time_base = pts, settings.time_base
        # ProRes takes its tags from frames, the other encoders from the context.
        frame.colorspace = settings.color.matrix_code
        frame.color_primaries, frame.color_trc = settings.color.primaries, settings.color.transfer
        frame.pict_type = av.video.frame.PictureType.NONE
        self.pts.append(pts)
        self._durations[pts] = out.duration
        self._encode(frame)

    def flush(self) -> None:
        """Take everything out of the encoder; it takes no more frames.

        Raises:
            EncodeError: The encoder or the disk refused.
        """
        self._encode(None)

    def finish(self) -> None:
        """Flush the encoder, close the file and check that every frame came out.

        Raises:
            EncodeError: The encoder or the disk refused, or frames are missing.
        """
        self.flush()
        container, self._container = self._container, None
        try:
            container.close()
            # With these the encoder goes, before FFmpeg decodes a frame of its work to know it.
            del container
            self._stream = None
            # FFmpeg does not tell of everything that a full disk did not take.
            with av.open(ffmpeg_name(self.path)) as written:
                whole = sum(bool(p.size) and not p.is_corrupt for p in written.demux(video=0))
        except (av.FFmpegError, OSError) as error:
            raise _failed(error, self.path) from error
        if whole < len(self._decode_order):
            raise EncodeError(
                f"only {whole} of {len(self._decode_order)} frames could be written",
                path=self.path,
                hint="free some space and run the same command: it continues",
            )
        if sorted(self._decode_order) != self.pts:
            raise EncodeError(
                f"{self._settings.codec} took {len(self.pts)} frames and gave {len(self._decode_order)}",
                path=self.path,
            )
        ranks = {pts: rank for rank, pts in enumerate(self.pts)}
        self.reorder = max((place - ranks[pts] for place, pts in enumerate(self._decode_order)), default=0)

    def _encode(self, frame: av.VideoFrame | None) -> None:
        try:
            packets: Iterable[Any] = self._stream.encode(frame)
            for packet in packets:
                self._decode_order.append(packet.pts)
                self.sizes.append(packet.size)
                self._mend_dts(packet)
                packet.duration = self._durations.pop(packet.pts, 0) or packet.duration
                self._container.mux(packet)
        except (av.FFmpegError, OSError) as error:
            raise _failed(error, self.path) from error

    def _mend_dts(self, packet: Any) -> None:
        """Replace decoding times that cannot be.

        Of fewer frames than it reorders, x265 4.1 takes the delay from memory that it never wrote. NVENC's
        are made by FFmpeg, in other ways in each version. Decoding
        times are made anew when segments are joined; until then they must only be ones that MP4 can hold.
        """
        if self._settings.codec not in _DOUBTFUL or packet.dts is None:
            return
        first, last = self.pts[0], self.pts[-1]
        if len(self._decode_order) == 1:
            # A true one is the time of a frame, less the time that as many frames take as are reordered.
            self._mending = not first - (last - first) <= packet.dts <= packet.pts
        if self._mending or is_nvenc(self._settings.codec):
            # The same delay is in all of them, so all go, though some may look possible.
            packet.dts = first - _MOST_REORDERED + len(self._decode_order)

    def discard(self) -> None:
        """Close and delete the file, unless `finish` was called: then do nothing."""
        container, self._container = self._container, None
        if container is None:
            return
        with suppress(av.FFmpegError, OSError, ValueError):
            container.close()
        if self._in_a_file:
            self.path.unlink(missing_ok=True)


def _open_encoder(container: Any, settings: EncoderSettings) -> Any:
    color = settings.color
    options = steady_options(settings)
    try:
        stream = container.add_stream(settings.codec, rate=settings.frame_rate, options=options)
        context = stream.codec_context
        stream.width, stream.height = settings.width, settings.height
        stream.pix_fmt = settings.pixel_format
        context.time_base = settings.time_base
        context.framerate = settings.frame_rate
        if settings.sample_aspect_ratio:
            context.sample_aspect_ratio = settings.sample_aspect_ratio
        guessed = "range" in color.guessed and settings.planes.family != "gbr"
        context.color_range = 0 if guessed else {"limited": 1, "full": 2}[color.range.value]
        context.colorspace = color.matrix_code
        context.color_primaries, context.color_trc = color.primaries, color.transfer
        if "threads" in options:
            context.thread_count = int(options["threads"])
        stream.time_base = settings.time_base
        if settings.display_matrix is not None:
            stream.set_display_matrix(settings.display_matrix)
        elif settings.rotation:
            stream.set_display_rotation(settings.rotation)
        with ordinary_priority():
            container.start_encoding()
    except (av.FFmpegError, OSError, ValueError) as error:
        detail = getattr(error, "strerror", None) or str(error)
        if is_nvenc(settings.codec):
            last = getattr(error, "log", None) or (0, "", detail)
            what = f"{settings.width}x{settings.height} {settings.pixel_format} with {_spell(options)}"
            raise refusal(settings.codec, [last[2]], what) from error
        raise EncodeError(
            f"{settings.codec} cannot encode {settings.width}x{settings.height}"
            f" {settings.pixel_format} with {_spell(options)} ({detail})",
            hint="check --codec, --crf, --preset, --pix-fmt and -e",
        ) from error
    unknown = sorted(set(context.options) - {"threads"})
    if unknown:
        raise OptionsError(f"{settings.codec} does not know the option '{unknown[0]}'")
    return stream


def _failed(error: Exception, path: Path) -> EncodeError:
    detail = getattr(error, "strerror", None) or str(error)
    hint = "free some space and run the same command: it continues" if "space" in detail else None
    return EncodeError(f"encoding failed ({detail})", path=path, hint=hint)


def _codec_id(encoder: str) -> str:
    return str(av.codec.Codec(encoder, "w").canonical_name)


def _spell(options: dict[str, str]) -> str:
    return ", ".join(f"{k}={v}" for k, v in options.items()) or "no options"


def _repeat_border(out: OutputFrame) -> None:
    """Fill what of the coded frame lies beyond the picture with the last row and column."""
    for shown, whole in zip(out.planes, out.whole, strict=True):
        height, width = shown.shape
        if whole.shape != shown.shape:
            np.copyto(whole[:height, width:], shown[:, -1:])
            np.copyto(whole[height:], whole[height - 1 : height])
