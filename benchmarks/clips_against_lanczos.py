"""Real clips halved by swscale's bicubic and enlarged again, without compression: PSNR-Y.

Usage: python benchmarks/clips_against_lanczos.py CLIP... [--model ecbsr] [--frames N]

Each figure is the mean over frames of 10 log10(255^2 / MSE) on the luma plane, 8 bits, no border cut off.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from vidsr.backends import choose_backend
from vidsr.backends.base import SessionOptions
from vidsr.evaluation.metrics import psnr
from vidsr.models.deploy import FrameFormat
from vidsr.models.lookup import find_model
from vidsr.upscaler import Upscaler, UpscalerOptions
from vidsr.video.formats import planes_of
from vidsr.video.probe import probe
from vidsr.video.reader import Reader, Span


def measure(clip: Path, model_name: str, precision: str, frames: int | None) -> tuple[int, dict[str, float]]:
    """Return the number of frames and each method's mean PSNR-Y in dB."""
    info = probe(clip)
    width, height = info.width // 4 * 4, info.height // 4 * 4
    model = find_model(model_name, 2)
    backend, _ = choose_backend("openvino")
    color = info.color
    layout = FrameFormat(info.pixel_format, color.matrix, color.range, color.chroma_location)
    options = UpscalerOptions(session=SessionOptions(precision=precision))
    figures: dict[str, list[float]] = {"bicubic": [], "lanczos": [], model.spec.id: []}
    with (
        Upscaler(model, layout, width // 2, height // 2, backend, options) as upscaler,
        Reader(info, Span(frames=frames)) as reader,
    ):
        dst = layout.pixel_format.allocate(width, height)
        for frame in reader:
            whole = frame.origin
            small = whole.reformat(width // 2, height // 2, interpolation="BICUBIC")
            if (whole.width, whole.height) != (width, height):
                raise SystemExit(f"{clip}: sides must be multiples of 4")
            wanted = frame.planes[0].astype(np.float64)
            for name in ("bicubic", "lanczos"):
                large = small.reformat(width, height, interpolation=name.upper())
                figures[name].append(psnr(planes_of(large)[0].astype(np.float64), wanted))
            upscaler.submit(planes_of(small), dst).result()
            figures[model.spec.id].append(psnr(dst[0].astype(np.float64), wanted))
    count = len(figures["lanczos"])
    return count, {name: float(np.mean(values)) for name, values in figures.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--model", default="ecbsr")
    parser.add_argument("--precision", default="auto", choices=["auto", "f32", "bf16"])
    parser.add_argument("--frames", type=int)
    arguments = parser.parse_args()
    print("| clip | frames | bicubic | Lanczos | network | gain on Lanczos |")
    print("|---|---|---|---|---|---|")
    for clip in arguments.clips:
        count, means = measure(clip, arguments.model, arguments.precision, arguments.frames)
        bicubic, lanczos, network = means.values()
        gain = network - lanczos
        print(f"| {clip.name} | {count} | {bicubic:.2f} | {lanczos:.2f} | {network:.2f} | {gain:+.2f} |")


if __name__ == "__main__":
    main()
