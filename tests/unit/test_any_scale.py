"""Deployed graphs at sizes that no network makes, against float64, and where edges end up."""

import hashlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from deploy_reference import expected_planes
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from vidsr.backends import SessionOptions
from vidsr.backends.openvino import BACKEND
from vidsr.errors import OptionsError
from vidsr.frame import ChromaLocation, ColorRange, Matrix, PixelFormat, Planes
from vidsr.models import Deployed, FrameFormat, Model, deploy, find_model
from vidsr.models.resize import BOX, KEYS, LANCZOS, Axis
from vidsr.networks.ecbsr import ECBSR, PlainECBSR
from vidsr.networks.export import export_network

Nets = dict[tuple[int, int], tuple[PlainECBSR, Model]]
FORMATS = ["yuv420p", "yuv420p10", "yuv422p", "yuv444p10", "yuva420p", "gbrp", "gray16"]
TARGETS = [
    ((40, 24), (60, 36)),
    ((33, 17), (50, 26)),
    ((30, 25), (72, 60)),
    ((21, 16), (40, 16)),
    ((16, 20), (45, 22)),
    ((12, 9), (48, 36)),
    ((5, 3), (8, 4)),
]
"""1.5x; the same of odd sides; 2.4x; one side as it was; up and down at once; 4x; small."""


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Nets:
    folder = tmp_path_factory.mktemp("nets")
    made = {}
    for channels, scale in ((1, 2), (3, 2), (1, 3)):
        torch.manual_seed(channels * 10 + scale)
        network = ECBSR(scale=scale, channels=channels, blocks=1, features=8).fold()
        with torch.no_grad():
            for i, kernel in enumerate(network.kernels):
                kernel *= 1.5 if i < 2 else 0.5
        path = export_network(network, folder / f"n{channels}{scale}.onnx")
        made[channels, scale] = network, find_model(str(path), scale)
    return made


def source(pixels: PixelFormat, width: int, height: int) -> Planes:
    rng = np.random.default_rng(width * height)
    made = []
    for shape in pixels.plane_shapes(width, height):
        rows, columns = np.ogrid[: shape[0], : shape[1]]
        wave = 0.5 + 0.45 * np.sin(rows / 3.1 + rng.uniform(0, 6)) * np.cos(columns / 4.3 + rng.uniform(0, 6))
        noise = rng.normal(0, 0.08, shape)
        made.append(np.clip((wave + noise) * pixels.peak, 0, pixels.peak).astype(pixels.dtype))
    return tuple(made)


def upscale(deployed: Deployed, src: Planes, precision: str = "f32") -> Planes:
    dst = deployed.format.pixel_format.allocate(deployed.out_width, deployed.out_height)
    session = BACKEND.open(deployed, SessionOptions(precision=precision, in_flight=1))  # type: ignore[arg-type]
    session.submit(src, dst).result()
    session.close()
    return dst


def compare(got: Planes, wanted: list[np.ndarray], share: float) -> None:
    assert [p.shape for p in got] == [p.shape for p in wanted]
    for i, (plane, exact) in enumerate(zip(got, wanted, strict=True)):
        difference = np.abs(plane.astype(np.int64) - exact)
        assert difference.max() <= 1, f"plane {i}: {difference.max()} codes off"
        assert np.count_nonzero(difference) <= max(1, share * difference.size), f"plane {i}"


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("channels", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_formats_and_targets(nets: Nets, name: str, channels: int) -> None:
    form = FrameFormat(PixelFormat.parse(name))
    network, model = nets[channels, 2]
    share = 1e-3 if form.pixel_format.bit_depth < 16 else 0.1  # f32 has 24 bits
    for size, target in TARGETS:
        src = source(form.pixel_format, *size)
        wanted = expected_planes(form, network, 2, src, target)
        compare(upscale(deploy(model, form, *size, target), src), wanted, share)


@pytest.mark.parametrize("location", list(ChromaLocation))
@pytest.mark.parametrize(
    ("channels", "scale", "target"),
    [(1, 2, (50, 26)), (3, 2, (50, 26)), pytest.param(1, 3, (84, 42), marks=pytest.mark.slow)],
)
def test_siting_and_other_colour(
    nets: Nets, location: ChromaLocation, channels: int, scale: int, target: tuple[int, int]
) -> None:
    form = FrameFormat(PixelFormat.parse("yuv420p"), Matrix.BT601, ColorRange.FULL, location)
    network, model = nets[channels, scale]
    src = source(form.pixel_format, 33, 17)
    wanted = expected_planes(form, network, scale, src, target)
    compare(upscale(deploy(model, form, 33, 17, target), src), wanted, 1e-3)


def repeating(tmp_path: Path, channels: int) -> Model:
    """A 2x network that repeats every sample: what it makes has every edge where it was."""
    network = ECBSR(channels=channels, blocks=0, features=4).fold()
    with torch.no_grad():
        for p in network.parameters():
            p.zero_()
    return find_model(str(export_network(network, tmp_path / "repeat.onnx")), 2)


def place_of_edge(row: np.ndarray, peak: int) -> float:
    """Return where a step from 0 to peak lies, in samples from the border: what is dark, added up."""
    return float(np.sum(peak - row.astype(np.float64)) / peak)


@pytest.mark.parametrize("location", [ChromaLocation.LEFT, ChromaLocation.CENTER])
@pytest.mark.parametrize(
    ("length", "target"), [(64, 96), (40, 96), (51, 76), (51, 77), (101, 242), (1366, 1920)]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_edges_stay_in_place(
    tmp_path: Path, channels: int, length: int, target: int, location: ChromaLocation
) -> None:
    """To a sixteenth of a sample, in luma and chroma, across and down."""
    form = FrameFormat(PixelFormat.parse("yuv420p10"), chroma_location=location)
    model = repeating(tmp_path, channels)
    pixels, low, high = form.pixel_format, 256, 768
    offset = 0.25 if location is ChromaLocation.LEFT else 0.5
    middle = length // 2 - 1
    across = [np.full((4, length), low), *(np.full((2, -(-length // 2)), low) for _ in "uv")]
    for plane, at in zip(across, (middle, middle // 2, middle // 2), strict=True):
        plane[:, at:] = high
    src = tuple(plane.astype(pixels.dtype) for plane in across)
    for turned in (False, True):
        planes = tuple(np.ascontiguousarray(p.T) for p in src) if turned else src
        if turned and location is ChromaLocation.LEFT:
            offset = 0.5  # only across is chroma moved
        size, goal = ((4, length), (8, target)) if turned else ((length, 4), (target, 8))
        got = upscale(deploy(model, form, *size, goal), planes)
        ratio = Fraction(target, length)
        luma, chroma, _ = ((p.T if turned else p)[len(p.T if turned else p) // 2] for p in got)
        shown = place_of_edge(np.clip(luma.astype(float), low, high) - low, high - low)
        assert abs(shown - middle * ratio) < 1 / 16
        # In chroma samples: the edge lies half a sample before the first bright one.
        where = (middle // 2 - 0.5 + offset) * ratio - offset + 0.5
        shown = place_of_edge(np.clip(chroma.astype(float), low, high) - low, high - low)
        assert abs(shown - where) < 1 / 16


@pytest.mark.parametrize(
    ("name", "chroma"), [("gray", "bicubic"), ("yuv420p12", "bicubic"), ("gbrp", "nearest")]
)
@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_bf16_leaves_the_codes_and_the_chroma_alone(
    tmp_path: Path, name: str, chroma: str, precision: str
) -> None:
    """With an empty network all that is left is the resampling, which must not be done in bf16."""
    if precision not in BACKEND.availability().precisions:
        pytest.skip("this CPU has no bf16")
    form = FrameFormat(PixelFormat.parse(name), chroma=chroma)  # type: ignore[arg-type]
    model = repeating(tmp_path, 3 if name == "gbrp" else 1)
    src = source(form.pixel_format, 46, 30)
    got = upscale(deploy(model, form, 46, 30, (69, 44)), src, precision)
    for plane, one, factor in zip(got, src, (1, 2, 2), strict=False):
        small = 1 if plane.shape == got[0].shape else factor
        if small == 1:
            made = one.repeat(2, 0).repeat(2, 1).astype(np.float64)
            axes = [Axis.across(m, t, LANCZOS) for m, t in zip(made.shape, plane.shape, strict=True)]
        else:
            made = one.astype(np.float64)
            steps = (Fraction(30, 44), Fraction(46, 69))
            offsets = (Fraction(1, 2), Fraction(1, 4))
            axes = [
                Axis(m, t, step, (step - 1) * o, KEYS)
                for m, t, step, o in zip(made.shape, plane.shape, steps, offsets, strict=True)
            ]
        down, across = (dense(axis) for axis in axes)
        wanted = np.rint(np.clip(down @ made @ across.T, 0, form.pixel_format.peak))
        difference = np.abs(plane - wanted)
        assert difference.max() <= 1
        assert np.count_nonzero(difference) <= 2e-3 * difference.size


def dense(axis: Axis) -> np.ndarray:
    matrix = np.zeros((axis.target, axis.source))
    indices, weights = axis.taps()
    for index, weight in zip(indices, weights, strict=True):
        np.add.at(matrix, (np.arange(axis.target), index), weight)
    return matrix


@settings(max_examples=60, deadline=None)
@given(source=st.integers(1, 400), target=st.integers(1, 900), kernel=st.sampled_from([KEYS, LANCZOS, BOX]))
def test_filters_keep_flat_areas_and_their_mirror_image(source: int, target: int, kernel: object) -> None:
    axis = Axis.across(source, target, kernel)  # type: ignore[arg-type]
    matrix = dense(axis)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(matrix, matrix[::-1, ::-1], atol=1e-9)
    for row, weights in enumerate(matrix):
        place = row * axis.step + axis.start
        used = np.flatnonzero(weights)
        assert used[0] >= min(max(place - axis.reach, 0), source - 1) - 1e-9
        assert used[-1] <= max(min(place + axis.reach, source - 1), 0) + 1e-9


# ---- whole scales ----------------------------------------------------------------------------------

DIGESTS = {
    (1, 2, "yuv420p", "bicubic"): "8b9fd676083f6bb9ce79c79008123d79fd6ce35edbda24298aae999d5cda02dd",
    (1, 2, "yuv420p", "nearest"): "6de7e2d65d316d2d110618f3439966c9ce089b9bb23578540c8017c8820cfd1e",
    (1, 2, "yuva420p", "bicubic"): "d8ad0a9ddb4967c267055ba439e4d83acb46440c046e0ad853ffdfc3d9eaab9f",
    (1, 3, "yuv422p10", "bicubic"): "08c44fa7160e3b6314d0417764ae6eeb59236f7ee38dd191712ab0207dcf8161",
    (1, 3, "gray16", "bicubic"): "d27ac4115525adb5dbcff7e22a645b82bec54e29172738ce2f68784ab4c07224",
}
"""As they were before there were other scales: a compiled engine is named after its graph."""


def tiny(path: Path, channels: int, scale: int) -> Path:
    """Write a network that depends on no generator of random numbers."""

    def weights(name: str, shape: tuple[int, ...], unit: int) -> onnx.TensorProto:
        values = (np.arange(np.prod(shape)) % 7 - 3) / unit
        return numpy_helper.from_array(values.reshape(shape).astype(np.float32), name)

    made = channels * scale * scale
    stored = [
        weights("a", (4, channels, 3, 3), 32),
        weights("b", (4,), 64),
        weights("c", (made, 4, 3, 3), 64),
        weights("d", (made,), 128),
    ]
    nodes = [
        helper.make_node("Conv", ["input", "a", "b"], ["h"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Conv", ["r", "c", "d"], ["f"], pads=[1, 1, 1, 1]),
    ]
    if channels == 1:
        nodes.append(helper.make_node("Add", ["f", "input"], ["s"]))
    nodes.append(
        helper.make_node("DepthToSpace", [nodes[-1].output[0]], ["output"], blocksize=scale, mode="CRD")
    )
    ends = [
        helper.make_tensor_value_info(name, 1, [1, channels, f"H{mark}", f"W{mark}"])
        for name, mark in (("input", ""), ("output", "2"))
    ]
    graph = helper.make_graph(nodes, "tiny", ends[:1], ends[1:], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path


@pytest.mark.parametrize("key", DIGESTS, ids=str)
def test_whole_scales_have_the_graphs_they_had(tmp_path: Path, key: tuple[int, int, str, str]) -> None:
    channels, scale, name, chroma = key
    model = find_model(str(tiny(tmp_path / "t.onnx", channels, scale)), scale)
    form = FrameFormat(PixelFormat.parse(name), chroma=chroma)  # type: ignore[arg-type]
    plain = deploy(model, form, 37, 22)
    assert plain.digest == DIGESTS[key] == hashlib.sha256(plain.model_bytes).hexdigest()


@pytest.mark.parametrize("name", ["yuv420p", "yuva420p", "gbrp", "gray"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_target_that_is_the_networks_own_changes_nothing(nets: Nets, channels: int, name: str) -> None:
    form = FrameFormat(PixelFormat.parse(name))
    model = nets[channels, 2][1]
    plain = deploy(model, form, 37, 22)
    assert deploy(model, form, 37, 22, (74, 44)) == plain
    assert deploy(model, form, 37, 22, (74, 45)).digest != plain.digest


@pytest.mark.parametrize("target", [(15, 40), (40, 0), (1 << 21, 40)])
def test_targets_that_are_none(nets: Nets, target: tuple[int, int]) -> None:
    with pytest.raises(OptionsError, match="cannot become"):
        deploy(nets[1, 2][1], FrameFormat(PixelFormat.parse("gray")), 16, 16, target)
