"""Published checkpoints give their published figures through our network and our protocol."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vidsr.evaluation.bicubic import crop_to_multiple, downscale
from vidsr.evaluation.metrics import luma_bt601, psnr, shave
from vidsr.networks.ecbsr import PlainECBSR
from vidsr.video.still import find_pictures, read_picture


@pytest.mark.parametrize(
    ("name", "scale", "published"),
    [
        ("M4C16", 2, 37.173),
        ("M4C16", 3, 33.066),
        ("M4C16", 4, 30.888),
        ("M4C32", 2, 37.404),
        ("M6C40", 2, 37.632),
    ],
)
def test_ecbsr_of_etds_on_set5(data: Path, name: str, scale: int, published: float) -> None:
    path = data / f"weights/ecbsr_etds/ECBSR_{name}_x{scale}.pth"
    state = torch.load(path, map_location="cpu", weights_only=True)
    network = PlainECBSR.from_state_dict(state.get("params", state))
    assert (network.scale, network.channels) == (scale, 3)
    values = []
    for picture in find_pictures([data / "eval/Set5/HR"]):
        high = crop_to_multiple(read_picture(picture), scale)
        low = np.ascontiguousarray(downscale(high, scale).transpose(2, 0, 1))
        with torch.no_grad():
            out = network(torch.from_numpy(low).float()[None] / 255)[0]
        rgb = (out.clamp(0, 1) * 255).round().byte().numpy().transpose(1, 2, 0)
        values.append(psnr(shave(luma_bt601(rgb), scale), shave(luma_bt601(high), scale)))
    assert float(np.mean(values)) == pytest.approx(published, abs=0.005)
