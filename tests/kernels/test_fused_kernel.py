"""The CUDA kernels' own sources, run thread by thread on the CPU, against numpy. No GPU is needed.

What this does not see is the compiler for GPUs (test_fused_compile.py) and the GPU itself (tests/gpu).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emulation import Emulation
from required import require
from stacks import conv3x3, expected, picture, random_stack, rounded, shuffled
from test_resample import along, phases

from vidsr.kernels import FoldedStack
from vidsr.models.lookup import Model, list_models

LEAST = 64 << 10  # as little as any GPU has
SHARED = 99 << 10  # small tiles, but sweeps that go on for more than three rows
U8, U16 = np.uint8, np.uint16
QUICK = [(16, 4, 2, U8), (8, 4, 3, U16), (32, 1, 4, U8), (16, 0, 1, U16)]
ALL = [(f, 2, s, k) for f in (8, 16, 32) for s in (1, 2, 3, 4) for k in (U8, U16)] + [(16, 10, 2, U8)]


@pytest.fixture(scope="module", autouse=True)
def _compiler() -> None:
    if shutil.which("g++") is None:
        require("compiler", "there is no g++; run: apt-get install g++")


def in_halves(stack: FoldedStack, plane: Any, peak: int) -> Any:
    """Return what the stack makes before it is rounded, weights and all values between layers in FP16."""

    def half(values: Any) -> Any:
        return values.astype(np.float32).astype(np.float16).astype(np.float64)

    x = half(plane.astype(np.float64)[None] / (peak + 1))
    for number, conv in enumerate(stack.convs):
        weights = conv.weights * (1.0 if number else (peak + 1) / peak)
        x = conv3x3(x, half(weights)) + conv.bias.astype(np.float64)[:, None, None]
        if conv.slopes is not None:
            x = half(np.where(x < 0, x * conv.slopes.astype(np.float64)[:, None, None], x))
    return shuffled(x * peak + plane.astype(np.float64), stack.scale)


def spaced(rng: np.random.Generator, height: int, width: int, kind: Any, even: bool) -> tuple[Any, Any]:
    """Return memory, and a plane in it whose rows lie apart; an odd number of samples unless `even`."""
    pitch = width + int(rng.integers(0, 9))
    pitch += pitch % 4 if even else 1 - pitch % 2
    memory = np.full((height + 2, pitch + (0 if even else 1)), 77, kind)
    return memory, memory[1 : 1 + height, :width]


def check(emulation: Emulation, stack: FoldedStack, size: tuple[int, int], peak: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    kind, scale = emulation.kind, stack.scale
    _, source = spaced(rng, *size, kind, False)
    source[...] = picture(rng, *size, peak, kind)
    memory, target = spaced(rng, size[0] * scale, size[1] * scale, kind, bool(seed % 2))
    emulation.upscale(source, target, peak, seed)
    close = np.clip(in_halves(stack, source, peak), 0, peak)
    off = np.abs(target - close)
    # Sums in another order move some values between layers by one step of FP16.
    assert off.max() <= 0.5 + peak / 1024, f"{size}, {np.argwhere(off > 0.5 + peak / 1024)[:4].tolist()}"
    if peak == 255:
        right = rounded(expected(stack, source, peak), peak, np.int64)
        assert np.abs(target.astype(np.int64) - right).max() <= 1
    target[...] = 77
    assert (memory == 77).all()


def sizes(emulation: Emulation) -> list[tuple[int, int]]:
    """Return sizes from a pixel to a bit more than tiles, edges of tiles among them."""
    tile = emulation.tiling
    return [(1, 1), (1, tile.width), (tile.height, 2), (tile.height + 1, tile.width + 1), (5, 37), (23, 11)]


@pytest.mark.parametrize(("features", "blocks", "scale", "kind"), QUICK)
def test_against_numpy(features: int, blocks: int, scale: int, kind: Any, tmp_path: Path) -> None:
    stack = random_stack(np.random.default_rng(features + scale), blocks, features, scale)
    emulation = Emulation(stack, kind, SHARED, tmp_path)
    peaks = (255,) if kind is U8 else (1023, 4095, 65535)
    for number, size in enumerate(sizes(emulation)):
        check(emulation, stack, size, peaks[number % len(peaks)], number)


@pytest.mark.slow
@pytest.mark.parametrize("shared", [LEAST, 227 << 10])
@pytest.mark.parametrize(("features", "blocks", "scale", "kind"), ALL)
def test_all_against_numpy(
    features: int, blocks: int, scale: int, kind: Any, shared: int, tmp_path: Path
) -> None:
    rng = np.random.default_rng(features + scale)
    stack = random_stack(rng, blocks, features, scale)
    emulation = Emulation(stack, kind, shared, tmp_path)
    peaks = (255,) if kind is U8 else (1023, 4095, 65535)
    more = [(int(rng.integers(1, 90)), int(rng.integers(1, 150))) for _ in range(4)]
    for number, size in enumerate([*sizes(emulation), *more]):
        check(emulation, stack, size, peaks[number % len(peaks)], 100 + number)


BROKEN = {
    "a halo too small": ("HALO = DEPTH - 1", "HALO = DEPTH - 2"),
    "columns outside of the frame": ("line && inside[half] ?", "line ?"),
    "rows outside of the frame": ("line && inside[half] ?", "inside[half] ?"),
    "taps of a row": ("+ e / GROUPS;", "+ (e / GROUPS ^ 1);"),
    "taps of a column": ("a[i], rest, 2, i, m", "a[i], rest, 1, i, m"),
    "slopes": ("fminf(sum, 0.0f), sum)", "fmaxf(sum, 0.0f), sum)"),
    "biases": ("floats[WORDS + 4 * n]", "floats[WORDS + 4 * n + 1]"),
    "another swizzle for loads": ("(swizzled(column) ^ e", "(swizzled(column + 4) ^ e"),
    "no swizzle": ("GROUPS / 8 % GROUPS)", "GROUPS / 8 % 1)"),
    "parts of a strip": ("begin = rows * part / PARTS", "begin = rows * part / PARTS + (part == 1)"),
    "no wait": ("    wait_for_block();\n    if (layer == 2)", "    if (layer == 2)"),
    "sides not cleared": ("if (layer == 2) clear_sides(MAPS[1], 1, ROWS - 1);", ""),
    "the order of the results": ("at / SCALE * (", "at % SCALE * ("),
    "the skip": ("frame.peak, code[half])", "frame.peak, 0.0f)"),
    "sums that rotate the wrong way": (
        "strip.store(frame, ROW, y + ROW, sums[(PHASE + 1)",
        "strip.store(frame, ROW, y + ROW, sums[(PHASE + 2)",
    ),
    "stores that share banks": ("swizzled(column + 1) ^ group + n << 4", "swizzled(column) ^ group + n << 4"),
    "pairs that share banks": ("? 10 - (WIDTH + 2) % 32", "? 0"),
    "places that do not move": ("            strip.move(3);\n", ""),
    "a column that is written beyond": (
        "column + 8 * half < WIDTH - HALO && x + 8 * half < frame.width",
        "true",
    ),
}


FAULTY = """
import sys
sys.path[:0] = sys.argv[3:]
from pathlib import Path
import test_fused_kernel as t
stack = t.random_stack(t.np.random.default_rng(18), 4, 16, 2)
edits = [t.BROKEN[sys.argv[2]]] if sys.argv[2] != "nothing" else []
emulation = t.Emulation(stack, t.U8, t.SHARED, Path(sys.argv[1]), edits)
for number, size in enumerate(t.sizes(emulation)):
    t.check(emulation, stack, size, 255, number)
"""


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["nothing", *BROKEN])
def test_faults_are_seen(fault: str, tmp_path: Path) -> None:
    """What a fault does to memory is another process's."""
    here = Path(__file__).parent
    command = [sys.executable, "-c", FAULTY, str(tmp_path), fault, str(here), str(here.parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if fault == "nothing":
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode < 0 or "AssertionError" in done.stderr, done.stderr


@pytest.mark.parametrize(("scale", "kind"), [(1, U8), (2, U8), (3, U16), (4, U16)])
def test_other_planes(scale: int, kind: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(scale)
    emulation = Emulation(random_stack(rng, 0, 8, scale), kind, SHARED, tmp_path)
    peak = 255 if kind is U8 else 1023
    for number, size in enumerate([(1, 1), (2, 70), (9, 33), (47, 5)]):
        _, source = spaced(rng, *size, kind, False)
        source[...] = rng.integers(0, peak + 1, size)
        rows, columns = (side * scale - (scale > 1 and number % 2) for side in size)
        memory, target = spaced(rng, rows, columns, kind, number > 1)
        offsets = [(0.25, 0.5), (0.5, 0.25), (0.75, 0.5), (0.125, 0.5)][number]
        emulation.enlarge(source, target, tuple(phases(scale, offset) for offset in offsets), peak)
        values = along(along(source.astype(np.float64), scale, offsets[0]).T, scale, offsets[1]).T
        off = np.abs(target - np.clip(values, 0, peak)[:rows, :columns])
        assert off.max() <= 0.5 + peak / 2**20
        target[...] = 77
        assert (memory == 77).all()


def ecbsr() -> list[Model]:
    return [model for model in list_models() if isinstance(model.stack, FoldedStack)]


@pytest.mark.slow
@pytest.mark.parametrize("model", ecbsr(), ids=lambda model: model.spec.id)
@pytest.mark.parametrize("kind", [U8, U16])
def test_shipped_weights(model: Model, kind: Any, tmp_path: Path) -> None:
    """At most one code of 8 bits, eight of 10 on hardly any sample, and 60 dB: a gate at 50 dB is far.

    What is more than one code of 10 bits off comes from FP16 itself (`in_halves` is as far off), on noise.
    """
    assert isinstance(model.stack, FoldedStack)
    emulation = Emulation(model.stack, kind, 227 << 10, tmp_path)
    rng = np.random.default_rng(5)
    peak, most = (255, 1) if kind is U8 else (1023, 8)
    for size in ((60, 85), (33, 40)):
        source = picture(rng, *size, peak, kind)
        target = np.zeros((size[0] * model.stack.scale, size[1] * model.stack.scale), kind)
        emulation.upscale(source, target, peak)
        values = expected(model.stack, source, peak)
        off = np.abs(target.astype(np.int64) - rounded(values, peak, np.int64))
        assert off.max() <= most
        assert (off > 2).mean() <= 0.002
        assert 10 * np.log10(peak**2 / (off.astype(np.float64) ** 2).mean()) > 60
