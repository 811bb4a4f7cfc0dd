"""A whole job sends nothing, starts no other program, and writes nothing but its output."""

import os
import subprocess
import sys
from pathlib import Path

from synth import make_clip

_GUARDED = """
import sys
seen = []
OUT = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "subprocess.Popen",
       "os.fork", "os.posix_spawn", "os.exec", "os.system")
sys.addaudithook(lambda event, _: seen.append(event) if event in OUT else None)
sys.dont_write_bytecode = True
from vidsr.cli import _run
code = _run(sys.argv[1:])
assert not seen, seen
sys.exit(code)
"""


def test_nothing_leaves_and_nothing_lingers(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", sound=True, times=6)
    home, results = tmp_path / "home", tmp_path / "results"
    home.mkdir()
    results.mkdir()
    environment = {key: str(home) for key in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")}
    done = subprocess.run(
        [sys.executable, "-c", _GUARDED, "upscale", str(source), "-o", str(results / "out.mp4")],
        capture_output=True,
        text=True,
        cwd=home,
        env=environment | {"PATH": os.environ["PATH"]},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list(home.rglob("*")) == []
    assert [p.name for p in results.iterdir()] == ["out.mp4"]
