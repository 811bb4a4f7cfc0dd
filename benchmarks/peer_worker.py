"""One way to enlarge, warm, in a process of its own: what `benchmarks/peers.py` starts and asks for timings.

Its one argument is a JSON object: "kind" (vs, ort, torch, vidsr or net) and what that kind needs. It answers
on standard output, a JSON object a line: first {"ready": frames a second, roughly} or {"refused": reason},
then one answer to each line of standard input, such as {"do": "run", "frames": 60}. It ends where its input
ends.

It runs in two environments, so each library is imported where it is used and nothing of vidsr at the top.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SKIPPED = 8
"""Frames before the clock starts: queues fill, buffers are touched for the first time."""


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def codes(result: np.ndarray) -> np.ndarray:
    """Return what a network gives, in 0..1, as codes."""
    return np.rint(np.clip(result.squeeze(), 0, 1) * 255).astype(np.uint8)


class VapourSynth:
    """The whole pipeline of vs-mlrt: bestsource, luma through the network, chroma by bicubic."""

    def __init__(self, task: dict[str, Any]) -> None:
        import vapoursynth as vs

        core = vs.core
        # Filters block while the network works: one thread for each stream, and one for all else.
        core.num_threads = max(cores(), task["streams"] + 1)
        source = core.bs.VideoSource(task["clip"], cachemode=0)
        planes = [core.std.ShufflePlanes(source, plane, vs.GRAY) for plane in range(3)]
        # Full range in and out: codes over 255, nothing else. What the frames say of it would come first.
        luma = core.std.RemoveFrameProps(planes[0], ["_Range", "_ColorRange"])
        luma = core.resize.Point(luma, format=vs.GRAYS, range_in_s="full", range_s="full")
        self.versions = {"vapoursynth": str(vs.__version__.release_major)}
        if task["plugin"] == "ov":
            hints = {"INFERENCE_PRECISION_HINT": task["precision"], "NUM_STREAMS": task["streams"]}
            if not task["pinned"]:
                hints["ENABLE_CPU_PINNING"] = "NO"
            large = core.ov.Model(luma, network_path=task["model"], device="CPU", config=lambda: hints)
            self.versions |= {"vs-mlrt": text(core.ov.Version()["version"])}
            self.versions |= {"openvino": text(core.ov.Version()["openvino_version"])}
        else:
            large = core.ort.Model(
                luma, network_path=task["model"], provider="CPU", num_streams=task["streams"], verbosity=1
            )
            self.versions |= {"vs-mlrt": text(core.ort.Version()["version"])}
            self.versions |= {"onnxruntime": text(core.ort.Version()["onnxruntime_version"])}
        large = core.resize.Point(large, format=vs.GRAY8, range_in_s="full", range_s="full")
        chroma = [core.resize.Bicubic(p, p.width * 2, p.height * 2) for p in planes[1:]]
        self.result = core.std.ShufflePlanes([large, *chroma], [0, 0, 0], vs.YUV)
        self.core, self.encode = core, task["case"] == "x264"
        self.ahead = max(core.num_threads, 2 * task["streams"])

    def run(self, frames: int) -> float:
        """Return frames a second."""
        clip = self.result[:frames]
        self.core.clear_cache()
        if self.encode:
            return self._encoded(clip)
        marks = [time.perf_counter() for _ in clip.frames(prefetch=self.ahead, close=True)]
        return (len(marks) - SKIPPED) / (marks[-1] - marks[SKIPPED - 1])

    def _encoded(self, clip: Any) -> float:
        marks: list[float] = []

        def note(done: int, _: int) -> None:
            if done > len(marks):
                marks.append(time.perf_counter())

        with tempfile.TemporaryDirectory() as folder:
            encoder = "-c:v libx264 -preset veryfast -crf 18".split()
            command = ["ffmpeg", "-v", "error", "-f", "yuv4mpegpipe", "-i", "-", *encoder]
            with subprocess.Popen([*command, f"{folder}/out.mkv"], stdin=subprocess.PIPE) as process:
                assert process.stdin is not None
                clip.output(process.stdin, y4m=True, progress_update=note, prefetch=self.ahead)
                process.stdin.close()
                if process.wait():
                    raise RuntimeError("ffmpeg failed")
                ended = time.perf_counter()
        return (len(marks) - SKIPPED) / (ended - marks[SKIPPED - 1])

    def luma(self, number: int) -> np.ndarray:
        """Return the luma of a result."""
        return np.asarray(self.result.get_frame(number)[0]).copy()


def text(value: Any) -> str:
    """Return a plugin's text, which may be bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)


class Vidsr:
    """A job of vidsr's, the whole pipeline."""

    def __init__(self, task: dict[str, Any]) -> None:
        import vidsr

        self.task, self.versions = task, {}
        self.vidsr, self.encode = vidsr, task["case"] == "x264"

    def _job(self, output: Path, frames: int, **options: Any) -> Any:
        named = {name: self.task[name] for name in ("model", "backend", "precision", "reuse")}
        source = Path(self.task["clip"])
        return self.vidsr.Job(source=source, output=output, frames=frames, overwrite=True, **named, **options)

    def run(self, frames: int) -> float:
        """Return frames a second."""
        marks: list[float] = []

        def note(_: Any) -> None:
            """Note the start, each frame, and that the encoder is empty."""
            marks.append(time.perf_counter())

        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "out.mkv" if self.encode else Path("null:")
            preset = {"preset": "veryfast", "crf": 18.0} if self.encode else {}
            report = self.vidsr.run(self._job(output, frames, **preset), progress=note)
        self.versions = {"backend": report.backend, **report.runtime}
        return (report.frames - SKIPPED) / (marks[-1] - marks[SKIPPED])

    def luma(self, number: int) -> np.ndarray:
        """Return the luma of a result."""
        import av

        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "out.mkv"
            self.vidsr.run(self._job(output, number + 1, codec="ffv1"))
            with av.open(str(output)) as file:
                frame = list(file.decode(video=0))[number]
                return frame.to_ndarray()[: frame.height].copy()


class Alone:
    """A network alone: `step` begins an enlargement of the same plane, `last` waits for all of them."""

    def __init__(self, task: dict[str, Any]) -> None:
        self.plane = np.load(task["plane"])
        self.versions: dict[str, str] = {}
        self.step: Callable[[], Any] = getattr(self, f"_{task['kind']}")(task)
        self.last: Callable[[], np.ndarray]

    def run(self, frames: int) -> float:
        """Return frames a second."""
        for _ in range(SKIPPED):
            self.step()
        self.last()
        began = time.perf_counter()
        for _ in range(frames - SKIPPED):
            self.step()
        self.last()
        return (frames - SKIPPED) / (time.perf_counter() - began)

    def luma(self, _: int) -> np.ndarray:
        """Return the plane, enlarged."""
        self.step()
        return self.last()

    def _ort(self, task: dict[str, Any]) -> Callable[[], None]:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = cores()
        session = ort.InferenceSession(task["model"], options, providers=["CPUExecutionProvider"])
        given = {session.get_inputs()[0].name: (self.plane[None, None] / 255).astype(np.float32)}
        self.versions = {"onnxruntime": ort.__version__}
        made: list[np.ndarray] = []

        def step() -> None:
            made[:] = session.run(None, given)

        self.last = lambda: codes(made[0])
        return step

    def _torch(self, task: dict[str, Any]) -> Callable[[], None]:
        import torch
        from peer_torch import torch_network

        torch.set_num_threads(cores())
        network = torch_network(Path(task["model"]))
        low = torch.from_numpy(self.plane[None, None] / 255).float().to(memory_format=torch.channels_last)
        self.versions = {"torch": torch.__version__}
        made: list[Any] = []

        def step() -> None:
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, task["precision"] == "bf16"):
                made[:] = [network(low)]

        self.last = lambda: codes(made[0].float().numpy())
        return step

    def _net(self, task: dict[str, Any]) -> Callable[[], None]:
        import vidsr
        from vidsr.frame import PixelFormat
        from vidsr.models import FrameFormat, find_model
        from vidsr.runtime import choose_runtime
        from vidsr.upscaler import Upscaler, UpscalerOptions

        height, width = self.plane.shape
        form, size = FrameFormat(PixelFormat.parse("gray")), (width, height)
        job = vidsr.Job(source="plane.png", backend=task["backend"], precision=task["precision"])
        found = choose_runtime(job, find_model(task["model"], 2), form, size, (2 * width, 2 * height))
        options = UpscalerOptions(session=found.session)
        upscaler = Upscaler(found.model, form, *size, found.backend, options)
        self.versions = {"backend": found.backend.name, **found.backend.resolve(found.session)}
        spare = [np.empty((2 * height, 2 * width), np.uint8) for _ in range(upscaler.in_flight)]
        tickets: deque[Any] = deque()
        done = 0

        def step() -> None:
            nonlocal done
            if len(tickets) == len(spare):
                tickets.popleft().result()
            tickets.append(upscaler.submit((self.plane,), (spare[done % len(spare)],)))
            done += 1

        def last() -> np.ndarray:
            while tickets:
                tickets.popleft().result()
            return spare[(done - 1) % len(spare)]

        self.last = last
        return step


def answer(way: Any, asked: dict[str, Any]) -> dict[str, Any]:
    """Do what was asked for."""
    if asked["do"] == "luma":
        np.save(asked["into"], way.luma(asked["number"]))
        return {"luma": asked["into"]}
    wall, busy, own = time.perf_counter(), machine_time(), sum(os.times()[:4])
    fps = way.run(asked["frames"])
    wall, busy, own = time.perf_counter() - wall, machine_time() - busy, sum(os.times()[:4]) - own
    others = max(0.0, busy - own) / wall / cores() if busy else 0.0
    return {"fps": fps, "others": others, "versions": way.versions}


def machine_time() -> float:
    """Return the seconds that all cores worked, for whomever; 0 where the system does not tell."""
    file = Path("/proc/stat")
    if not file.exists():
        return 0.0
    _, user, nice, system, _, _, *more = file.read_text().split("\n", 1)[0].split()
    return sum(map(int, (user, nice, system, *more[:3]))) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Serve."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer

    def say(**words: Any) -> None:
        print(json.dumps(words), file=out, flush=True)

    try:
        task = json.loads(sys.argv[1])
        kinds: dict[str, Callable[..., Any]] = {"vs": VapourSynth, "vidsr": Vidsr}
        way = kinds.get(task["kind"], Alone)(task)
        rate = way.run(2 * SKIPPED)
    except Exception as error:
        say(refused=str(error).strip().partition("\n")[0] or type(error).__name__)
        return
    say(ready=rate)
    for line in sys.stdin:
        say(**answer(way, json.loads(line)))


if __name__ == "__main__":
    main()
