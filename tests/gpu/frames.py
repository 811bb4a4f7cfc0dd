"""What the tests of every backend on a GPU need: the backend or a skip in words, frames, comparisons."""

from __future__ import annotations

import numpy as np
from required import require

from vidsr.backends import SessionOptions, get_backend
from vidsr.backends.base import Session
from vidsr.backends.cuda.probing import find_cuda
from vidsr.backends.tensorrt.library import missing as library_missing
from vidsr.frame import Planes
from vidsr.models.deploy import Deployed

__all__ = ["equal", "gpu_of", "psnr", "source", "upscale"]


def gpu_of(name: str) -> None:
    """Skip where a backend has no GPU here; VIDSR_REQUIRE_GPU=1 or VIDSR_REQUIRE=gpu make that a failure.

    Only TensorRT may be absent where there is a GPU, since its libraries are not on the public package index:
    VIDSR_REQUIRE=tensorrt asks for it.
    """
    found = get_backend(name).availability()
    if found.usable and any(device.startswith("cuda:") for device in found.devices):
        return
    alone = name == "tensorrt" and not find_cuda().why and library_missing()
    require("tensorrt" if alone else "gpu", found.detail)


def source(deployed: Deployed, seed: int = 0) -> Planes:
    """Return planes that are smooth here and noisy there."""
    pixels, rng = deployed.format.pixel_format, np.random.default_rng(seed)
    made = []
    for shape in deployed.input_shapes:
        rows, columns = np.ogrid[: shape[0], : shape[1]]
        wave = 0.5 + 0.45 * np.sin(rows / 5.1 + seed) * np.cos(columns / 7.3)
        codes = (wave + rng.normal(0, 0.05, shape)) * pixels.peak
        made.append(np.clip(codes, 0, pixels.peak).astype(pixels.dtype))
    return tuple(made)


def one(session: Session, deployed: Deployed, src: Planes) -> Planes:
    """Return a frame's result."""
    dst = deployed.format.pixel_format.allocate(deployed.out_width, deployed.out_height)
    session.submit(src, dst).result()
    return dst


def upscale(name: str, deployed: Deployed, src: Planes, options: SessionOptions) -> Planes:
    """Return a frame's result from a session of its own."""
    session = get_backend(name).open(deployed, options)
    try:
        return one(session, deployed, src)
    finally:
        session.close()


def equal(first: Planes, other: Planes) -> bool:
    """Tell whether all samples are the same."""
    return all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def psnr(got: Planes, wanted: Planes, peak: int) -> float:
    """Return the PSNR over all planes in code values."""
    off = np.concatenate([(a.astype(float) - b).ravel() for a, b in zip(got, wanted, strict=True)])
    return float(10 * np.log10(peak**2 / max(np.mean(off**2), 1e-12)))
