"""What VapourSynth's GRAYS of limited range costs a network that was trained on codes, in dB of luma PSNR.

    python tests/hosts/make_vapoursynth.py FOLDER
    PYTHONPATH=. FOLDER/bin/python benchmarks/vapoursynth_ranges.py CLIP... [--models ...] [--frames 20]

Clips of limited range are made half as large (bicubic, 8 bits) and enlarged again: by `upscale`; by vs-mlrt
on codes over 255, as our networks were trained; by vs-mlrt on what VapourSynth's own conversion to GRAYS
gives, (Y - 16) / 219; and by bicubic. Everything is f32. PSNR is of 8-bit luma, its mean over frames that are
spread over the clip.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.pop(0)  # not this folder: its files are named as they like
from vidsr.hosts.vapoursynth import upscale
from vidsr.models.lookup import find_model

import vapoursynth as vs  # isort: skip

core = vs.core
MODELS = ("2x-ecbsr-m4c8", "2x-ecbsr-m4c16", "2x-ecbsr-m10c16", "2x-ecbsr-m4c16-video")
WAYS = ("upscale", "vs-mlrt, codes / 255", "vs-mlrt, (Y - 16) / 219", "bicubic")


def psnr(one: Any, other: Any) -> float:
    """Return the PSNR of two frames' luma."""
    first, second = (np.asarray(frame[0]).astype(np.float64) for frame in (one, other))
    return float(10 * np.log10(255**2 / np.mean((first - second) ** 2)))


def by_mlrt(small: Any, model: Path, *, codes: bool) -> Any:
    """Return luma that vs-mlrt has enlarged."""
    how = {"range_in_s": "full", "range_s": "full"} if codes else {}
    given = core.std.RemoveFrameProps(small, ["_Range", "_ColorRange"]) if codes else small
    given = core.resize.Point(given, format=vs.GRAYS, **how)
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    made = core.ov.Model(given, network_path=str(model), device="CPU", config=lambda: exact)
    return core.resize.Point(made, format=vs.GRAY8, **how)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--frames", type=int, default=20)
    given = parser.parse_args()
    print(f"| clip | model | {' | '.join(WAYS)} | the range costs |\n|---|---|{'--:|' * (len(WAYS) + 1)}")
    for path in given.clips:
        source = core.std.ShufflePlanes(core.bs.VideoSource(str(path), cachemode=0), 0, vs.GRAY)
        source = core.std.SetFieldBased(source, 0)
        large = core.std.CropAbs(source, source.width & ~3, source.height & ~3)
        if large.format.id != vs.GRAY8 or large.get_frame(0).props.get("_Range", 0):
            raise SystemExit(f"{path} is not of 8 bits and limited range")
        small = core.resize.Bicubic(large, large.width // 2, large.height // 2)
        numbers = np.unique(np.linspace(0, len(large) - 1, given.frames).astype(int))
        for name in given.models:
            model = find_model(name, 2)
            made = (
                upscale(small, name, precision="f32"),
                by_mlrt(small, model.path, codes=True),
                by_mlrt(small, model.path, codes=False),
                core.resize.Bicubic(small, large.width, large.height),
            )
            means = [
                statistics.mean(psnr(clip.get_frame(int(n)), large.get_frame(int(n))) for n in numbers)
                for clip in made
            ]
            figures = " | ".join(f"{mean:.2f}" for mean in means)
            print(f"| {path.name} | {model.spec.id} | {figures} | {means[1] - means[2]:.2f} |", flush=True)


if __name__ == "__main__":
    main()
