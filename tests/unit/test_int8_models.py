"""A model's int8 file: verified like the other, deployed like the other, and run in integers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vidsr.backends import SessionOptions, openvino
from vidsr.backends.openvino import BACKEND
from vidsr.errors import EngineBuildError, ModelError, OptionsError, WeightsError
from vidsr.evaluation.calibration import Patches, calibrated
from vidsr.evaluation.gate import Loss, passes
from vidsr.evaluation.offering import staged
from vidsr.evaluation.through import opened
from vidsr.frame import PixelFormat, Planes
from vidsr.job import Job
from vidsr.models import Deployed, FrameFormat, Model, deploy, find_model
from vidsr.networks.ecbsr import ECBSR
from vidsr.networks.export import export_network
from vidsr.runtime import Runtime, choose_runtime
from vidsr.upscaler import Upscaler, UpscalerOptions

INT8 = SessionOptions(precision="int8", threads=1, in_flight=1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A small network with both files."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(5)
    network = ECBSR(blocks=2, features=8).fold()
    with torch.no_grad():
        network.kernels[-1].mul_(0.3)
    plain = find_model(str(export_network(network, folder / "n.onnx")), 2)
    low = np.random.default_rng(0).random((8, 1, 24, 24), dtype=np.float32)
    high = low.repeat(2, axis=2).repeat(2, axis=3)
    made = staged(plain, calibrated(plain.proto, Patches(low, high)).graph, folder)
    return replace(made, precision="f32")


def source(form: FrameFormat) -> Planes:
    pixels, rng = form.pixel_format, np.random.default_rng(1)
    made = []
    for rows, columns in pixels.plane_shapes(40, 32):
        ramp = np.add.outer(np.arange(rows), np.arange(columns)) / (rows + columns)
        noisy = (0.2 + 0.5 * ramp + rng.normal(0, 0.03, ramp.shape)).clip(0, 1)
        made.append((noisy * pixels.peak).astype(pixels.dtype))
    return tuple(made)


def upscale(deployed: Deployed, src: Planes, options: SessionOptions) -> Planes:
    made = deployed.format.pixel_format.allocate(deployed.out_width, deployed.out_height)
    session = BACKEND.open(deployed, options)
    session.submit(src, made).result()
    session.close()
    return made


@pytest.mark.parametrize("name", ["gray", "yuv420p", "yuv420p10", "gbrp"])
def test_frames_of_any_depth(model: Model, name: str) -> None:
    form = FrameFormat(PixelFormat.parse(name))
    src, exact = source(form), SessionOptions(precision="f32", threads=1, in_flight=1)
    fine = deploy(model, form, 40, 32)
    coarse = deploy(model.at("int8"), form, 40, 32)
    assert (fine.stored, coarse.stored) == ("f32", "int8")
    assert (fine.halo, fine.align, fine.output_shapes) == (coarse.halo, coarse.align, coarse.output_shapes)
    wanted, made = upscale(fine, src, exact), upscale(coarse, src, INT8)
    step = (form.pixel_format.peak + 1) / 256
    for i, (one, other) in enumerate(zip(wanted, made, strict=True)):
        off = np.abs(one.astype(int) - other.astype(int)) / step
        if i == 0 or name == "gbrp":
            assert 0 < off.mean() < 1
            assert off.max() < 8
        else:
            assert off.max() <= 1  # chroma does not go through the network


def test_convolutions_run_in_integers(model: Model) -> None:
    """Otherwise int8 would be slower than f32: the same sums, and rounding between them."""
    core = openvino._core()
    deployed = deploy(model.at("int8"), FrameFormat(PixelFormat.parse("yuv420p10")), 64, 48)
    compiled = core.compile_model(core.read_model(deployed.model_bytes), "CPU")
    info = [node.get_rt_info() for node in compiled.get_runtime_model().get_ordered_ops()]
    found = [
        str(i["runtimePrecision"].astype(str)) for i in info if i["layerType"].astype(str) == "Convolution"
    ]
    assert sorted(p in ("u8", "i8") for p in found) == [False, True, True, True]  # the first takes codes
    kinds = {str(i["layerType"].astype(str)) for i in info}
    assert not {"FakeQuantize", "PRelu"} & kinds  # all went into the convolutions


def test_the_session_must_fit_the_graph(model: Model) -> None:
    form = FrameFormat(PixelFormat.parse("gray"))
    with pytest.raises(EngineBuildError, match="not of an int8 file"):
        BACKEND.open(deploy(model, form, 40, 32), INT8)
    resolved = BACKEND.resolve(INT8)
    assert resolved["precision"] == "int8"
    assert resolved["beside_int8"] in ("f32", "bf16")
    assert resolved["int8_sums"] in ("integers", "floats")
    assert "beside_int8" not in BACKEND.resolve(SessionOptions())


def test_upscalers_take_the_file_that_the_precision_means(model: Model) -> None:
    form = FrameFormat(PixelFormat.parse("gray"))
    src = source(form)
    wanted = upscale(deploy(model.at("int8"), form, 40, 32), src, INT8)
    made = form.pixel_format.allocate(80, 64)
    with Upscaler(model, form, 40, 32, BACKEND, UpscalerOptions(session=INT8)) as upscaler:
        upscaler.submit(src, made).result()
    np.testing.assert_array_equal(made[0], wanted[0])
    plain = UpscalerOptions(session=SessionOptions(precision="f32"))
    with opened(model.at("int8"), form, 40, 32, 2, BACKEND, plain) as enlarge:
        np.testing.assert_array_equal(enlarge(src)[0], wanted[0])


def test_the_file_must_be_the_card_s(model: Model, tmp_path: Path) -> None:
    copy = replace(model, path=tmp_path / "n.onnx")
    file = tmp_path / model.at("int8").file.name
    with pytest.raises(ModelError, match=r"n\.int8\.onnx: cannot read this model"):
        _ = copy.at("int8").proto
    file.write_bytes(model.at("int8").file.read_bytes() + b"\x00")
    with pytest.raises(WeightsError, match=r"has sha256 .* its card says"):
        _ = copy.at("int8").proto
    file.write_bytes(model.at("int8").file.read_bytes())
    assert copy.at("int8").proto.graph.node
    assert copy.at("int8").sha256 != copy.sha256


def test_a_model_without_one_says_who_has_one(model: Model) -> None:
    spec = replace(model.spec, files={"f32": model.spec.files["f32"]})
    with pytest.raises(OptionsError, match="2x-n does not offer int8"):
        replace(model, spec=spec).at("int8")


def _runtime(job: Job, model: Model) -> Runtime:
    form = FrameFormat(PixelFormat.parse("yuv420p"))
    return choose_runtime(job, model, form, (32, 24), (64, 48))


def test_fast_is_int8_where_there_is_one(model: Model) -> None:
    fast = Job(source="a.mp4", fast=True)
    made = _runtime(fast, model)
    assert (made.session.precision, made.model.precision, made.notes) == ("int8", "int8", ())
    plain = _runtime(Job(source="a.mp4"), model)
    assert (plain.session.precision, plain.model.precision, plain.notes) == ("auto", "f32", ())
    lacking = replace(model, spec=replace(model.spec, files={"f32": model.spec.files["f32"]}))
    made = _runtime(fast, lacking)
    assert (made.session.precision, made.model.precision) == ("auto", "f32")
    assert made.notes == ("--fast is int8 where there is one; 2x-n does not offer it",)
    made = _runtime(replace(fast, backend="nearest"), model)
    assert made.session.precision == "auto"
    assert "the backend nearest has only" in made.notes[0]
    with pytest.raises(OptionsError, match="2x-n does not offer int8"):
        _runtime(Job(source="a.mp4", precision="int8"), lacking)
    with pytest.raises(OptionsError, match="--precision f32 is not"):
        Job(source="a.mp4", fast=True, precision="f32")


def test_the_gate_is_a_tenth_of_a_decibel() -> None:
    assert passes([Loss("set5", 37.1, 37.0), Loss("friday", 46.0, 46.2)])
    assert not passes([Loss("set5", 37.1, 37.1), Loss("friday", 46.0, 45.899)])
