"""x264's bytes do not depend on what memory held before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vidsr.video import steady

_JOB = """
import hashlib, sys
from pathlib import Path

import av
import numpy as np
import vidsr

source, output = map(Path, sys.argv[1:])
if not source.exists():
    base = np.random.default_rng(1).integers(0, 256, (50, 66)).astype(np.uint8)
    with av.open(str(source), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 258, 194, "gray"
        for index in range(40):
            values = np.kron(np.roll(base, index // 3, 1), np.ones((4, 4), np.uint8))[:194, :258]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(values), "gray")
            frame.pts = index
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
options = {"backend": "nearest", "encoder_threads": 1, "codec": "libx264", "overwrite": True}
vidsr.run(vidsr.Job(source=source, output=output, **options))
with av.open(str(output)) as made:
    print(hashlib.sha256(b"".join(bytes(p) for p in made.demux(video=0))).hexdigest())
"""


def made(folder: Path, value: int, code: str = _JOB) -> str:
    """Return the digest of a job's packets, with the memory that malloc gives filled with a value."""
    perturbed = {
        "MALLOC_PERTURB_": str(value),
        "MALLOC_MMAP_THRESHOLD_": "4000000000",
        "MALLOC_TRIM_THRESHOLD_": "4000000000",
    }
    words = [sys.executable, "-c", code, str(folder / "in.mkv"), str(folder / "out.mp4")]
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ | perturbed, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_same_bytes_whatever_memory_held(tmp_path: Path) -> None:
    """516 pixels are 33 macroblocks."""
    assert len({made(tmp_path, value) for value in (0, 1, 85)}) == 1


@pytest.mark.slow
def test_x264_by_itself_is_not_steady(tmp_path: Path) -> None:
    """The day that it is, `vidsr.video.steady` can go."""
    if not steady._has_avx512():
        pytest.skip("this processor has no AVX-512")
    code = "import vidsr.video.steady as s; s._has_avx512 = lambda: False\n" + _JOB
    assert len({made(tmp_path, value, code) for value in (0, 1, 85)}) > 1
