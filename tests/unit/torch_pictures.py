"""Pictures for the backend torch, and what a session makes of them."""

from __future__ import annotations

import numpy as np

from vidsr.backends import Backend, SessionOptions
from vidsr.frame import PixelFormat, Planes
from vidsr.models import Deployed

OV_F32 = SessionOptions(precision="f32", threads=1, in_flight=1)


def picture(pixels: PixelFormat, width: int, height: int) -> Planes:
    """Smooth, with some noise, over the whole range of codes."""
    rng = np.random.default_rng(width * height)
    made = []
    for shape in pixels.plane_shapes(width, height):
        rows, columns = np.ogrid[: shape[0], : shape[1]]
        wave = 0.5 + 0.45 * np.sin(rows / 3.1 + rng.uniform(0, 6)) * np.cos(columns / 4.3)
        codes = (wave + rng.normal(0, 0.08, shape)) * pixels.peak
        made.append(np.clip(codes, 0, pixels.peak).astype(pixels.dtype))
    return tuple(made)


def upscale(backend: Backend, deployed: Deployed, src: Planes, options: SessionOptions) -> Planes:
    dst = deployed.format.pixel_format.allocate(deployed.out_width, deployed.out_height)
    session = backend.open(deployed, options)
    session.submit(src, dst).result()
    session.close()
    return dst


def psnr(got: Planes, wanted: Planes, peak: int) -> float:
    off = np.concatenate([(a.astype(float) - b).ravel() for a, b in zip(got, wanted, strict=True)])
    return float(10 * np.log10(peak**2 / max(np.mean(off**2), 1e-12)))
