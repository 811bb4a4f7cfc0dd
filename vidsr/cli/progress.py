"""The progress bar of one job."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vidsr.pipeline import Progress

__all__ = ["ProgressBar"]


class ProgressBar:
    """The progress bar on stderr; on something that is no terminal, a line every ten seconds."""

    def __init__(self, *, hidden: bool) -> None:
        self._hidden = hidden
        self._bar: Any = None

    def __enter__(self) -> ProgressBar:
        """Return self."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()

    def show(self, progress: Progress) -> None:
        """Show where the job is."""
        if self._hidden:
            return
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(
                total=progress.total,
                initial=progress.resumed,
                unit=" frames",
                smoothing=0.05,
                dynamic_ncols=True,
                mininterval=0.2 if sys.stderr.isatty() else 10.0,
                leave=False,
            )
        if self._bar.total is not None and progress.frames > self._bar.total:
            self._bar.total = progress.frames  # the header promised fewer
        self._bar.set_description_str("" if progress.phase == "frames" else progress.phase, refresh=False)
        self._bar.update(progress.frames - self._bar.n)
        if progress.phase != "frames":
            self._bar.refresh()
