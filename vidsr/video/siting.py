"""Where chroma lies, by the decoder's word and for swscale: through filters, PyAV has no property for it."""

from __future__ import annotations

import re
from threading import Lock
from typing import Any

import av
import av.logging

from vidsr.frame import ChromaLocation

__all__ = ["chroma_location", "sited"]

# `showinfo` writes into FFmpeg's log, and whether that is heard is decided for the whole process.
_LOG = Lock()
_NAMES = {location.value: location for location in ChromaLocation}


def chroma_location(frame: av.VideoFrame) -> ChromaLocation | None:
    """Return where the chroma of a decoded frame lies, None where the stream and its standard do not say.

    H.264, HEVC and the MPEG codecs define what holds without a tag, and decoders follow them.
    """
    graph = av.filter.Graph()
    size = f"video_size={frame.width}x{frame.height}"
    source = graph.add("buffer", f"{size}:pix_fmt={frame.format.name}:time_base=1/25")
    # Without side data, which may be long and would be printed byte by byte.
    bare = graph.add("sidedata", mode="delete")
    shown = graph.add("showinfo", checksum="0")
    sink: Any = graph.add("buffersink")
    for one, next_one in ((source, bare), (bare, shown), (shown, sink)):
        one.link_to(next_one)
    graph.configure()
    with _LOG:
        level = av.logging.get_level()
        try:
            # Of all threads: what others say meanwhile is not to reach the terminal either.
            with av.logging.Capture(local=False) as lines:
                av.logging.set_level(av.logging.INFO)
                source.push(frame)
                sink.pull()
        finally:
            av.logging.set_level(level)
    for _, name, text in lines:
        found = re.search(r" fmt:\S+ cl:(\w+) ", text) if name == "showinfo" else None
        if found:
            return _NAMES.get(found[1])
    return None


def sited(frame: av.VideoFrame, location: ChromaLocation) -> av.VideoFrame:
    """Return a frame with the same samples that is marked with where its chroma lies, or is to lie.

    swscale takes unmarked chroma for centred, and passes the mark of a frame on to what it makes of it.
    """
    graph = av.filter.Graph()
    size = f"video_size={frame.width}x{frame.height}"
    source = graph.add("buffer", f"{size}:pix_fmt={frame.format.name}:time_base=1/25")
    mark = graph.add("setparams", chroma_location=location.value)
    sink: Any = graph.add("buffersink")
    source.link_to(mark)
    mark.link_to(sink)
    graph.configure()
    source.push(frame)
    marked: av.VideoFrame = sink.pull()
    return marked
