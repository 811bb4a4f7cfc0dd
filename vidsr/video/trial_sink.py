"""Where the frames of a trial go: through the encoder of the real result, and no further."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av

from vidsr.errors import EncodeError, HardwareError
from vidsr.frame import VideoInfo
from vidsr.sources import is_pattern
from vidsr.video.encoders import EncoderSettings
from vidsr.video.filters import listening
from vidsr.video.nvenc import refusal
from vidsr.video.pictures import encoded_picture, more_than_one
from vidsr.video.sinks import Sink
from vidsr.video.writer import OutputFrame, SegmentWriter, segment_suffix

__all__ = ["TrialSink", "try_encoder"]


class TrialSink(Sink):
    """Encodes frames as `VideoSink` and `PictureSink` do, counts the bytes and drops them.

    Attributes:
        sizes: Bytes of each coded frame, in the order of coding; complete after `finish`.
    """

    def __init__(
        self,
        info: VideoInfo,
        output: Path,
        *,
        settings: EncoderSettings,
        size: tuple[int, int],
        pictures: bool,
    ) -> None:
        """Prepare to encode.

        Args:
            info: The source.
            output: What the result would be called.
            settings: The encoder.
            size: Width and height of the upscaled picture, without padding.
            pictures: Whether still pictures are written instead of video.
        """
        self.sizes: list[int] = []
        self.frames_done = 0
        self._info, self._output, self._settings = info, output, settings
        self._size, self._pictures = size, pictures
        self._unit = int(info.time_base / settings.time_base)
        self._writer: SegmentWriter | None = None

    def __exit__(self, *error: object) -> None:
        """Close the encoder."""
        if self._writer is not None:
            self._writer.discard()

    @property
    def coded(self) -> bool:
        """Whether something came out of the encoder yet."""
        return bool(self.sizes or (self._writer is not None and self._writer.sizes))

    def allocate(self) -> OutputFrame:
        """Return a frame to fill."""
        coded = self._size if self._pictures else (self._settings.width, self._settings.height)
        return OutputFrame.allocate(self._info.pixel_format, self._size, coded)

    def write(self, out: OutputFrame) -> None:
        """Encode a frame."""
        if self._pictures:
            self._write_picture(out)
            return
        out.pts, out.duration = out.pts * self._unit, out.duration * self._unit
        if self._writer is None:
            path = Path(f"trial{segment_suffix(self._settings)}")
            self._writer = SegmentWriter(path, self._settings, out.pts, into=_Nowhere())
        self._writer.write(out)

    def finish(self, check: Callable[[], None] = lambda: None, *, partial: bool = False) -> None:
        """Take everything out of the encoder."""
        if self._writer is not None:
            self._writer.flush()
            self.sizes = list(self._writer.sizes)

    def _write_picture(self, out: OutputFrame) -> None:
        if self.sizes and not is_pattern(self._output):
            raise more_than_one(self._output)
        try:
            self.sizes.append(len(encoded_picture(out.frame, self._settings)))
        except (av.FFmpegError, OSError, ValueError) as error:
            detail = getattr(error, "strerror", None) or str(error)
            raise EncodeError(f"writing a picture failed ({detail})", path=self._output) from error


def try_encoder(settings: EncoderSettings) -> None:
    """Open an encoder on a GPU and close it again, so that what it refuses is known before any work.

    Raises:
        HardwareError: It cannot be opened with these settings.
        OptionsError: It does not know an option.
    """
    # Nothing else runs yet: no other thread may speak while FFmpeg is listened to.
    with listening() as lines:
        try:
            with SegmentWriter(Path(f"trial{segment_suffix(settings)}"), settings, 0, into=_Nowhere()):
                return
        except HardwareError as error:
            what = f"{settings.width}x{settings.height} {settings.pixel_format}"
            raise refusal(settings.codec, [text for _, _, text in lines], what) from error


class _Nowhere:
    """A file that takes everything and keeps nothing; it cannot be searched."""

    def write(self, data: bytes) -> int:
        return len(data)
