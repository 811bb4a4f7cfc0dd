"""OpenVINO's streams: other speeds, the same samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vidsr import concurrency
from vidsr.backends.base import SessionOptions
from vidsr.backends.openvino import BACKEND
from vidsr.concurrency import SHORT_FRAMES, Concurrency, choose_concurrency, rate_alone
from vidsr.frame import PixelFormat
from vidsr.job import NULL_OUTPUT, Job
from vidsr.models import FrameFormat, find_model
from vidsr.planning import Plan, make_plan
from vidsr.upscaler import Upscaler, UpscalerOptions

SIZE = (96, 64)


@pytest.mark.parametrize("precision", ["f32", "bf16"])
@pytest.mark.parametrize("model", ["2x-rfdn-s", "2x-imdn-rtc"])
def test_streams_do_not_change_a_sample(model: str, precision: str) -> None:
    if precision not in BACKEND.availability().precisions:
        pytest.skip(f"no {precision} here")
    pixels = PixelFormat.parse("yuv420p")
    rng = np.random.default_rng(1)
    sources = [pixels.allocate(*SIZE) for _ in range(3)]
    for source in sources:
        for plane in source:
            plane[:] = rng.integers(0, 256, plane.shape)
    made = []
    for streams, threads, frames in ((1, 2, 1), (1, 2, 2), (2, 2, 2), (3, 3, 3)):
        session = SessionOptions(precision=precision, threads=threads, streams=streams, in_flight=frames)
        options = UpscalerOptions(session=session)
        with Upscaler(find_model(model, 2), FrameFormat(pixels), *SIZE, BACKEND, options) as upscaler:
            results = [pixels.allocate(*upscaler.size_out) for _ in sources]
            tickets = [upscaler.submit(*pair) for pair in zip(sources, results, strict=True)]
            for ticket in tickets:
                ticket.result()
        made.append(b"".join(plane.tobytes() for result in results for plane in result))
    assert made[0].count(made[0][0]) < len(made[0])
    assert set(made) == {made[0]}


def test_as_many_streams_as_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from vidsr.backends import openvino
    from vidsr.models import deploy

    asked: list[tuple[int, int]] = []
    core = openvino._core()

    class Core:
        def __getattr__(self, name: str) -> object:
            return getattr(core, name)

        def compile_model(self, model: object, device: str, settings: dict[str, int]) -> object:
            asked.append((settings["NUM_STREAMS"], settings["INFERENCE_NUM_THREADS"]))
            return core.compile_model(model, device, settings)

    monkeypatch.setattr(openvino, "_core", Core)
    deployed = deploy(find_model("2x-rfdn-s", 2), FrameFormat(PixelFormat.parse("yuv420p")), *SIZE)
    for streams, threads in ((0, 2), (2, 2), (2, 1)):
        BACKEND.open(deployed, SessionOptions(streams=streams, threads=threads)).close()
    assert asked == [(1, 2), (2, 2), (1, 1)]


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Job, Plan]]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(concurrency, "usable_cores", lambda: 2)
    import av

    picture = tmp_path / "in.png"
    av.VideoFrame(64, 48, "rgb24").save(str(picture))

    def make(*, frames: int | None = 1000, backend: str = "openvino", **options: object) -> tuple[Job, Plan]:
        job = Job(source=picture, output=NULL_OUTPUT, model="2x-rfdn-s", backend=backend, **options)
        return job, replace(make_plan(job), expected_frames=frames)

    return make


Pairs = list[tuple[int, int]]


def _fake(speeds: dict[tuple[int, int], float | None], tried: Pairs) -> Callable[..., float | None]:
    def rate(job: Job, plan: Plan) -> float | None:
        tried.append((plan.session.streams, plan.session.in_flight))
        return speeds[tried[-1]]

    return rate


def test_the_fastest_is_taken_and_remembered(plan: Callable[..., tuple[Job, Plan]]) -> None:
    tried: list[tuple[int, int]] = []
    rate = _fake({(1, 2): 10.0, (1, 1): 9.0, (2, 2): 12.5}, tried)
    chosen = choose_concurrency(*plan(), measure=rate)
    assert (chosen.streams, chosen.in_flight) == (2, 2)
    assert tried == [(1, 2), (1, 1), (2, 2), (1, 2), (2, 2)]
    told = "2 streams, 2 frames in flight: of frames a second 1,2 made 10, 1,1 made 9, 2,2 made 12.5"
    assert chosen.reason == f"{told} (measured now)"
    again = choose_concurrency(*plan(frames=1), measure=rate)  # what is known is used in short jobs, too
    assert again == replace(chosen, reason=f"{told} (remembered)")
    assert len(tried) == 5


@pytest.mark.parametrize(
    "options",
    [{"frames": SHORT_FRAMES}, {"backend": "nearest"}, {"threads": 1}],
    ids=["short", "other", "one"],
)
def test_nothing_is_measured_where_it_would_not_pay(
    plan: Callable[..., tuple[Job, Plan]], options: dict[str, object]
) -> None:
    tried: list[tuple[int, int]] = []
    chosen = choose_concurrency(*plan(**options), measure=_fake({}, tried))
    assert (chosen.streams, chosen.in_flight, tried) == (0, 0, [])


def test_slow_networks_stay_with_the_rule(plan: Callable[..., tuple[Job, Plan]]) -> None:
    chosen = choose_concurrency(*plan(), measure=_fake({(1, 2): None}, []))
    assert chosen == Concurrency(0, 0, "one stream, two frames in flight: too slow to be tried")


def test_a_network_alone_has_a_rate(plan: Callable[..., tuple[Job, Plan]]) -> None:
    job, planned = plan()
    rate = rate_alone(job, planned)
    assert rate is not None
    assert 1 < rate < 100_000
