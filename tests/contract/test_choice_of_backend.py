"""Which backend a job gets, and what it is told."""

import numpy as np
import pytest
import torch

from vidsr import kernels
from vidsr.backends import SessionOptions, choose_backend, get_backend
from vidsr.backends import openvino as openvino_backend
from vidsr.errors import BackendUnavailableError, EngineBuildError, OptionsError
from vidsr.frame import PixelFormat
from vidsr.models import Deployed, FrameFormat, Model, deploy, find_model
from vidsr.networks.ecbsr import ECBSR
from vidsr.networks.export import export_network


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("models") / "small.onnx"
    return find_model(str(export_network(ECBSR(blocks=0, features=4), path)), 2)


@pytest.fixture(scope="module")
def deployed(model: Model) -> Deployed:
    return _deployed(model, "yuv420p")


def _deployed(model: Model, name: str) -> Deployed:
    return deploy(model, FrameFormat(PixelFormat.parse(name)), 34, 22)


def test_unknown_backends() -> None:
    with pytest.raises(OptionsError, match="did you mean openvino"):
        choose_backend("openvin")
    with pytest.raises(OptionsError, match="there are: auto, "):
        choose_backend("cuda")


def test_auto_takes_the_first_that_can_and_says_why(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, why = choose_backend("auto", deployed.rows)
    if kernels.missing():
        assert backend.name == "openvino"
        assert "not kernel (vidsr was installed without its compiled kernels" in why
    else:
        assert backend.name == "kernel"
    assert backend.name in why
    other, why = choose_backend("auto", "it is no stack")
    assert other.name == "openvino"
    assert "not kernel (" in why
    assert choose_backend("nearest")[0].name == "nearest"
    monkeypatch.setattr(openvino_backend.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(BackendUnavailableError, match=r"kernel \(.*openvino \(.*not installed") as caught:
        choose_backend("auto", "it is no stack")
    assert "pip install openvino" in str(caught.value.hint)
    with pytest.raises(BackendUnavailableError, match="cannot be used here"):
        choose_backend("openvino")


def test_auto_looks_for_device_and_precision(deployed: Deployed) -> None:
    rows = deployed.rows
    with pytest.raises(BackendUnavailableError, match=r"openvino \(no device 'NPU'\)") as caught:
        choose_backend("auto", rows, SessionOptions(device="NPU"))
    assert caught.value.hint == "'vidsr doctor' lists devices and precisions"
    assert choose_backend("auto", rows, SessionOptions(precision="f32"))[0].name in ("kernel", "openvino")


def test_without_a_job_auto_decides_anew(deployed: Deployed, model: Model) -> None:
    automatic, _ = choose_backend("auto")
    assert automatic.availability().usable
    other = _deployed(model, "gbrp")
    for graph in (deployed, other):
        pixels = graph.format.pixel_format
        src, dst = pixels.allocate(34, 22), pixels.allocate(68, 44)
        for plane in dst:
            plane.fill(3)
        one = automatic.open(graph, SessionOptions())
        one.submit(src, dst).result()
        one.close()
        assert all(np.count_nonzero(plane != 3) > plane.size // 2 for plane in dst)


@pytest.mark.usefixtures("kernel")
def test_a_compiled_kernel_refuses_what_it_cannot_do(model: Model) -> None:
    other = _deployed(model, "gbrp")
    with pytest.raises(EngineBuildError, match="RGB frames"):
        get_backend("kernel").open(other, SessionOptions())
    with pytest.raises(BackendUnavailableError, match="RGB frames"):
        choose_backend("kernel", other.rows)
    with pytest.raises(BackendUnavailableError, match="no device 'gpu'"):
        get_backend("kernel").resolve(SessionOptions(device="gpu"))
    with pytest.raises(BackendUnavailableError, match="no bf16 for the backend kernel on portable"):
        get_backend("kernel").resolve(SessionOptions(device="portable", precision="bf16"))
    assert get_backend("kernel").resolve(SessionOptions(device="portable"))["path"] == "portable"
    for path in kernels.paths():
        if path.precision == "int8":
            with pytest.raises(BackendUnavailableError, match=f"on {path.name}") as caught:
                get_backend("kernel").resolve(SessionOptions(device=path.name))
            assert caught.value.hint == "use int8"


def test_without_a_compiler(deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an installation without the extension does."""
    why = "vidsr was installed without its compiled kernels, for want of a C compiler (no module)"
    monkeypatch.setattr(kernels, "missing", lambda: why)
    found = get_backend("kernel").availability()
    assert not found.usable
    assert found.detail == why
    with pytest.raises(BackendUnavailableError, match="for want of a C compiler"):
        choose_backend("kernel", deployed.rows)
    backend, told = choose_backend("auto", deployed.rows)
    assert backend.name == "openvino"
    assert f"not kernel ({why})" in told
