"""The launches through cuda-bindings itself to a driver of a few lines: each argument as CUDA gets it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from required import require

from vidsr.kernels.cuda.plan import Network, tiling

HERE = Path(__file__).parent

PROGRAM = """
import sys
sys.path[:0] = sys.argv[1:]
import numpy as np
from cuda_stand_in import StandInDevice
from stacks import random_stack
from test_fused_program import deployed
import vidsr.backends.fused_program as program
from vidsr.kernels.cuda.compile import Compiled
from vidsr.kernels.cuda.plan import network_of, tiling

of = deployed(random_stack(np.random.default_rng(1), 4, 16, 2), "yuv420p10le", 1919, 1080)
tiles = tiling(network_of(of.rows.stack), 227 << 10)
program.compiled = lambda *_: Compiled(b"\\x7fELF code", tiles)
device = StandInDevice()
with device.active():
    made = program.FusedProgram(device, of, of.rows, None)
    work = made.work()
    work.enqueue(77, [100, 200, 300], [400, 500, 600])
    work.close()
    made.close()
device.close()
print(made.input_bytes, made.output_bytes, device.misuses)
"""


def test_what_the_driver_gets(tmp_path: Path) -> None:
    gcc = shutil.which("gcc")
    if gcc is None:
        require("compiler", "there is no gcc; run: apt-get install gcc")
    if importlib.util.find_spec("cuda") is None:
        require("nvrtc", "the package cuda-bindings is not installed; run: pip install cuda-bindings")
    library = tmp_path / "libcuda.so.1"
    command = [str(gcc), "-shared", "-fPIC", str(HERE / "cuda" / "driver.c"), "-o", str(library)]
    subprocess.run(command, check=True)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(HERE), str(HERE.parent)],
        env=os.environ | {"LD_LIBRARY_PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    tiles = tiling(Network(16, 6, 2), 227 << 10)
    assert tiles is not None
    said = sorted(done.stdout.splitlines())  # what Python and C print is not in order
    luma = [line.split() for line in said if line.startswith("launch 0x22")]
    chroma = [line.split() for line in said if line.startswith("launch 0x33")]
    assert [line for line in said if line.startswith(("attribute", "function", "load", "unload"))] == [
        f"attribute 0x22 8 {tiles.shared}",
        "function 0x11 ecbsr",
        "function 0x11 enlarge",
        "load ELF ",
        "unload 0x11",
    ]
    (one,) = luma
    grid = f"{-(-1919 // tiles.width)} {-(-1080 // tiles.height)} 1"
    wanted = f"grid {grid} block 512 1 1 shared {tiles.shared} stream 0x4d extra 0: 100 400"
    assert one[2:-6] == wanted.split()
    weights, *rest = one[-6:]
    assert rest == "3838 7676 1919 1080 1023".split()
    assert len(chroma) == 2
    for number, line in enumerate(chroma):
        planes = f"{200 + 100 * number} {500 + 100 * number}"
        start = f"grid 30 17 1 block 256 1 1 shared 0 stream 0x4d extra 0: {planes}"
        assert line[2:-8] == start.split()
        assert line[-7:] == "1920 3838 960 540 1919 1080 1023".split()
        assert int(line[-8]) > int(weights)
    assert "(4145040, 1036800, 1036800) (16580160, 4145040, 4145040) []" in said
