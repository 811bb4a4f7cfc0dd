"""Builds an engine in a process of its own: it may crash, take all memory, or be stopped, and we go on."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from vidsr.errors import EngineBuildError

__all__ = ["BUILDER", "Made", "Progress", "Typed", "build_apart"]

BUILDER = "vidsr.backends.tensorrt.builder"
"""Module with ``build(typed, options, progress)``, which returns engine, timing_cache and layers."""

Progress = Callable[[str, int, int], bool]
"""Told a phase, a step and how many there are; False stops the work."""

_TICK_SECONDS = 0.5  # between two questions whether to go on
_GRACE_SECONDS = 3.0  # between asking a process to end and killing it
_LAST_LINES, _LAST_CHARS = 3, 300
_HINTS = {
    signal.SIGKILL: "the machine may have run out of memory: close other programs, or use smaller tiles",
    signal.SIGSEGV: "the runtime crashed: try another version of it, or --backend openvino",
}
_HINT = "try another version of the runtime or the driver, or --backend openvino"


class Typed(Protocol):
    """A graph with types, ready to be compiled; see `vidsr.models.half`."""

    @property
    def model_bytes(self) -> bytes:
        """Serialised ONNX."""

    @property
    def digest(self) -> str:
        """sha256 of `model_bytes`."""


@dataclass(frozen=True, slots=True)
class Made:
    """What a builder made."""

    engine: bytes = field(repr=False)
    timing_cache: bytes = field(repr=False)
    """What the runtime measured, for the next engine; may be empty."""
    layers: tuple[dict[str, Any], ...] = ()
    """What the builder says of the engine's layers."""


def build_apart(
    typed: Typed, options: Any, progress: Progress, *, folder: Path, builder: str = BUILDER
) -> Made:
    """Build an engine in another process, and wait for it.

    Args:
        typed: The graph.
        options: The builder's `BuildOptions`; both are pickled.
        progress: Called on this thread at every step, and twice a second between them.
        folder: An empty folder that nobody else can read; whoever made it removes it.
        builder: See `BUILDER`.

    Raises:
        EngineBuildError: The builder refused, died, or was stopped by `progress`.
        KeyboardInterrupt: As it comes; the process is gone by then.
    """
    try:
        (folder / "request").write_bytes(pickle.dumps((typed, options)))
    except OSError as error:
        raise EngineBuildError(
            f"cannot write here ({error.strerror})",
            path=folder,
            hint="free some space; XDG_CACHE_HOME can name another folder",
        ) from error
    last: Mapping[str, Any] = {}
    with (folder / "log").open("wb") as log:
        reading, writing = os.pipe()
        try:
            process = _started([builder, str(folder), str(writing)], log.fileno(), writing)
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        try:
            for message in _messages(reading, process):
                if "phase" in message:
                    if not progress(message["phase"], message["step"], message["steps"]):
                        raise EngineBuildError(
                            "the building of an engine was stopped",
                            stage="inference",
                            hint="run the same command again: it begins anew",
                        )
                else:
                    last = message
            code = process.wait()
        finally:
            _end(process)
            os.close(reading)
    if code or "done" not in last:
        raise _failure(code, last, folder / "log")
    return _fetched(folder, last)


def _started(words: list[str], log: int, messages: int) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "vidsr.backends.tensorrt.child", *words],
            stdin=subprocess.PIPE,  # never written to: it closes when this process ends
            stdout=log,
            stderr=log,
            pass_fds=(messages,),
        )
    except OSError as error:
        raise EngineBuildError(f"no process for building can be started ({error.strerror})") from error


def _messages(pipe: int, process: subprocess.Popen[bytes]) -> Iterator[Mapping[str, Any]]:
    """Yield the process's messages until it has ended; while there are none, the latest step again."""
    step: Mapping[str, Any] = {"phase": "starting", "step": 0, "steps": 0}
    pending = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            ended = process.poll() is not None
            # A process that the builder left behind may hold the pipe open: the builder's end counts.
            if not selector.select(0 if ended else _TICK_SECONDS):
                if ended:
                    return
                yield step
                continue
            data = os.read(pipe, 1 << 16)
            if not data:
                return
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                message = json.loads(line)
                step = message if "phase" in message else step
                yield message


def _end(process: subprocess.Popen[bytes]) -> None:
    """Make sure that the process has ended: ask, then kill."""
    try:
        if process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE_SECONDS)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()


def _failure(code: int, last: Mapping[str, Any], log: Path) -> EngineBuildError:
    if "error" in last:
        return EngineBuildError(last["error"], stage="inference", hint=last["hint"] or _HINT)
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    said = " | ".join([line.strip() for line in lines if line.strip()][-_LAST_LINES:])[-_LAST_CHARS:]
    if code < 0:
        try:
            how = f"was killed by {signal.Signals(-code).name}"
        except ValueError:
            how = f"was killed by signal {-code}"
    else:
        how = f"ended with code {code}"
    return EngineBuildError(
        f"the process that built an engine {how}" + (f" ({said})" if said else ""),
        stage="inference",
        hint=_HINTS.get(-code, _HINT),  # type: ignore[call-overload]
    )


def _fetched(folder: Path, last: Mapping[str, Any]) -> Made:
    try:
        engine, timing = (folder / "engine").read_bytes(), (folder / "timing").read_bytes()
    except OSError as error:
        raise EngineBuildError(f"the engine cannot be read ({error.strerror})", stage="inference") from error
    if hashlib.sha256(engine).hexdigest() != last["done"]:
        raise EngineBuildError(
            "the engine is not what its builder made", stage="inference", hint="the disk may be full"
        )
    return Made(engine, timing, tuple(last["layers"]))
