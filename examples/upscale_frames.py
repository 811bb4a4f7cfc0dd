"""A decode loop of PyAV, with larger frames: same pixel format, times and colour.

Usage: python examples/upscale_frames.py [CLIP]
"""

import sys
from pathlib import Path

import av

import vidsr

source = sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_name("clip.mp4")
with av.open(str(source)) as container, vidsr.Upscaler("ecbsr", size="x480") as upscaler:
    for frame in upscaler.stream(container.decode(video=0)):
        print(f"{frame.time:.3f} s: {frame.width}x{frame.height} {frame.format.name}")
