"""A backend that enlarges by Lanczos in numpy: what networks have to beat, and how little a backend is.

It ignores the graph. A real one compiles `deployed.model_bytes`, which is ONNX: planes of integers in and
out, all shapes fixed.
"""

from collections.abc import Mapping

import numpy as np

from vidsr.backends.base import Availability, Session, SessionOptions, check_planes
from vidsr.frame import Planes
from vidsr.models.deploy import Deployed
from vidsr.models.resize import LANCZOS, Axis


class Done:
    """A ticket for work that is done already."""

    def result(self) -> None:
        """Return at once."""


class LanczosSession:
    """Works in the caller's thread."""

    in_flight = 1

    def __init__(self, deployed: Deployed) -> None:
        """Weigh the samples of both axes of every plane."""
        self.deployed = deployed
        pairs = zip(deployed.input_shapes, deployed.output_shapes, strict=True)
        self.axes = [[matrix(n, m) for n, m in zip(one, other, strict=True)] for one, other in pairs]

    def submit(self, src: Planes, dst: Planes) -> Done:
        """Fill `dst`."""
        check_planes(self.deployed, src, dst)
        peak = self.deployed.format.pixel_format.peak
        for plane, target, (down, across) in zip(src, dst, self.axes, strict=True):
            made = down @ plane.astype(np.float32) @ across.T
            np.copyto(target, np.clip(np.rint(made), 0, peak), casting="unsafe")
        return Done()

    def close(self) -> None:
        """Nothing is held."""


def matrix(count: int, wanted: int) -> np.ndarray:
    """Return the weights [wanted, count] that enlarge an axis, edge samples repeated outwards."""
    places, taps = Axis.across(count, wanted, LANCZOS).taps()
    weights = np.zeros((wanted, count), np.float32)
    np.add.at(weights, (np.arange(wanted), places), taps)
    return weights


class LanczosBackend:
    """What `vidsr.backends.base.Backend` asks for."""

    name = "lanczos"
    streams_rows = False
    tiles_exact = False

    def lacks(self, rows: object) -> None:
        """Return None: it takes everything."""

    def availability(self) -> Availability:
        """Tell that it is always there."""
        return Availability(True, "Lanczos in numpy, no network runs", ("cpu",), ("f32",))

    def open(self, deployed: Deployed, options: SessionOptions) -> Session:
        """Return a session."""
        return LanczosSession(deployed)

    def resolve(self, options: SessionOptions) -> Mapping[str, str]:
        """Return what decides the bytes."""
        return {"backend": self.name, "numpy": np.__version__}


BACKEND = LanczosBackend()
