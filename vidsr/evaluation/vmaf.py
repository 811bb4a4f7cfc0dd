"""VMAF by the FFmpeg program of the package imageio-ffmpeg, which has libvmaf; PyAV's FFmpeg has not."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from contextlib import suppress
from fractions import Fraction
from types import TracebackType
from typing import IO, Self, cast

from vidsr.errors import BackendError, OptionsError
from vidsr.frame import PixelFormat, Plane

__all__ = ["Vmaf", "check_vmaf"]

_INSTALL = "run: pip install 'vidsr[vmaf]'"


def check_vmaf() -> None:
    """Check, without importing anything, that VMAF can be had.

    Raises:
        OptionsError: The package is not installed.
    """
    if importlib.util.find_spec("imageio_ffmpeg") is None:
        raise OptionsError("--vmaf needs the package imageio-ffmpeg, which is not installed", hint=_INSTALL)


class Vmaf:
    """Compares the luma of two clips; use it in a ``with``, hand over every frame in order, ask for the mean.

    The model is libvmaf's default, vmaf_v0.6.1 (a 1080p screen seen from three times its height); it looks at
    luma alone. Both pictures go through one pipe, one above the other: no file is written.
    """

    def __init__(
        self, pixel_format: PixelFormat, width: int, height: int, frame_rate: Fraction, *, threads: int = 1
    ) -> None:
        """Start the program.

        Args:
            pixel_format: Of the frames whose luma is compared; its depth counts.
            width: Pixels.
            height: Pixels.
            frame_rate: Frames a second.
            threads: Of libvmaf.

        Raises:
            OptionsError: The package, or its program, is not installed.
        """
        check_vmaf()
        from imageio_ffmpeg import get_ffmpeg_exe

        try:
            program = get_ffmpeg_exe()
        except RuntimeError as error:
            raise OptionsError("imageio-ffmpeg is installed without its program", hint=_INSTALL) from error
        top, bottom = (f"crop={width}:{height}:0:{y}" for y in (0, height))
        graph = (
            f"[0:v]split[a][b];[a]{top}[ref];[b]{bottom}[made];"
            f"[made][ref]libvmaf=log_fmt=json:log_path=/dev/stdout:n_threads={threads}"
        )
        depth = pixel_format.bit_depth
        layout = "gray" if depth == 8 else f"gray{depth}le"
        command = [program, "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", layout]
        command += ["-s", f"{width}x{2 * height}", "-r", str(frame_rate), "-i", "-"]
        command += ["-filter_complex", graph, "-f", "null", "/dev/null"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the program, if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            with suppress(BrokenPipeError):
                cast("IO[bytes]", pipe).close()
        self._process.wait()

    def add(self, reference: Plane, other: Plane) -> None:
        """Hand over a pair of luma planes [H, W].

        Raises:
            BackendError: The program has gone.
        """
        pipe = cast("IO[bytes]", self._process.stdin)
        try:
            for plane in (reference, other):
                pipe.write(plane.tobytes())
        except BrokenPipeError:
            raise self._failure(cast("IO[bytes]", self._process.stderr).read()) from None

    def mean(self) -> float:
        """End the comparison and return the arithmetic mean of the frames' figures, 0..100.

        Raises:
            BackendError: The program failed.
        """
        told, complaint = self._process.communicate()
        try:
            return float(json.loads(told)["pooled_metrics"]["vmaf"]["mean"])
        except (ValueError, KeyError):
            raise self._failure(complaint) from None

    def _failure(self, complaint: bytes) -> BackendError:
        lines = complaint.decode(errors="replace").strip().splitlines()
        detail = lines[-1] if lines else f"exit code {self._process.wait()}"
        hint = f"its FFmpeg has no libvmaf; {_INSTALL}" if b"libvmaf" in complaint else None
        return BackendError(f"measuring VMAF failed ({detail})", hint=hint, stage="vmaf")
