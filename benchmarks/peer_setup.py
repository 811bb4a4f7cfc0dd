"""What `benchmarks/peers.py` needs before it measures: the others' environment, a clip, one plane of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = ["luma_of", "make_clip", "new_environment", "prepare"]

PACKAGES = "vapoursynth vapoursynth-mlrt-ov vapoursynth-mlrt-ort vapoursynth-bestsource onnxruntime numpy"


def make_clip(source: Path, target: Path, size: str) -> None:
    """Make a clip smaller."""
    shrink = ["-vf", f"scale={size.replace('x', ':')}:flags=area", "-pix_fmt", "yuv420p"]
    coding = "-an -c:v libx264 -crf 20".split()
    subprocess.run(["ffmpeg", "-v", "error", "-i", str(source), *shrink, *coding, str(target)], check=True)


def luma_of(clip: Path, number: int) -> np.ndarray:
    """Return the luma of a frame."""
    import av  # not needed for an environment, nor there before it is made

    with av.open(str(clip)) as file:
        for index, frame in enumerate(file.decode(video=0)):
            if index == number:
                return frame.to_ndarray()[: frame.height].copy()
    raise SystemExit(f"{clip} has fewer than {number + 1} frames")


def new_environment(folder: Path) -> Path:
    """Make an environment of Python 3.12 or newer; return its interpreter."""
    home = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    names = [sys.executable, "python3.14", "python3.13", "python3.12"]
    for name in [*names, *map(str, sorted(home.glob("versions/3.1[2-9]*/bin/python")))]:
        command = [name, "-c", "import sys; sys.exit(sys.version_info < (3, 12))"]
        if shutil.which(name) and not subprocess.run(command, capture_output=True).returncode:
            break
    else:
        raise SystemExit("vapoursynth needs Python 3.12 or newer, and there is none: install one")
    subprocess.run([name, "-m", "venv", str(folder)], check=True)
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def prepare(folder: Path) -> Path:
    """Make an environment with the peers' packages; return its interpreter."""
    python = new_environment(folder)
    subprocess.run([str(python), "-m", "pip", "install", *PACKAGES.split()], check=True)
    return python
