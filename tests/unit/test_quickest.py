"""Which of a GPU's two backends a job gets, told by stubs that enlarge by repeating."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from vidsr import quickest as module
from vidsr.backends.base import SessionOptions
from vidsr.backends.nearest import NearestBackend
from vidsr.errors import BackendUnavailableError, EngineBuildError
from vidsr.frame import PixelFormat
from vidsr.job import Job
from vidsr.models import FrameFormat, find_model
from vidsr.models.deploy import Deployed
from vidsr.quickest import quickest
from vidsr.runtime import Runtime
from vidsr.upscaler import Upscaler

FORM = FrameFormat(PixelFormat.parse("gray"))
SIZES = ((32, 20), (64, 40))


class Stub(NearestBackend):
    def __init__(self, name: str, *, kept: bool = True, error: Exception | None = None) -> None:
        self.name, self.engine, self.error = name, kept, error

    def resolve(self, options: SessionOptions) -> Mapping[str, str]:
        if self.error is not None:
            raise self.error
        return {"backend": self.name, "device": "cuda:0"}

    def kept(self, deployed: Deployed, options: SessionOptions) -> bool:
        return self.engine


class Race:
    """Fused and TensorRT with speeds in frames a second."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, rival: Stub, **speeds: float) -> None:
        self.cache, self.speeds, self.measured = folder / "backends.json", speeds, []
        self.fused = Stub("fused")
        patch.setattr(module, "get_backend", lambda name: rival)
        patch.setattr(module, "ahead_backend", lambda name: rival)
        self.failure: Exception | None = None
        self._name = ""

    def measure(self, upscaler: Upscaler) -> float:
        if self.failure is not None:
            raise self.failure
        name = ["fused", "tensorrt"][len(self.measured) % 2]
        self.measured.append(name)
        return self.speeds[name]

    def run(self, backend: str = "auto") -> Runtime:
        job = Job(source="x.mp4", backend=backend)
        model = find_model("ecbsr", 2)
        session = SessionOptions()
        first = Runtime(model, self.fused, "the first that can", session, self.fused.resolve(session))
        return quickest(job, first, FORM, *SIZES, cache=self.cache, measure=self.measure)


def test_the_faster_is_taken_and_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    race = Race(tmp_path, monkeypatch, Stub("tensorrt"), fused=100.0, tensorrt=300.0)
    found = race.run()
    assert found.backend.name == "tensorrt"
    assert found.resolved == {"backend": "tensorrt", "device": "cuda:0"}
    assert found.reason == "tensorrt: of frames a second fused made 100, tensorrt made 300 (measured now)"
    count = len(race.measured)
    assert race.run().reason.endswith("(remembered)")
    assert len(race.measured) == count


def test_the_rule_stays_unless_the_other_is_clearly_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    race = Race(tmp_path, monkeypatch, Stub("tensorrt"), fused=100.0, tensorrt=102.0)
    assert race.run().backend.name == "fused"


@pytest.mark.parametrize(
    "rival", [Stub("tensorrt", kept=False), Stub("tensorrt", error=BackendUnavailableError("no"))]
)
def test_nobody_waits_for_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rival: Stub) -> None:
    race = Race(tmp_path, monkeypatch, rival, fused=1.0, tensorrt=300.0)
    found = race.run()
    assert (found.backend.name, found.reason) == ("fused", "the first that can")
    assert not race.measured
    assert not race.cache.exists()


def test_what_was_asked_for_is_not_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    race = Race(tmp_path, monkeypatch, Stub("tensorrt"), fused=1.0, tensorrt=300.0)
    assert race.run("fused").backend.name == "fused"
    assert not race.measured


def test_a_failure_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    race = Race(tmp_path, monkeypatch, Stub("tensorrt"), fused=1.0, tensorrt=300.0)
    race.failure = EngineBuildError("the GPU fell off")
    found = race.run()
    assert found.backend.name == "fused"
    assert found.reason == "the first that can; not compared with tensorrt (the GPU fell off)"
