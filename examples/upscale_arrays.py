"""Frames as numpy arrays, from wherever they come: gray, RGB, or the planes of YUV video.

Usage: python examples/upscale_arrays.py
"""

import numpy as np

import vidsr

gray = np.add.outer(np.arange(90), np.arange(160)).astype(np.uint8)
chroma = np.full((45, 80), 128, np.uint8)

with vidsr.Upscaler("ecbsr", scale=2) as upscaler:
    larger = upscaler.upscale(gray)
    rgb = upscaler.upscale(np.dstack([gray, gray, gray]))
    yuv = upscaler.upscale((gray, chroma, chroma), pixel_format="yuv420p")
    stream = upscaler.stream(np.roll(gray, step, axis=1) for step in range(24))
    print(larger.shape, rgb.shape, [plane.shape for plane in yuv], sum(1 for _ in stream))
