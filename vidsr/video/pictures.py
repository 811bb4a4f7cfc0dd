"""Still pictures and numbered sequences of them as results."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import av

from vidsr.errors import EncodeError, OptionsError, OutputError, VerificationError
from vidsr.frame import VideoInfo
from vidsr.sources import ffmpeg_name, is_pattern
from vidsr.video.convert import convert_frame
from vidsr.video.encoders import EncoderSettings
from vidsr.video.parts import Part
from vidsr.video.sinks import Sink, Stretch, partial_name
from vidsr.video.work import WorkFolder, give_name
from vidsr.video.writer import OutputFrame

__all__ = ["PictureSink", "encoded_picture", "more_than_one"]


class PictureSink(Sink):
    """Writes each frame as a picture; all get their final names together at the end.

    A pattern such as ``out_%04d.png`` counts from 1; a plain name takes exactly one frame.
    """

    def __init__(
        self,
        info: VideoInfo,
        output: Path,
        *,
        settings: EncoderSettings,
        plan: Mapping[str, Any],
        size: tuple[int, int],
        full: bool,
        discard: bool,
    ) -> None:
        """Open the work folder; see `VideoSink`."""
        self._info, self._output, self._settings = info, output, settings
        self._size, self._full = size, full
        self._folder = WorkFolder(output, plan, discard=discard)
        self.frames_done = self._folder.frames

    def __exit__(self, *error: object) -> None:
        """Let go of the folder; whole pictures stay for the next try."""
        self._folder.release()

    def left(self) -> tuple[Stretch, ...]:
        """Return what is still to be made: all that follows."""
        last = self._folder.parts[-1] if self._folder.numbered else None
        return (Stretch(after=None if last is None else last.start),)

    def allocate(self) -> OutputFrame:
        """Return a frame to fill."""
        return OutputFrame.allocate(self._info.pixel_format, self._size, self._size)

    def write(self, out: OutputFrame) -> None:
        """Encode a picture.

        Raises:
            OptionsError: A second frame came, and the output names one picture.
            EncodeError: The encoder or the disk refused.
        """
        if self._folder.numbered and not is_pattern(self._output):
            self._folder.remove()  # what the hint advises is another job
            raise more_than_one(self._output)
        path = self._folder.segment_path(self._output.suffix)
        partial = path.with_name(path.name + ".partial")
        try:
            partial.write_bytes(encoded_picture(out.frame, self._settings))
            partial.replace(path)
        except (av.FFmpegError, OSError, ValueError) as error:
            partial.unlink(missing_ok=True)
            detail = getattr(error, "strerror", None) or str(error)
            raise EncodeError(f"writing a picture failed ({detail})", path=path) from error
        self._folder.record(Part(path, out.pts, (0,), 0))

    def finish(self, check: Callable[[], None] = lambda: None, *, partial: bool = False) -> Path:
        """Check the pictures and give them their names; copies of them, if `partial`. See `Sink.finish`.

        Args:
            check: As for `Sink.finish`.
            partial: As for `Sink.finish`.

        Raises:
            OptionsError: There is no frame at all.
            VerificationError: A picture has the wrong size.
            OutputError: A name could not be given.
        """
        parts = self._folder.parts
        if not parts:
            raise OptionsError("no frame lies between --start and --end", path=self._info.path)
        going_on = self._folder.naming
        if not going_on:
            for part in parts if self._full else parts[-1:]:
                self._check(part.path)
            check()
            if not partial:
                self._folder.begin_naming()
        for number, part in enumerate(parts, 1):
            target = partial_name(self._output) if partial else self._output
            if is_pattern(target):
                target = target.with_name(target.name % number)
            if partial:
                give_name(_copy_of(part.path), target)
            elif not going_on or part.path.exists():
                give_name(part.path, target)
            elif not target.is_file():
                raise OutputError(
                    "this finished picture is gone", path=target, hint="add --discard to start anew"
                )
        if partial:
            return partial_name(self._output)
        self._folder.remove()
        return self._output

    def _check(self, path: Path) -> None:
        try:
            with av.open(ffmpeg_name(path), options={"pattern_type": "none"}) as container:
                frame = next(container.decode(video=0))
        except (av.FFmpegError, OSError, StopIteration, IndexError) as error:
            raise VerificationError(f"this picture cannot be read again ({error})", path=path) from error
        if (frame.width, frame.height) != self._size:
            got = f"{frame.width}x{frame.height}"
            raise VerificationError(f"this picture has {got} pixels instead of {self._size}", path=path)


def _copy_of(path: Path) -> Path:
    return Path(shutil.copy2(path, path.with_name(path.name + ".partial")))


def more_than_one(output: Path) -> OptionsError:
    """Return the refusal to write several frames under one name."""
    return OptionsError(
        "the source has more than one frame",
        path=output,
        hint="name the output with a number, such as out_%04d.png, or give --frames 1",
    )


def encoded_picture(frame: av.VideoFrame, settings: EncoderSettings) -> bytes:
    """Return a frame as a picture file's bytes.

    Raises:
        OptionsError: The encoder does not know an option.
        ValueError, av.FFmpegError: It refuses the frame or the settings.
    """
    context: Any = av.CodecContext.create(settings.codec, "w")
    context.width, context.height = settings.width, settings.height
    context.pix_fmt = settings.pixel_format
    context.time_base = settings.time_base
    context.color_range = 2
    if settings.sample_aspect_ratio:
        context.sample_aspect_ratio = settings.sample_aspect_ratio
    context.options = dict(settings.options)
    ready = convert_frame(frame, settings.source_color, settings.pixel_format, settings.color)
    # PNG has a place for them, and takes them from the frame.
    ready.color_primaries, ready.color_trc = settings.color.primaries, settings.color.transfer
    ready.pts, ready.time_base = 0, settings.time_base
    ready.pict_type = av.video.frame.PictureType.NONE
    packets = [*context.encode(ready), *context.encode(None)]
    if context.options:
        raise OptionsError(f"{settings.codec} does not know the option '{next(iter(context.options))}'")
    return b"".join(bytes(packet) for packet in packets)
