"""Measuring a network in torch while it is trained, by the evaluation protocol."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from vidsr.evaluation.bicubic import crop_to_multiple, downscale
from vidsr.evaluation.metrics import luma_bt601, psnr, shave
from vidsr.video.still import find_pictures, read_picture

__all__ = ["validate"]


def validate(network: nn.Module, folder: Path) -> float:
    """Return the mean PSNR-Y in dB over the pictures of `folder`, by the evaluation protocol.

    The network sees float luma or RGB in 0..1 and its output is clamped, and for RGB rounded.
    """
    scale, channels = int(network.scale), int(network.channels)  # type: ignore[arg-type]
    device = next(network.parameters()).device
    values = []
    for path in find_pictures([folder]):
        high = crop_to_multiple(read_picture(path), scale)
        low = downscale(high, scale)
        wanted = shave(luma_bt601(high), scale)
        x = luma_bt601(low)[None] if channels == 1 else low.transpose(2, 0, 1)
        with torch.no_grad():
            out = network(torch.from_numpy(np.ascontiguousarray(x)).float()[None].to(device) / 255)[0]
        y = (out.clamp(0, 1) * 255).double().cpu().numpy()
        if channels == 3:
            y = luma_bt601(np.rint(y).astype(np.uint8).transpose(1, 2, 0))[None]
        values.append(psnr(shave(y[0], scale), wanted))
    return float(np.mean(values))
