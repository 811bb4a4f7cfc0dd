"""A whole job from Python: the same as ``vidsr upscale examples/clip.mp4``.

Usage: python examples/upscale_in_python.py [CLIP [OUTPUT]]
"""

import sys
from pathlib import Path

import vidsr

source = sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_name("clip.mp4")
output = sys.argv[2] if len(sys.argv) > 2 else None

report = vidsr.upscale(source, output, model="ecbsr", scale=2, overwrite=True)
print(f"{report.output}: {report.frames} frames, {report.fps:.1f} fps. {report.limited_by}")
