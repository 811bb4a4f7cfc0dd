"""How near the compiled kernels come to what the registers can do, for stacks of any size.

Usage: python benchmarks/kernels.py [--size 960x540] [--rounds 11] [--stacks 4x16 10x32] [--cache KIB]

A stack is BLOCKSxCHANNELS, 2x, with random weights; speed does not depend on them. Each path of this machine,
as many threads as cores, a band of rows each; the peak of as many cores' registers is measured beside every
round. Medians.
"""

from __future__ import annotations

import argparse
import statistics
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import numpy as np

from vidsr import kernels
from vidsr.cores import usable_cores
from vidsr.kernels import FoldedConv, FoldedStack, PathInfo, QuantisedConv, RowKernel, aligned_memory

FRAMES = 2  # a round


def random_stack(blocks: int, channels: int, scale: int = 2) -> FoldedStack:
    """Return a stack of random weights, quantised as well."""
    rng = np.random.default_rng(0)
    convs = []
    for number in range(blocks + 2):
        inside = 1 if number == 0 else channels
        out = scale * scale if number == blocks + 1 else channels
        weights = (rng.standard_normal((out, inside, 3, 3)) / np.sqrt(9 * inside)).astype(np.float32)
        codes = rng.integers(-127, 128, weights.shape).astype(np.int8)
        steps = np.full(out, 1e-3, np.float32)
        slopes = None if number == blocks + 1 else np.full(out, 0.2, np.float32)
        integers = QuantisedConv(codes, steps, 0.02, 40) if number else None
        convs.append(FoldedConv(weights, np.zeros(out, np.float32), slopes, integers))
    return FoldedStack(tuple(convs), scale)


def measure(
    stack: FoldedStack, path: PathInfo, size: tuple[int, int], rounds: int, cache: int | None
) -> tuple[float, float]:
    """Return seconds a frame, and the share of the peak; medians."""
    width, height = size
    threads = usable_cores()
    rows = RowKernel(stack, path, 255, cache=cache)
    source = np.random.default_rng(1).integers(0, 256, (height, width)).astype(np.uint8)
    target = np.zeros((height * stack.scale, width * stack.scale), np.uint8)
    memory = [aligned_memory(rows.workspace_bytes(width)) for _ in range(threads)]

    def band(number: int) -> None:
        first, end = height * number // threads, height * (number + 1) // threads
        rows.run(source, target, first, end, memory[number])

    taken, shares = [], []
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(band, range(threads)))
        for _ in range(rounds):
            began = perf_counter()
            for _ in range(FRAMES):
                list(pool.map(band, range(threads)))
            taken.append((perf_counter() - began) / FRAMES)
            peak = sum(pool.map(lambda _: kernels.peak(path.name, 0.04), range(threads)))
            if peak:
                shares.append(2 * stack.macs * width * height / taken[-1] / peak)
    return statistics.median(taken), statistics.median(shares) if shares else 0.0


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", default="960x540")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--stacks", nargs="+", default=["4x16", "4x8", "10x16", "10x32"])
    parser.add_argument(
        "--cache", type=int, help="KiB that the living rows may take; default: the second cache"
    )
    asked = parser.parse_args()
    if why := kernels.missing():
        parser.error(why)
    width, height = map(int, asked.size.split("x"))
    cache = None if asked.cache is None else asked.cache << 10
    print("| stack | path | ms a frame | share of the peak |\n|---|---|--:|--:|")
    for name in asked.stacks:
        stack = random_stack(*map(int, name.split("x")))
        for path in kernels.paths():
            seconds, share = measure(stack, path, (width, height), asked.rounds, cache)
            told = f"{share:.0%}" if share else "not known"
            print(f"| M{name.replace('x', 'C')} | {path.name} | {seconds * 1000:.2f} | {told} |", flush=True)


if __name__ == "__main__":
    main()
