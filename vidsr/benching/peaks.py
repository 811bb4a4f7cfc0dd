"""What the cores' registers can do, for comparison: no memory is touched, so nothing gets there."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from threading import Barrier

from vidsr import kernels

__all__ = ["Peaks"]

_SECONDS = 0.05


class Peaks:
    """Measures cores together, as often as it is asked, and remembers all of it."""

    def __init__(self, threads: int) -> None:
        """Take the number of cores."""
        self._threads = threads
        self._found: dict[str, list[float]] = {}

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

        def one(_: int) -> float:
            together.wait()
            return kernels.peak(path, _SECONDS)

        with ThreadPoolExecutor(self._threads, thread_name_prefix="vidsr-peak") as pool:
            found = sum(pool.map(one, range(self._threads)))
        self._found.setdefault(path, []).append(found)
        return found

    def gops(self, names: set[str]) -> dict[str, float]:
        """Return the median of all measurements, in 1e9 operations a second."""
        return {name: self._median(name) / 1e9 for name in sorted(names)}

    def _median(self, path: str) -> float:
        if path not in self._found:
            self.measure(path)
        return median(self._found[path])
