"""Where vidsr keeps what it can make again: the user's folder for caches."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_file"]


def cache_file(name: str) -> Path | None:
    """Return where a file or folder is, by the XDG rules; None: this user has no home."""
    asked = os.environ.get("XDG_CACHE_HOME", "")
    if Path(asked).is_absolute():
        return Path(asked) / "vidsr" / name
    try:
        return Path.home() / ".cache" / "vidsr" / name
    except RuntimeError:
        return None
