"""Nothing leaves the machine and nothing is written: OpenVINO's usage reports are stopped."""

import os
import subprocess
import sys
from pathlib import Path

import torch

from vidsr.networks.ecbsr import ECBSR
from vidsr.networks.export import export_network

# Every way out is closed and reported: name look-ups, connections, and other programs (OpenVINO's reports
# are sent by a child process).
_GUARD = """
import atexit, os, subprocess, sys
attempts = []

def hook(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto",
                 "subprocess.Popen", "os.fork", "os.posix_spawn", "os.exec", "os.system"):
        attempts.append(event)
        raise PermissionError(event)
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
        if not str(arguments[0]).startswith(("/dev/", "/proc/")):
            attempts.append(f"open {arguments[0]}")
    if event in ("os.mkdir", "os.rename"):
        attempts.append(f"{event} {arguments[0]}")

sys.dont_write_bytecode = True
sys.addaudithook(hook)
"""
_USE = """
import sys
from pathlib import Path
from vidsr.backends import SessionOptions, automatic_names, get_backend
from vidsr.frame import PixelFormat
from vidsr.models import FrameFormat, deploy, find_model

pixels = PixelFormat.parse("yuv420p")
deployed = deploy(find_model(sys.argv[1], 2), FrameFormat(pixels), 32, 16)
assert "openvino" in automatic_names()
for backend in map(get_backend, automatic_names()):
    if backend.name == "openvino" or backend.availability().usable:
        session = backend.open(deployed, SessionOptions())
        session.submit(pixels.allocate(32, 16), pixels.allocate(64, 32)).result()
        session.close()
import openvino, openvino.tools.ovc
"""
_REPORT = "\nprint(sorted(set(attempts)))\n"


def _run(code: str, folder: Path, *arguments: str) -> list[str]:
    home = folder / "home"
    home.mkdir(exist_ok=True)
    environment = {
        "HOME": str(home),
        "TMPDIR": str(home),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        cwd=home,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    written = [str(p.relative_to(home)) for p in home.rglob("*")]
    return [*eval(done.stdout), *written]


def test_nothing_is_sent_and_nothing_is_written(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = export_network(ECBSR(blocks=0, features=4), tmp_path / "n.onnx")
    assert _run(_GUARD + _USE + _REPORT, tmp_path, str(model)) == []


def test_the_guard_sees_what_openvino_does_by_itself(tmp_path: Path) -> None:
    """Imported as it comes, OpenVINO tries: so the test above would notice."""
    attempts = _run(_GUARD + "import openvino" + _REPORT, tmp_path)
    assert attempts, "OpenVINO reports no more: the stub can go"
