"""What a source's name means: a file, a numbered sequence of pictures, or an address on a network.

A `Path` is never an address, and cannot hold one: it makes one slash of two. So sources travel as text or as
a `Path`, and everything that has to know asks here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

__all__ = [
    "NETWORK_PROTOCOLS",
    "Source",
    "ffmpeg_name",
    "is_address",
    "is_pattern",
    "is_sequence",
    "named_after",
    "numbered",
    "parse_source",
    "without_password",
]

Source = Path | str
"""A `Path`: a file or a pattern. Text: an address such as ``https://host/clip.mp4``."""

NETWORK_PROTOCOLS = ("http", "https", "httpproxy", "tcp", "tls", "crypto", "data", "hls", "ftp")
"""FFmpeg's names of what ``--allow-network`` allows."""

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# What both Python and FFmpeg's image2 count with: one %d or %04d; %% is a per cent sign.
_PATTERN = re.compile(r"((?:[^%]|%%)*)%(?:0?\d{1,2})?d((?:[^%]|%%)*)", re.ASCII | re.DOTALL)


def parse_source(source: Source) -> Source:
    """Return an address as text and anything else as a `Path`; ``file:///a`` is the file ``/a``.

    ``http:clip.mp4``, without two slashes, is a file of that name.
    """
    if isinstance(source, Path):
        return source
    if source.lower().startswith("file://"):
        return Path(source[len("file://") :])
    return source if is_address(source) else Path(source)


def is_address(source: Source) -> bool:
    """Return whether a source is on a network."""
    return isinstance(source, str) and _ADDRESS.match(source) is not None


def is_pattern(path: Source) -> bool:
    """Return whether a name can number pictures, such as ``shot_%04d.png``."""
    return isinstance(path, Path) and _PATTERN.fullmatch(path.name) is not None


def is_sequence(source: Source) -> bool:
    """Return whether a source is a numbered sequence: a pattern, and no file has that very name."""
    return isinstance(source, Path) and is_pattern(source) and not source.exists()


def numbered(pattern: Path) -> Iterator[Path]:
    """Yield the files that have a name which `pattern` makes of a number."""
    match = _PATTERN.fullmatch(pattern.name)
    if match is None or not pattern.parent.is_dir():
        return
    head, tail = (part.replace("%%", "%") for part in match.groups())
    for path in sorted(pattern.parent.iterdir()):
        digits = path.name.removeprefix(head).removesuffix(tail)
        if re.fullmatch(r"\d{1,18}", digits, re.ASCII) and pattern.name % int(digits) == path.name:
            yield path


def ffmpeg_name(path: Path, *, pattern: bool = False) -> str:
    """Return a file's name such that FFmpeg takes it for nothing else, whatever characters it holds.

    ``a:b.mp4`` would be FFmpeg's protocol "a", and ``http:x.mp4`` would be looked for on a network.

    Args:
        path: The file.
        pattern: Whether its last part is a pattern; per cent signs in its folders are then doubled.
    """
    if not pattern:
        return f"file:{path}"
    folder = str(path.parent).replace("%", "%%")
    return f"{folder}/{path.name}"


def named_after(source: Source) -> Path:
    """Return the path that a default output is named after: an address's last part, in the current folder."""
    if isinstance(source, Path):
        return source
    name = unquote(urlsplit(source).path).rsplit("/", 1)[-1].replace("\0", "")
    return Path(name if name not in ("", ".", "..") else "video")


def without_password(address: str) -> str:
    """Return an address without the user's name and password, for what is stored or shown."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
