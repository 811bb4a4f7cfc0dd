"""Memory does not grow with the length of a video, and large pictures fit into a small machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from synth import make_clip

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

_CHILD = """
import json, resource, sys
from pathlib import Path
import vidsr

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20

found = {}
def progress(p):
    if p.frames % 50 == 0:
        found[p.frames] = resident()

options = json.loads(sys.argv[2])
output = Path(options.pop("output", "null:"))
report = vidsr.run(vidsr.Job(source=Path(sys.argv[1]), output=output, **options), progress=progress)
# Not ru_maxrss: that begins with the peak of the process which started this one.
status = Path("/proc/self/status").read_text()
peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024
print(json.dumps({"frames": report.frames, "resident": found, "peak": peak, "fps": report.fps}))
"""


def measure(source: Path, **options: object) -> dict[str, object]:
    """Return frames done, MiB resident by frame, and the peak in MiB, of a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, str(source), json.dumps(options)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    print(options, found)  # noqa: T201 - the figures, with -rP
    return found


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("long") / "in.mkv"
    return make_clip(path, times=20_000, size=(96, 54), options={"preset": "ultrafast"})


@pytest.mark.parametrize("backend", ["nearest", "openvino"])
def test_memory_does_not_grow(long_clip: Path, tmp_path: Path, backend: str) -> None:
    """Of a job with an encoder, over 20,000 frames and 84 segments."""
    output = str(tmp_path / "out.mp4")
    found = measure(long_clip, backend=backend, output=output, preset="ultrafast", model="ecbsr-m4c8")
    assert found["frames"] == 20_000
    resident = {int(k): v for k, v in found["resident"].items()}  # type: ignore[attr-defined]
    later = [v for frame, v in resident.items() if frame >= 400]
    assert len(later) > 300
    assert max(later) - resident[400] < 30


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv420p10le"])
def test_eight_k_fits_into_two_gigabytes(tmp_path: Path, pixel_format: str) -> None:
    source = make_clip(
        tmp_path / "in.mkv",
        pixel_format=pixel_format,
        size=(7680, 4320),
        times=3,
        options={"preset": "ultrafast"},
    )
    found = measure(source, model="ecbsr")
    assert found["frames"] == 3
    assert found["peak"] < 2000  # type: ignore[operator]
