"""How far float32 is from the exact result, in codes: torch, OpenVINO, the compiled kernel; float64.

Usage: python benchmarks/exactness.py [--model 2x-ecbsr-m4c16] [--pictures FOLDER]

ECBSR on gray pictures at 8, 10 and 12 bits. Float64 by torch is taken for exact. Printed are the shares of
samples with another code, and the largest difference.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import av
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from vidsr.backends import get_backend
from vidsr.backends.base import SessionOptions
from vidsr.frame import PixelFormat
from vidsr.models import find_model
from vidsr.models.deploy import FrameFormat, deploy
from vidsr.models.lookup import Model

FORMATS = {8: "gray", 10: "gray10le", 12: "gray12le"}


def by_torch(model: Model, codes: NDArray, peak: int, kind: torch.dtype) -> NDArray[np.int64]:
    """Return the codes that the folded stack makes of codes, computed in one precision throughout."""
    stack = model.stack
    assert not isinstance(stack, str), stack
    source = y = torch.from_numpy(codes.astype(np.float64)).to(kind)[None, None] / peak
    for conv in stack.convs:
        y = F.conv2d(y, *(torch.from_numpy(v).to(kind) for v in (conv.weights, conv.bias)), padding=1)
        if conv.slopes is not None:
            y = F.prelu(y, torch.tensor(conv.slopes).to(kind))
    made = F.pixel_shuffle(y + source, stack.scale)
    return np.rint(np.clip(made[0, 0].numpy() * peak, 0, peak)).astype(np.int64)


def by_backend(name: str, model: Model, codes: NDArray, bits: int) -> NDArray[np.int64]:
    """Return the same from a backend, in f32."""
    height, width = codes.shape
    deployed = deploy(model, FrameFormat(PixelFormat.parse(FORMATS[bits])), width, height)
    (target,) = deployed.format.pixel_format.allocate(deployed.out_width, deployed.out_height)
    session = get_backend(name).open(deployed, SessionOptions(precision="f32"))
    session.submit((codes,), (target,)).result()
    session.close()
    return target.astype(np.int64)


def pictures(folder: Path) -> list[NDArray[np.float64]]:
    """Return the luma of a folder's pictures, 0..1."""
    made = []
    for path in sorted(folder.glob("*.png")):
        with av.open(str(path)) as container:
            made.append(next(container.decode(video=0)).reformat(format="gray").to_ndarray() / 255)
    return made


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="2x-ecbsr-m4c16")
    parser.add_argument("--pictures", type=Path, default=Path("../shared/data/eval/Set5/HR"))
    asked = parser.parse_args()
    model, rng = find_model(asked.model, 2), np.random.default_rng(0)
    print("| bits | pair | other codes | largest |\n|--:|---|--:|--:|")
    for bits in FORMATS:
        peak, found, samples = (1 << bits) - 1, {}, 0
        for picture in pictures(asked.pictures):
            # Codes between the picture's 256 are drawn, so that all are used.
            drawn = picture * peak + rng.uniform(-0.5, 0.5, picture.shape) * peak / 255
            codes = np.clip(np.rint(drawn), 0, peak).astype(np.uint8 if bits == 8 else np.uint16)
            made = {
                "float64": by_torch(model, codes, peak, torch.float64),
                "torch f32": by_torch(model, codes, peak, torch.float32),
                "OpenVINO f32": by_backend("openvino", model, codes, bits),
                "kernel f32": by_backend("kernel", model, codes, bits),
            }
            samples += made["float64"].size
            pairs = [(k, "float64") for k in list(made)[1:]] + [("kernel f32", "torch f32")]
            for one, other in pairs:
                off = np.abs(made[one] - made[other])
                count, most = found.get((one, other), (0, 0))
                found[one, other] = (count + np.count_nonzero(off), max(most, int(off.max())))
        for (one, other), (count, most) in found.items():
            print(f"| {bits} | {one} against {other} | {count / samples:.4%} | {most} |")


if __name__ == "__main__":
    main()
