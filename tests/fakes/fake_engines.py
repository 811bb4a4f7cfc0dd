"""A builder and a backend of engines that need no GPU: an engine is text, and building takes what it is told.

`build` runs in the child process like the real one; ``python fake_engines.py FOLDER ...`` is a whole job.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from vidsr.backends.base import Availability
from vidsr.backends.engine_cache import EngineCache
from vidsr.backends.engine_key import Place
from vidsr.backends.engine_record import About, Engine
from vidsr.backends.tensorrt.gate import GateResult
from vidsr.backends.tensorrt.making import engine_for, key_for
from vidsr.errors import BackendUnavailableError, EngineBuildError

HERE = Path(__file__).parent
PLACE = Place("tensorrt", "10.13.2", "NVIDIA Test GPU", "9.0", "550.54")
GATE = GateResult(61.5, 3, 3, "nothing")
ABOUT = About(model_sha256="0" * 64, pixel_format="yuv420p", result="1920x1080", build_seconds=12.5)
DEPLOYED: Any = SimpleNamespace(
    model="2x-test",
    model_sha256="0" * 64,
    width=960,
    height=540,
    out_width=1920,
    out_height=1080,
    format=SimpleNamespace(pixel_format=SimpleNamespace(name="yuv420p")),
)


@dataclass(frozen=True)
class Typed:
    model_bytes: bytes = b"graph"

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.model_bytes).hexdigest()


@dataclass(frozen=True)
class Options:
    journal: str
    """File that every build adds its process's number to."""
    how: str = "well"
    seconds: float = 0.0
    timing_cache: bytes | None = None


@dataclass(frozen=True)
class Built:
    engine: bytes
    timing_cache: bytes
    layers: tuple[dict[str, str], ...] = ({"name": "conv", "precision": "fp16"},)


def build(typed: Typed, options: Options, progress: Callable[[str, int, int], bool]) -> Built:
    with Path(options.journal).open("a") as journal:
        journal.write(f"{os.getpid()}\n")
    print("the library says something")  # noqa: T201 - as libraries do
    sys.stdout.flush()
    if options.how == "holds the lock":
        progress("sleeping", 0, 1)
        ctypes.PyDLL(None).sleep(100)
    if options.how in ("segfault", "killed"):
        print("the library's last words", file=sys.stderr, flush=True)  # noqa: T201
        os.kill(os.getpid(), signal.SIGSEGV if options.how == "segfault" else signal.SIGKILL)
    if options.how == "refuses":
        raise EngineBuildError("layer conv is not supported", hint="leave it out")
    if options.how == "fails":
        raise RuntimeError("something unforeseen")
    if options.how == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    steps = 10
    for step in range(steps):
        progress("tactics", step + 1, steps)
        time.sleep(options.seconds / steps)
    return Built(b"engine of " + typed.model_bytes, (options.timing_cache or b"") + b"t")


@contextmanager
def importable() -> Iterator[None]:
    """Let the child process import this module."""
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE), before]))
    try:
        yield
    finally:
        os.environ["PYTHONPATH"] = before


def made(folder: Path, how: str = "well", seconds: float = 0.0, place: Place = PLACE, **more: Any) -> Engine:
    """Return the engine of the test's graph, kept in `folder`; `journal` lies in it."""
    given: dict[str, Any] = {"gate": lambda _: GATE} | more
    options = Options(str(folder / "journal"), how, seconds)
    with importable():
        return engine_for(
            DEPLOYED, Typed(), place, EngineCache(folder), options=options, builder="fake_engines", **given
        )


def name(place: Place = PLACE) -> str:
    return key_for(DEPLOYED, Typed(), place).name


def builds(folder: Path) -> list[int]:
    """Return the processes that have built, in order."""
    journal = folder / "journal"
    return [int(line) for line in journal.read_text().split()] if journal.exists() else []


def left(folder: Path) -> set[str]:
    """Return what is kept, without locks, journal and timings."""
    names = {path.name for path in folder.iterdir()} - {"locks", "journal"}
    return {one for one in names if not one.startswith("timing_")}


class FakeBackend:
    """Builds ahead with `build`; `usable` and `places` are for tests to change."""

    name = "fake"
    usable = True
    here = (PLACE,)
    how = "well"

    def availability(self) -> Availability:
        return Availability(self.usable, "here" if self.usable else "there is no driver")

    def places(self) -> Sequence[Place]:
        if not self.usable:
            raise BackendUnavailableError("there is no driver")
        return self.here

    def prepare(
        self, model: Any, frame_format: Any, sizes: Any, *, cache: Any, again: bool, **more: Any
    ) -> Any:
        from vidsr.models.deploy import deploy

        deployed = deploy(model, frame_format, *sizes[len(sizes) // 2])
        typed = Typed(deployed.model_bytes[:100] + deployed.digest.encode())
        journal = cache.folder.parent / "journal"
        options = Options(str(journal), self.how if sizes[0] != (64, 36) else "refuses")
        before = builds(cache.folder.parent)
        with importable():
            engine = engine_for(
                deployed,
                typed,
                self.here[0],
                cache,
                more["progress"],
                options=options,
                gate=lambda _: replace(GATE, frames=1),
                sizes=sizes,
                said=more["said"],
                again=again,
                builder="fake_engines",
            )
        return engine, builds(cache.folder.parent) != before


BACKEND = FakeBackend()


def main() -> None:
    """FOLDER HOW SECONDS: a job that wants the engine; prints what it got and what it was told."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    said: list[str] = []
    folder, how, seconds = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    engine = made(folder, how=how, seconds=seconds, said=said.append)
    print(json.dumps({"sha256": engine.record.sha256, "said": said}))  # noqa: T201


if __name__ == "__main__":
    import fake_engines  # the module that the child process knows, not __main__

    fake_engines.main()
