"""What the cores' registers can do, for comparison: no memory is touched, so nothing gets there."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from threading import Barrier
from time import perf_counter, thread_time

from vidsr import kernels
from vidsr.cores import usable_cores

__all__ = ["Peaks"]

_SECONDS = 0.05
_ALONE = 0.9  # share of the cores' time that is ours where nobody else wants them


class Peaks:
    """Measures cores together, as often as it is asked, and remembers all of it."""

    def __init__(self, threads: int) -> None:
        """Take the number of cores."""
        self._threads = threads
        self._found: dict[str, list[float]] = {}
        self._ours: list[float] = []

    def path_for(self, runtime: Mapping[str, str], precision: str) -> str | None:
        """Return whose instruction is the measure for a session; None: nothing is known of its device.

        That is the compiled kernel's own; of another runtime on the CPU it is the fastest that the kernels
        know for its precision.

        Args:
            runtime: As `Backend.resolve` tells.
            precision: That it computes in.
        """
        if own := runtime.get("path"):
            return own if self._median(own) else None
        if runtime.get("device", "").upper() != "CPU":
            return None
        speeds = {p.name: self._median(p.name) for p in kernels.paths() if p.precision == precision}
        best = max(speeds, key=lambda name: speeds[name], default=None)
        return best if best and speeds[best] else None

    def measure(self, path: str) -> float:
        """Return the operations a second of a path's instruction, on all the cores together; 0: not known."""
        together = Barrier(self._threads)

        def one(_: int) -> tuple[float, float]:
            together.wait()
            wall, own = perf_counter(), thread_time()
            found = kernels.peak(path, _SECONDS)
            return found, (thread_time() - own) / max(1e-9, perf_counter() - wall)

        with ThreadPoolExecutor(self._threads, thread_name_prefix="vidsr-peak") as pool:
            each = list(pool.map(one, range(self._threads)))
        found = sum(rate for rate, _ in each)
        self._found.setdefault(path, []).append(found)
        if found:
            self._ours.append(sum(share for _, share in each) / self._threads)
        return found

    def disturbed(self) -> str | None:
        """Return a warning where other programs took much of the cores meanwhile."""
        ours = median(self._ours) if self._ours else 1.0
        if ours >= _ALONE or self._threads > usable_cores():
            return None
        return (
            f"other programs kept the cores busy: vidsr got {ours:.0%} of them; shares of the peak and ratios"
            " hold better than times do"
        )

    def gops(self, names: set[str]) -> dict[str, float]:
        """Return the median of all measurements, in 1e9 operations a second."""
        return {name: self._median(name) / 1e9 for name in sorted(names)}

    def _median(self, path: str) -> float:
        if path not in self._found:
            self.measure(path)
        return median(self._found[path])
