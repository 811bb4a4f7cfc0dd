"""HDR10's static data on its way out: into the encoder's stream, and into the container's header."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av

from vidsr.hdr import HdrInfo, MasteringDisplay
from vidsr.sources import ffmpeg_name

__all__ = ["encoder_params", "template_of"]

# The way to an MP4's sample entry, and how many bytes each box has before the boxes in it.
_WAY = ((b"moov", 8), (b"trak", 8), (b"mdia", 8), (b"minf", 8), (b"stbl", 8), (b"stsd", 16))


def encoder_params(codec: str, hdr: HdrInfo) -> list[str]:
    """Return what an encoder's ``-params`` option needs to write the data into its stream, name=value each.

    Nothing for encoders whose streams cannot hold it, or that do not ask for it by option.
    """
    mastering, light = hdr.mastering, hdr.light
    params = []
    if codec in ("libx264", "libx264rgb", "libx265"):
        names = ("master-display", "max-cll") if codec == "libx265" else ("mastering-display", "cll")
        if mastering is not None:
            params.append(f"{names[0]}={_spelled(mastering, 1, 1)}")
        if light is not None:
            params.append(f"{names[1]}={light.max_content},{light.max_average}")
    elif codec == "libsvtav1":
        if mastering is not None:
            params.append(f"mastering-display={_spelled(mastering, 50000, 10000)}")
        if light is not None:
            params.append(f"content-light={light.max_content},{light.max_average}")
    return params


def _spelled(display: MasteringDisplay, places: int, luminances: int) -> str:
    """Return G(x,y)B(x,y)R(x,y)WP(x,y)L(max,min), the numbers divided by `places` and `luminances`."""

    def pair(values: tuple[int, int], unit: int) -> str:
        return "({},{})".format(*(v if unit == 1 else f"{v / unit:.6f}" for v in values))

    return (
        f"G{pair(display.green, places)}B{pair(display.blue, places)}R{pair(display.red, places)}"
        f"WP{pair(display.white, places)}L{pair((display.max_luminance, display.min_luminance), luminances)}"
    )


@contextmanager
def template_of(segment: Path, hdr: HdrInfo) -> Iterator[Any]:
    """Open a segment whose video stream serves as the template of a result's.

    PyAV cannot give a stream the data, but takes it from a template: an MP4 or MOV segment is opened with
    boxes in its header that say it. The file stays as it is.
    """
    if not hdr.static or segment.suffix not in (".mp4", ".mov"):
        with av.open(ffmpeg_name(segment)) as container:
            yield container
        return
    with segment.open("rb") as file, av.open(_Patched(file, _boxes(hdr))) as container:
        yield container


class _Patched:
    """An MP4 file with boxes added to its first video's sample entry, read as if it were one on the disk.

    Fragments count from themselves, so nothing else changes when what stands before them grows.
    """

    def __init__(self, file: Any, boxes: bytes) -> None:
        self._file, self._place = file, 0
        old = _until_moov(file)
        self._head, self._old = _with_boxes(old, boxes), len(old)
        self._size = os.fstat(file.fileno()).st_size - self._old + len(self._head)

    def read(self, size: int) -> bytes:
        head = self._head[self._place : self._place + size]
        self._place += len(head)
        rest: bytes = b""
        if len(head) < size:
            self._file.seek(self._place - len(self._head) + self._old)
            rest = bytes(self._file.read(size - len(head)))
            self._place += len(rest)
        return head + rest

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = base + offset
        return self._place

    def tell(self) -> int:
        return self._place


def _boxes(hdr: HdrInfo) -> bytes:
    """Return ISO/IEC 14496-12's mdcv and clli boxes."""
    found = b""
    if (display := hdr.mastering) is not None:
        places = [*display.green, *display.blue, *display.red, *display.white]
        found += _box(b"mdcv", struct.pack(">8H2I", *places, display.max_luminance, display.min_luminance))
    if (light := hdr.light) is not None:
        found += _box(b"clli", struct.pack(">2H", light.max_content, light.max_average))
    return found


def _box(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(data), name) + data


def _until_moov(file: Any) -> bytes:
    """Return the bytes of an MP4 that our own writer made, from its beginning to the end of its header."""
    read = b""
    while True:
        start = file.read(8)
        size, name = struct.unpack(">I4s", start)
        read += bytes(start + file.read(size - 8))
        if name == b"moov":
            return read


def _with_boxes(header: bytes, added: bytes) -> bytes:
    """Return a header with boxes added at the end of its first sample entry."""
    whole = bytearray(header)
    around = []
    start, end = 0, len(whole)
    for wanted, inside in (*_WAY, (b"", 0)):
        place = start
        while wanted and whole[place + 4 : place + 8] != wanted and place < end:
            place += int.from_bytes(whole[place : place + 4], "big")
        around.append(place)
        start, end = place + inside, place + int.from_bytes(whole[place : place + 4], "big")
    whole[end:end] = added
    for place in around:
        size = int.from_bytes(whole[place : place + 4], "big") + len(added)
        whole[place : place + 4] = size.to_bytes(4, "big")
    return bytes(whole)
