"""Make the environment in which the tests run VapourSynth, which needs Python 3.12 or newer.

Usage: python tests/hosts/make_vapoursynth.py [FOLDER]

It gets VapourSynth, a source filter, vs-mlrt's OpenVINO and what vidsr itself needs, by pyproject.toml; vidsr
is not installed: the tests run this tree's. Without FOLDER it is .vapoursynth, where the tests look for it;
of another one tell them with VIDSR_VAPOURSYNTH_PYTHON.
"""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "benchmarks"))

from peer_setup import new_environment  # noqa: E402 - it lies there


def main() -> None:
    """Make it."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / ".vapoursynth"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["vapoursynth"]]
    python = new_environment(folder)
    more = ["vapoursynth-bestsource", "vapoursynth-mlrt-ov"]
    subprocess.run([str(python), "-m", "pip", "install", *wanted, *more], check=True)
    print(f"VIDSR_VAPOURSYNTH_PYTHON={python}")


if __name__ == "__main__":
    main()
