"""Every model on every backend of a GPU: what a frame takes, its floor, and the whole pipeline.

Usage: python benchmarks/gpu.py [--models 2x-ecbsr-m4c16] [--sizes 960x540] [--device cuda:0] [--clip CLIP]

Networks: microseconds a frame on the GPU alone (work without copies, queued back to back), frames a second
planes to planes with all frames in flight that the backend takes, the floor, and the GPU's memory. The floor
is the larger of the network's multiplications at the tensor cores' dense FP16 peak, and of the planes at the
memory's bandwidth; both are the maker's figures, for the GPUs that are listed here.

Pipeline: fps of `vidsr` on a clip without an encoder and with x264 veryfast, decoded by the CPU or the GPU
(whose frames stay there, but for torch), and the stage that limits.

Engines that are not there yet are built first. Backends that are not usable here are named with their reason.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from vidsr.backends import SessionOptions, get_backend
from vidsr.backends.cuda.driver import call, primary_context
from vidsr.backends.cuda.probing import find_cuda
from vidsr.errors import VidsrError
from vidsr.frame import PixelFormat, Planes
from vidsr.job import NULL_OUTPUT, Job
from vidsr.models import Deployed, FrameFormat, Model, deploy, find_model
from vidsr.models.cost import count
from vidsr.models.lookup import list_models
from vidsr.pipeline import run

BACKENDS = ("tensorrt", "fused", "torch")
SIZES = ("960x540", "1280x720", "1920x1080")
PEAKS = {
    "NVIDIA H200": (989e12, 4.8e12),
    "NVIDIA H100 80GB HBM3": (989e12, 3.35e12),
    "NVIDIA H100 PCIe": (756e12, 2.0e12),
    "NVIDIA L4": (121e12, 300e9),
    "NVIDIA L40S": (362e12, 864e9),
    "NVIDIA A100-SXM4-40GB": (312e12, 1.555e12),
    "NVIDIA A100-SXM4-80GB": (312e12, 2.039e12),
    "NVIDIA GeForce RTX 4090": (165e12, 1.008e12),
    "NVIDIA GeForce RTX 5090": (209e12, 1.792e12),
}
"""By the driver's name: dense FP16 operations a second with FP32 sums, bytes a second (data sheets)."""


def floor_us(model: Model, deployed: Deployed, gpu: str) -> float | None:
    """Return what a frame takes at least, in microseconds; None: the GPU is not listed."""
    peak = PEAKS.get(gpu)
    if peak is None:
        return None
    kmac = count(model.proto, model.path, deployed.width, deployed.height).kmac
    operations = 2e3 * kmac * deployed.width * deployed.height
    pixels = deployed.format.pixel_format
    moved = pixels.frame_bytes(deployed.width, deployed.height)
    moved += pixels.frame_bytes(deployed.out_width, deployed.out_height)
    return max(operations / peak[0], moved / peak[1]) * 1e6


def source(deployed: Deployed) -> Planes:
    """Return a frame of noise."""
    rng, pixels = np.random.default_rng(0), deployed.format.pixel_format
    return tuple(rng.integers(0, pixels.peak + 1, s).astype(pixels.dtype) for s in deployed.input_shapes)


def measure(name: str, deployed: Deployed, device: str, seconds: float) -> dict[str, Any]:
    """Return microseconds on the GPU alone, frames a second planes to planes, and memory in MiB."""
    src, size = source(deployed), (deployed.out_width, deployed.out_height)
    before = _free(device)
    with closing(get_backend(name).open(deployed, SessionOptions(device=device))) as session:
        memory = (before - _free(device)) / (1 << 20)
        results = [deployed.format.pixel_format.allocate(*size) for _ in range(session.in_flight)]
        waiting = deque(session.submit(src, dst) for dst in results)
        frames, began = 0, perf_counter()
        while perf_counter() - began < seconds:
            waiting.popleft().result()
            waiting.append(session.submit(src, results[frames % len(results)]))
            frames += 1
        fps = frames / (perf_counter() - began)
        for ticket in waiting:
            ticket.result()
        alone = getattr(session, "seconds_alone", None)  # torch has copies in its graph
        return {
            "us": None if alone is None else alone(max(20, int(fps * seconds / 4))) * 1e6,
            "fps": fps,
            "in_flight": session.in_flight,
            "mib": memory,
        }


def _free(device: str) -> int:
    with primary_context(int(device.partition(":")[2] or 0)):
        return int(call("cuMemGetInfo"))


def networks(asked: argparse.Namespace, gpu: str) -> Iterator[dict[str, Any]]:
    """Yield a row for each model, size and backend."""
    models = [find_model(name, 2) for name in asked.models] or list_models()
    for model in models:
        for text in asked.sizes:
            width, height = map(int, text.split("x"))
            deployed = deploy(model, FrameFormat(PixelFormat.parse(asked.format)), width, height)
            for name in asked.backends:
                row = {"model": model.spec.id, "size": text, "backend": name}
                row["floor_us"] = floor_us(model, deployed, gpu)
                why = get_backend(name).lacks(deployed.rows)
                try:
                    found = {"refused": why} if why else measure(name, deployed, asked.device, asked.seconds)
                except VidsrError as error:
                    found = {"refused": str(error)}
                yield row | found


def pipelines(asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield a row for each backend, with and without an encoder, and for each decoder."""
    with tempfile.TemporaryDirectory() as folder:
        for name in asked.backends:
            for sink, hwaccel in product(("null", "x264 veryfast"), ("none", "auto")):
                output = NULL_OUTPUT if sink == "null" else Path(folder) / f"{name}.mp4"
                job = Job(
                    source=asked.clip,
                    output=output,
                    backend=name,
                    device=asked.device,
                    model=asked.pipeline_model,
                    codec="auto" if sink == "null" else "libx264",
                    preset=None if sink == "null" else "veryfast",
                    reuse="off",
                    hwaccel=hwaccel,
                    overwrite=True,
                )
                row: dict[str, Any] = {"backend": name, "sink": sink, "decoder": hwaccel}
                try:
                    run(job)  # engines, kernels and caches are there afterwards
                    report = run(job)
                except VidsrError as error:
                    yield row | {"refused": str(error)}
                    continue
                slowest = max((s for s in report.stages if s.name != "finish"), key=lambda s: s.worked_s)
                yield row | {
                    "decoder": report.decoder,
                    "fps": report.fps,
                    "limited_by": report.limited_by,
                    "share": report.fps * slowest.worked_s / report.frames,
                }


def cell(value: object, digits: int = 1) -> str:
    """Return a number for a table."""
    return "-" if value is None else f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--models", nargs="+", default=[], help="default: all")
    parser.add_argument("--sizes", nargs="+", default=list(SIZES))
    parser.add_argument("--backends", nargs="+", default=list(BACKENDS))
    parser.add_argument("--format", default="yuv420p")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    parser.add_argument("--clip", type=Path, default=Path("examples/clip.mp4"))
    parser.add_argument("--pipeline-model", default="ecbsr-m4c16")
    parser.add_argument("--json", type=Path, help="write all figures here as well")
    asked = parser.parse_args()
    found = find_cuda()
    usable = []
    for name in asked.backends:
        state = get_backend(name).availability()
        here = state.usable and any(d.startswith("cuda") for d in state.devices)
        print(f"{name}: {state.detail}{'' if here else ' (left out)'}")
        usable += [name] if here else []
    if found.why or not usable:
        raise SystemExit(f"nothing to measure: {found.why or 'no backend is usable'}")
    asked.backends = usable
    gpu = found.devices[int(asked.device.partition(":")[2] or 0)].name
    print(f"\n{gpu}, driver {found.driver}, {asked.format}\n")
    print("| model | size | backend | us alone | floor | fps, planes to planes | in flight | MiB |")
    print("|---|---|---|--:|--:|--:|--:|--:|")
    rows: list[dict[str, Any]] = []
    ways: list[dict[str, Any]] = []

    def keep() -> None:  # after each: a run may be cut off
        if asked.json:
            asked.json.write_text(json.dumps({"gpu": gpu, "networks": rows, "pipelines": ways}, indent=1))

    for row in networks(asked, gpu):
        rows.append(row)
        keep()
        if "refused" in row:
            print(f"| {row['model']} | {row['size']} | {row['backend']} | {row['refused']} | | | | |")
            continue
        numbers = (cell(row[k]) for k in ("us", "floor_us", "fps", "in_flight", "mib"))
        print(f"| {row['model']} | {row['size']} | {row['backend']} | {' | '.join(numbers)} |", flush=True)
    print("\n| backend | sink | decoder | fps | limited by | share of its slowest stage |")
    print("|---|---|---|--:|---|--:|")
    for way in pipelines(asked):
        ways.append(way)
        keep()
        told = way.get("refused") or f"{cell(way['fps'])} | {way['limited_by']} | {way['share']:.0%}"
        print(f"| {way['backend']} | {way['sink']} | {way['decoder']} | {told} |", flush=True)


if __name__ == "__main__":
    main()
