"""Nearest neighbour through the whole pipeline, losslessly: every sample arrives, repeated exactly."""

from pathlib import Path

import av
import numpy as np
import pytest
from synth import make_clip

import vidsr
from vidsr.frame import PixelFormat
from vidsr.video.convert import to_planar
from vidsr.video.formats import planes_of

FORMATS = [
    *(f"gray{depth}" for depth in ("", "9le", "10le", "12le", "14le", "16le")),
    *(
        f"yuv{layout}p{depth}"
        for layout in ("420", "422", "444")
        for depth in ("", "9le", "10le", "12le", "14le", "16le")
    ),
    *("yuv440p", "yuv440p10le", "yuv440p12le", "yuv411p", "yuv410p"),
    *("gbrp", "gbrp9le", "gbrp10le", "gbrp12le", "gbrp14le", "gbrp16le"),
    *("yuva420p", "yuva422p", "yuva444p", "yuva420p10le", "yuva422p12le", "yuva444p12le", "yuva444p16le"),
    *("gbrap", "gbrap10le", "gbrap12le", "gbrap14le", "gbrap16le"),
]
# RGB of 8 bits FFV1 has in another form, from which it comes back.
PACKED = {"gbrp": "bgr0", "gbrap": "bgra"}
EACH_WAY = ("gray", "gray10le", "yuv420p", "yuv422p10le", "yuv440p", "yuv411p", "gbrp10le", "yuva420p")
"""Of these odd sizes and tiles as well; the others differ from one of them in depth alone."""


def frames(path: Path, layout: PixelFormat) -> list[tuple[np.ndarray, ...]]:
    with av.open(str(path)) as file:
        decoded = [to_planar(f, layout, f.width, f.height) for f in file.decode(video=0)]
    return [tuple(plane.copy() for plane in planes_of(frame)) for frame in decoded]


@pytest.mark.parametrize(
    ("pixel_format", "size", "tile"),
    [
        *((name, (36, 20), "0") for name in FORMATS),
        *((name, (53, 37), tile) for name in EACH_WAY for tile in ("0", "32")),
    ],
)
def test_every_sample_is_repeated_exactly(
    tmp_path: Path, pixel_format: str, size: tuple[int, int], tile: str
) -> None:
    layout = PixelFormat.parse(pixel_format)
    colors = (2, 0, 2, 2) if layout.family == "gbr" else (1, 1, 1, 1)
    source = make_clip(
        tmp_path / "in.nut" if pixel_format in PACKED else tmp_path / "in.mkv",
        pixel_format=pixel_format,
        size=size,
        times=2,
        codec="rawvideo" if pixel_format in PACKED else "ffv1",
        colors=colors,
    )
    job = vidsr.Job(
        source=source,
        output=tmp_path / "out.mkv",
        backend="nearest",
        chroma="nearest",
        codec="ffv1",
        tile=tile,
    )
    report = vidsr.run(job)
    assert not [w for w in report.warnings if not (pixel_format in PACKED and "the source is" in w)]
    with av.open(str(tmp_path / "out.mkv")) as file:
        assert next(file.decode(video=0)).format.name == PACKED.get(pixel_format, pixel_format)
    before, after = frames(source, layout), frames(tmp_path / "out.mkv", layout)
    assert len(before) == len(after) == 2
    assert [p.shape for p in before[0]] == list(layout.plane_shapes(*size))
    for small, large in zip(before, after, strict=True):
        for one, many in zip(small, large, strict=True):
            repeated = one.repeat(2, axis=0).repeat(2, axis=1)
            np.testing.assert_array_equal(many, repeated[: many.shape[0], : many.shape[1]])
            # A plane of an odd size may lose some of its last repeats, never a sample.
            lost = [all_of - kept for all_of, kept in zip(repeated.shape, many.shape, strict=True)]
            assert lost[0] in (0, 1)
            assert lost[1] in (0, 1)
