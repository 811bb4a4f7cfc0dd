"""Opening a source: which files, patterns and addresses are opened, and by which of FFmpeg's protocols."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from fractions import Fraction
from pathlib import Path
from time import monotonic
from typing import Any

import av
import av.container

from vidsr.errors import OptionsError, ProbeError, SourceError
from vidsr.frame import VideoInfo
from vidsr.sources import (
    NETWORK_PROTOCOLS,
    Source,
    ffmpeg_name,
    is_address,
    is_sequence,
    numbered,
    parse_source,
    without_password,
)

__all__ = ["LENIENT", "address_identity", "open_info", "open_source", "translate"]

LENIENT: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
"""What lets `av.open` take tags that are no UTF-8: PyAV does so by itself from 19 on."""

_NETWORK_WAIT_S = 30.0  # without a byte from a server
_SEVERAL_TIMES = "vidsr reads its source several times: save it to a file first"


def translate(
    error: Exception, path: str | os.PathLike[str], kind: type[SourceError], what: str
) -> SourceError:
    """Return a `kind` that says in one line what FFmpeg's error means."""
    text = getattr(error, "strerror", None) or str(error)
    hint = None
    if isinstance(error, av.error.ExitError):
        text = "nothing came for too long"
    if isinstance(error, av.InvalidDataError):
        hint = "the file is damaged, incomplete or no media file"
    return kind(f"{what} ({text})", path=path, hint=hint)


@contextmanager
def open_source(
    source: Source,
    *,
    frame_rate: Fraction | None = None,
    timeout: float | None = None,
    network: bool = False,
) -> Iterator[av.container.InputContainer]:
    """Open a media file, a numbered sequence of pictures at `frame_rate` (25 by default), or an address.

    Args:
        source: The file, pattern or address.
        frame_rate: Of a sequence.
        timeout: Seconds after which looking for one packet is given up with FFmpeg's ExitError, and twice
            as many for opening it; None: never, but for servers. Gigabytes of garbage hold no packet.
        network: Whether addresses are opened, as the source or as what a playlist refers to.

    Raises:
        ProbeError: It is missing, a folder, no regular file, not readable, or no media file.
        OptionsError: It is an address, and `network` is false.
    """
    source = parse_source(source)
    options = {"protocol_whitelist": _protocols(source, network)}
    file_format = None
    if isinstance(source, str):
        name = source
        if not network:
            raise OptionsError(
                "this is an address on a network, and vidsr stays off networks",
                path=without_password(source),
                hint="add --allow-network to open it, or save it to a file first",
            )
    elif is_sequence(source):
        file_format = "image2"
        options |= {"framerate": str(frame_rate or 25), "start_number_range": "100000"}
        options["pattern_type"] = "sequence"
        name = ffmpeg_name(source, pattern=True)
        if not any(numbered(source)):
            raise ProbeError("no picture fits this pattern", path=source)
    else:
        name = ffmpeg_name(source)
        options["pattern_type"] = "none"  # a picture's name may hold *, ? and %d
        _check_file(source)
    if network:
        timeout = _NETWORK_WAIT_S if timeout is None else min(timeout, _NETWORK_WAIT_S)
    waits = None if timeout is None else (2 * timeout, timeout)
    began = monotonic()
    try:
        container = av.open(name, format=file_format, options=options, timeout=waits, **LENIENT)
    except (av.FFmpegError, OSError, ValueError) as error:
        if waits is not None and monotonic() - began >= waits[0]:
            # Of what it had got by then FFmpeg says that it is damaged.
            raise ProbeError(
                "cannot open this as video (nothing came for too long)", path=_shown(source)
            ) from error
        raise translate(error, _shown(source), ProbeError, "cannot open this as video") from error
    with container:
        yield container


def open_info(
    info: VideoInfo, *, frame_rate: Fraction | None = None, timeout: float | None = None
) -> AbstractContextManager[av.container.InputContainer]:
    """Open the source that `info` is about, as it was opened then; see `open_source`."""
    return open_source(parse_source(info.path), frame_rate=frame_rate, timeout=timeout, network=info.network)


def _protocols(source: Source, network: bool) -> str:
    """Return what FFmpeg may open, for the source and for whatever a playlist in it refers to.

    Only files, unless asked for more; and what comes from a network never names a file of this machine.
    """
    allowed = () if is_address(source) else ("file",)
    return ",".join([*allowed, *(NETWORK_PROTOCOLS if network else ())])


def _check_file(path: Path) -> None:
    if path == Path("-"):
        raise ProbeError("standard input cannot be the source", path=path, hint=_SEVERAL_TIMES)
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise ProbeError("no such file", path=path) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ProbeError(f"cannot open this ({reason})", path=path) from error
    if stat.S_ISDIR(status.st_mode):
        hint = "for a sequence of pictures give a pattern such as name_%04d.png"
        raise ProbeError("this is a folder", path=path, hint=hint)
    if not stat.S_ISREG(status.st_mode):
        raise ProbeError("a pipe, socket or device cannot be the source", path=path, hint=_SEVERAL_TIMES)
    if status.st_size == 0:
        raise ProbeError("the file is empty", path=path)


def _shown(source: Source) -> Source:
    return without_password(source) if isinstance(source, str) else source


def address_identity(info: VideoInfo) -> dict[str, Any]:
    """Return what a source on a network is recognised by: its address and what the probe saw of it.

    What a server says of a file's version does not come through FFmpeg, so a file that was replaced by one of
    the same size, codec and length is not noticed.
    """
    with open_info(info) as container:
        size = int(container.size)
    return {
        "name": without_password(info.path),
        "bytes": size,
        "seen": f"{info.container} {info.codec} {info.width}x{info.height} {info.source_format}"
        f" {info.duration} s, {info.estimated_frames} frames",
    }
