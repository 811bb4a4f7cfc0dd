"""Random work for an extension that was compiled with sanitizers; run by test_sanitizers.py, as a program.

    python sanitized.py EXTENSION SEED ROUNDS

Planes are cut to the byte, so that a sample read or written outside of them is in memory that is not theirs.
"""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
from stacks import random_stack

MODULE = "vidsr.kernels._rows"
spec = importlib.util.spec_from_file_location(MODULE, sys.argv[1])
assert spec is not None
assert spec.loader is not None
module = importlib.util.module_from_spec(spec)
sys.modules[MODULE] = module
spec.loader.exec_module(module)

from vidsr import kernels  # noqa: E402 - it must find the module above
from vidsr.models.rows import _phases  # noqa: E402

assert kernels.paths(), kernels.missing()
rng = np.random.default_rng(int(sys.argv[2]))


def plane(height: int, width: int, kind: type) -> np.ndarray:
    """Return a plane of random codes whose rows lie apart, at the very end of its memory."""
    size = np.dtype(kind).itemsize
    stride = width * size + size * int(rng.integers(0, 9))
    flat = rng.integers(0, 256, (height - 1) * stride + width * size).astype(np.uint8)
    view = np.lib.stride_tricks.as_strided(flat.view(kind)[:1], (height, width), (stride, size))
    return view if rng.random() < 0.7 else view[::-1]


for number in range(int(sys.argv[3])):
    path = kernels.paths()[number % len(kernels.paths())]
    scale, kind = int(rng.integers(1, 5)), (np.uint8, np.uint16)[number // 7 % 2]
    channels, blocks = int(rng.choice([1, 5, 8, 16, 32, 64])), int(rng.integers(0, 4))
    stack = random_stack(rng, blocks, channels, scale, quantised=True)
    peak = 255 if kind is np.uint8 else int(rng.choice([1023, 65535]))
    height, width = int(rng.integers(1, 40)), int(rng.integers(1, 150))
    rows = kernels.RowKernel(stack, path, peak, cache=int(rng.choice([1, 30_000, 1 << 20])))
    source, target = plane(height, width, kind), plane(height * scale, width * scale, kind)
    if peak == 1023:
        source &= 1023
    first = int(rng.integers(0, height))
    memory = kernels.aligned_memory(rows.workspace_bytes(width) + 64)[: rows.workspace_bytes(width)]
    rows.run(source, target, first, int(rng.integers(first + 1, height + 1)), memory)
    crop = [int(rng.integers(0, scale)) for _ in range(2)]
    target = plane(height * scale - crop[0], width * scale - crop[1], kind)
    filters = [_phases(scale, float(rng.choice([0.25, 0.5, 0.75]))) for _ in range(2)]
    memory = kernels.aligned_memory(kernels.resample_workspace(width, scale, filters[0][0]))
    first = int(rng.integers(0, len(target)))
    end = int(rng.integers(first + 1, len(target) + 1))
    kernels.resample(path, source, target, scale, *filters, peak, (first, end), memory)
sys.stdout.write("clean\n")
