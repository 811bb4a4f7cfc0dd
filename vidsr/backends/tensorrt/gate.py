"""The gate that every engine passes before it is kept: its samples against float32's on the CPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vidsr.errors import EngineBuildError

if TYPE_CHECKING:
    from vidsr.frame import Planes
    from vidsr.models.deploy import Deployed

__all__ = ["LIMIT_DB", "GateResult", "check", "frames_for", "require"]

LIMIT_DB = 50.0
"""Least PSNR against float32 over all planes of each frame, in code values."""

_EQUAL_DB = 100.0  # what frames without any difference count as
_FRAMES = 3


@dataclass(frozen=True, slots=True)
class GateResult:
    """How near an engine comes to float32."""

    psnr_db: float
    """Of the worst frame, over all samples of all its planes; 100 where nothing differs."""
    largest: int
    """Largest difference of a sample, in code values."""
    frames: int
    against: str
    """What it was compared with."""

    @property
    def passes(self) -> bool:
        """Whether the engine may be used."""
        return self.frames > 0 and self.psnr_db >= LIMIT_DB


def check(
    run: Callable[[Planes, Planes], None], deployed: Deployed, frames: Iterable[Planes] | None = None
) -> GateResult:
    """Compare what `run` makes with what OpenVINO makes on the CPU in float32.

    Args:
        run: Upscales the first planes into the second and waits for them.
        deployed: The graph that the engine was compiled of.
        frames: What to upscale; None: `frames_for`.

    Raises:
        BackendError: OpenVINO is not there or cannot run the graph.
    """
    from vidsr.backends.base import SessionOptions
    from vidsr.backends.openvino import BACKEND

    pixels, size = deployed.format.pixel_format, (deployed.out_width, deployed.out_height)
    worst, largest, count = _EQUAL_DB, 0, 0
    options = SessionOptions(device="CPU", precision="f32", in_flight=1)
    with closing(BACKEND.open(deployed, options)) as reference:
        for frame in frames_for(deployed) if frames is None else frames:
            wanted, made = pixels.allocate(*size), pixels.allocate(*size)
            for plane in made:  # what is left unwritten must not look like a result
                plane.fill(0)
            reference.submit(frame, wanted).result()
            run(frame, made)
            psnr, most = _compared(made, wanted, pixels.peak)
            worst, largest, count = min(worst, psnr), max(largest, most), count + 1
    return GateResult(round(worst, 2), largest, count, "OpenVINO f32 on the CPU")


def require(result: GateResult, *, name: str = "this engine") -> None:
    """Refuse an engine that does not pass.

    Raises:
        EngineBuildError: It does not.
    """
    if result.passes:
        return
    raise EngineBuildError(
        f"{name} is not accurate enough: {result.psnr_db:.2f} dB against {result.against}, at least"
        f" {LIMIT_DB:g} are wanted (largest difference {result.largest} codes, {result.frames} frames)",
        stage="inference",
        hint="it was not kept; use --backend openvino, or another model, and report this with"
        " 'vidsr doctor': the layers that lose most can be kept in float32",
    )


def frames_for(deployed: Deployed) -> Iterator[Planes]:
    """Yield frames that ask much of a network, always the same: slopes with edges, noise, and extremes."""
    pixels, random = deployed.format.pixel_format, np.random.default_rng(1)
    for number in range(_FRAMES):
        planes = []
        for rows, columns in deployed.input_shapes:
            y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
            if number == 0:
                # Slopes under a grid of edges, with the noise that a camera adds.
                values = (
                    0.5 + 0.3 * np.sin(x / 9) * np.cos(y / 13) + 0.2 * (((x // 16) + (y // 12)) % 2 - 0.5)
                )
                values += random.normal(0, 0.01, values.shape)
            elif number == 1:
                values = random.random((rows, columns))
            else:
                # Black and white down to single pixels: the largest values within the network.
                values = ((x // (1 + y // 8)) % 2).astype(np.float64)
            planes.append((np.clip(values, 0, 1) * pixels.peak).round().astype(pixels.dtype))
        yield tuple(planes)


def _compared(made: Planes, wanted: Planes, peak: int) -> tuple[float, int]:
    """Return PSNR over all samples, and the largest difference."""
    total, samples, largest = 0, 0, 0
    for one, other in zip(made, wanted, strict=True):
        difference = np.abs(one.astype(np.int64) - other.astype(np.int64))
        total += int((difference * difference).sum())
        samples += difference.size
        largest = max(largest, int(difference.max(initial=0)))
    if not total:
        return _EQUAL_DB, 0
    return min(_EQUAL_DB, 10 * math.log10(peak * peak * samples / total)), largest
