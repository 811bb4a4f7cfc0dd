"""Where chroma lies, by the decoder's word and for swscale."""

from __future__ import annotations

import re

import av

from vidsr.frame import ChromaLocation
from vidsr.video.filters import listening, through

__all__ = ["chroma_location", "sited"]

_NAMES = {location.value: location for location in ChromaLocation}


def chroma_location(frame: av.VideoFrame) -> ChromaLocation | None:
    """Return where the chroma of a decoded frame lies, None where the stream and its standard do not say.

    H.264, HEVC and the MPEG codecs define what holds without a tag, and decoders follow them.
    """
    # Without side data, which may be long and would be printed byte by byte.
    with listening() as lines:
        through(frame, [("sidedata", {"mode": "delete"}), ("showinfo", {"checksum": "0"})])
    for _, name, text in lines:
        found = re.search(r" fmt:\S+ cl:(\w+) ", text) if name == "showinfo" else None
        if found:
            return _NAMES.get(found[1])
    return None


def sited(frame: av.VideoFrame, location: ChromaLocation) -> av.VideoFrame:
    """Return a frame with the same samples that is marked with where its chroma lies, or is to lie.

    swscale takes unmarked chroma for centred, and passes the mark of a frame on to what it makes of it.
    """
    return through(frame, [("setparams", {"chroma_location": location.value})])
