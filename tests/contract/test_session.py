"""What every backend's sessions must do, run over all of them."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from vidsr.backends import BACKENDS, Backend, Session, SessionOptions, Ticket, get_backend
from vidsr.backends import openvino as openvino_backend
from vidsr.errors import BackendUnavailableError, EngineBuildError, InferenceError
from vidsr.frame import PixelFormat, Planes
from vidsr.models import Deployed, FrameFormat, Model, deploy, find_model
from vidsr.networks.ecbsr import ECBSR
from vidsr.networks.export import export_network

WIDTH, HEIGHT, SCALE = 34, 22, 2


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("models") / "small.onnx"
    return find_model(str(export_network(ECBSR(blocks=0, features=4), path)), SCALE)


@pytest.fixture(scope="module", params=["yuv420p", "yuv422p10"])
def deployed(request: pytest.FixtureRequest, model: Model) -> Deployed:
    return deploy(model, FrameFormat(PixelFormat.parse(request.param)), WIDTH, HEIGHT)


@pytest.fixture(params=sorted(BACKENDS))
def backend(request: pytest.FixtureRequest) -> Backend:
    found = get_backend(request.param)
    availability = found.availability()
    if not availability.usable:
        pytest.skip(availability.detail)
    return found


@pytest.fixture
def session(backend: Backend, deployed: Deployed) -> Iterator[Session]:
    opened = backend.open(deployed, SessionOptions())
    yield opened
    opened.close()


def _source(deployed: Deployed, seed: int = 0) -> Planes:
    pixels = deployed.format.pixel_format
    rng = np.random.default_rng(seed)
    return tuple(rng.integers(0, pixels.peak + 1, s).astype(pixels.dtype) for s in deployed.input_shapes)


def _target(deployed: Deployed) -> Planes:
    return deployed.format.pixel_format.allocate(WIDTH * SCALE, HEIGHT * SCALE)


def _upscale(session: Session, deployed: Deployed, src: Planes) -> Planes:
    dst = _target(deployed)
    session.submit(src, dst).result()
    return dst


def _equal(one: Planes, other: Planes) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_writes_the_target_in_place(session: Session, deployed: Deployed) -> None:
    src = _source(deployed)
    kept = tuple(p.copy() for p in src)
    dst = _target(deployed)
    for plane in dst:
        plane.fill(7)
    ticket = session.submit(src, dst)
    assert isinstance(ticket, Ticket)
    assert isinstance(session, Session)
    assert ticket.result() is None
    assert ticket.result() is None
    assert all(np.count_nonzero(p != 7) > p.size // 2 for p in dst)
    assert _equal(src, kept)


def test_no_memory_between_frames(session: Session, deployed: Deployed) -> None:
    first = _upscale(session, deployed, _source(deployed))
    _upscale(session, deployed, _source(deployed, 1))
    assert _equal(_upscale(session, deployed, _source(deployed)), first)


def test_padded_rows_and_views(session: Session, deployed: Deployed) -> None:
    src = _source(deployed)
    expected = _upscale(session, deployed, src)
    padded = tuple(np.pad(p, ((1, 2), (3, 13)))[1:-2, 3:-13] for p in src)
    wide = tuple(np.full((h + 3, w + 64), 9, p.dtype) for p in expected for h, w in [p.shape])
    dst = tuple(p[1:-2, 32:-32] for p in wide)
    assert not any(p.flags.c_contiguous for p in (*padded, *dst))
    session.submit(padded, dst).result()
    assert _equal(dst, expected)
    for plane in wide:
        assert (plane[0] == 9).all()
        assert (plane[-2:] == 9).all()
        assert (plane[:, :32] == 9).all()
        assert (plane[:, -32:] == 9).all()


def test_read_only_sources(session: Session, deployed: Deployed) -> None:
    src = _source(deployed)
    for plane in src:
        plane.flags.writeable = False
    _upscale(session, deployed, src)


@pytest.mark.parametrize("in_flight", [1, 3])
def test_many_in_flight_come_back_right(backend: Backend, deployed: Deployed, in_flight: int) -> None:
    one = backend.open(deployed, SessionOptions(in_flight=in_flight))
    assert one.in_flight >= 1
    sources = [_source(deployed, i) for i in range(12)]
    expected = [_upscale(one, deployed, s) for s in sources]
    targets = [_target(deployed) for _ in sources]
    tickets = [one.submit(s, t) for s, t in zip(sources, targets, strict=True)]
    for ticket in reversed(tickets):  # more than in_flight, and waited for in any order
        ticket.result()
    assert all(_equal(t, e) for t, e in zip(targets, expected, strict=True))
    one.close()


def test_threads_share_a_session(session: Session, deployed: Deployed) -> None:
    sources = [_source(deployed, i) for i in range(16)]
    expected = [_upscale(session, deployed, s) for s in sources]
    start = threading.Barrier(4)

    def work(first: int) -> bool:
        start.wait()
        return all(_equal(_upscale(session, deployed, sources[i]), expected[i]) for i in range(first, 16, 4))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))


def test_close_waits_and_then_refuses(backend: Backend, deployed: Deployed) -> None:
    session = backend.open(deployed, SessionOptions(in_flight=2))
    src = _source(deployed)
    expected = _upscale(session, deployed, src)
    targets = [_target(deployed) for _ in range(4)]
    tickets = [session.submit(src, t) for t in targets]
    session.close()
    assert all(_equal(t, expected) for t in targets)
    for ticket in tickets:
        ticket.result()
    session.close()
    with pytest.raises(InferenceError, match="closed"):
        session.submit(src, targets[0])


def test_wrong_planes_are_refused(session: Session, deployed: Deployed) -> None:
    src, dst = _source(deployed), _target(deployed)
    locked = tuple(p.copy() for p in dst)
    locked[-1].flags.writeable = False
    wrong = [
        (src[:-1], dst),
        (src, dst[:-1]),
        ((src[0][:-1], *src[1:]), dst),
        (src, src),
        ((src[0].astype(np.float32), *src[1:]), dst),
        ((src[0][None], *src[1:]), dst),
        (src, locked),
    ]
    for one, other in wrong:
        with pytest.raises(InferenceError):
            session.submit(one, other)  # type: ignore[arg-type]
    _upscale(session, deployed, src)  # nothing of it stuck


def test_targets_that_are_no_whole_multiple(backend: Backend, model: Model) -> None:
    pixels = PixelFormat.parse("yuv420p")
    deployed = deploy(model, FrameFormat(pixels), WIDTH, HEIGHT, (51, 34))
    src, dst = _source(deployed), pixels.allocate(51, 34)
    for plane in dst:
        plane.fill(7)
    if backend.lacks(deployed.rows):
        with pytest.raises(EngineBuildError, match="scale"):
            backend.open(deployed, SessionOptions())
        return
    session = backend.open(deployed, SessionOptions())
    session.submit(src, dst).result()
    assert all(np.count_nonzero(p != 7) > p.size // 2 for p in dst)
    with pytest.raises(InferenceError, match="51x34"):
        session.submit(src, pixels.allocate(WIDTH * SCALE, HEIGHT * SCALE))
    session.close()


def test_options_that_are_not_there(backend: Backend, deployed: Deployed) -> None:
    with pytest.raises(BackendUnavailableError):
        backend.open(deployed, SessionOptions(device="abacus"))
    if "bf16" not in backend.availability().precisions:
        with pytest.raises(BackendUnavailableError):
            backend.resolve(SessionOptions(precision="bf16"))


def test_what_decides_the_bytes_is_named(backend: Backend) -> None:
    resolved = backend.resolve(SessionOptions())
    assert resolved["backend"] == backend.name
    assert "auto" not in resolved.values()
    assert all(isinstance(v, str) for v in resolved.values())


def test_each_precision_runs(backend: Backend, deployed: Deployed) -> None:
    for precision in set(backend.availability().precisions) - {"int8"}:  # which needs an int8 file's graph
        options = SessionOptions(precision=precision, threads=1)  # type: ignore[arg-type]
        if precision == "int8":  # this model has no file for it
            with pytest.raises(EngineBuildError):
                backend.open(deployed, options)
            continue
        session = backend.open(deployed, options)
        _upscale(session, deployed, _source(deployed))
        session.close()


def test_nearest_repeats_every_sample(deployed: Deployed) -> None:
    session = get_backend("nearest").open(deployed, SessionOptions())
    src = _source(deployed)
    for made, one in zip(_upscale(session, deployed, src), src, strict=True):
        wanted = one.repeat(SCALE, 0).repeat(SCALE, 1)[: made.shape[0], : made.shape[1]]
        np.testing.assert_array_equal(made, wanted)


def test_nearest_crops_odd_chroma(model: Model) -> None:
    deployed = deploy(model, FrameFormat(PixelFormat.parse("yuv420p")), 3, 5)
    src = tuple(np.arange(h * w, dtype=np.uint8).reshape(h, w) for h, w in deployed.input_shapes)
    dst = PixelFormat.parse("yuv420p").allocate(6, 10)
    get_backend("nearest").open(deployed, SessionOptions()).submit(src, dst).result()
    np.testing.assert_array_equal(dst[1], src[1].repeat(2, 0).repeat(2, 1)[:5, :3])


def test_a_failing_inference_is_raised_by_its_ticket(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = get_backend("openvino").open(deployed, SessionOptions(in_flight=1))
    run = openvino_backend._Request.run

    def fail(*_: object) -> None:
        raise RuntimeError("Exception from src/inference/foo.cpp:1:\nout of memory")

    monkeypatch.setattr(openvino_backend._Request, "run", fail)
    ticket = session.submit(_source(deployed), _target(deployed))
    for _ in range(2):
        with pytest.raises(InferenceError, match=r"OpenVINO failed \(out of memory\)") as caught:
            ticket.result()
        assert caught.value.stage == "inference"
    monkeypatch.setattr(openvino_backend._Request, "run", run)
    _upscale(session, deployed, _source(deployed))
    session.close()
