"""An interrupted job: nothing half-made under the final name, and the same command continues."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from synth import make_clip
from waiting import until

FRAMES = 120
# The real command line; at the frame that VIDSR_TEST_HOLD names it waits until the file "go" is there.
_MAIN = """
import os, sys, time
from pathlib import Path
import vidsr.video.video_sink as sinks
hold, go = os.environ.get("VIDSR_TEST_HOLD"), Path("go")
count, write = 0, sinks.VideoSink.write
def slow(self, out):
    global count
    count += 1
    while hold and count == int(hold) and not go.exists():
        Path("held").touch()
        time.sleep(0.01)
    write(self, out)
sinks.VideoSink.write = slow
from vidsr.cli import main
sys.argv[0] = "vidsr"
main()
"""


@dataclass
class Command:
    """``vidsr upscale in.mp4 -o out.mp4`` in a folder of its own."""

    folder: Path
    options: list[str] = field(default_factory=list)

    @property
    def output(self) -> Path:
        return self.folder / "out.mp4"

    @property
    def work(self) -> Path:
        return self.folder / "out.mp4.vidsr"

    def start(self, *more: str, hold: int = 0, limit: int = 0) -> subprocess.Popen[str]:
        def prepare() -> None:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs have it ignored
            if limit:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        arguments = "upscale in.mp4 -o out.mp4 --backend nearest --segment-frames 10 --preset ultrafast"
        return subprocess.Popen(
            [sys.executable, "-c", _MAIN, *arguments.split(), "--json", *self.options, *more],
            cwd=self.folder,
            env=os.environ
            | {"VIDSR_TEST_HOLD": str(hold or ""), "PYTHONPATH": str(Path(__file__).parents[2])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=prepare,
        )

    def run(self, *more: str, code: int = 0, limit: int = 0) -> tuple[dict[str, object], list[str]]:
        """Return the report and the lines of stderr; the progress bar's are left out."""
        out, err = finish(self.start(*more, "--no-progress", limit=limit), code)
        return (json.loads(out) if out else {}), err.splitlines()

    def interrupt(self, number: int, code: int, *more: str) -> list[str]:
        """Stop a run in the middle of its fourth segment; return its lines on stderr."""
        process = self.start(*more, "--no-progress", hold=35)
        until((self.folder / "held").exists, process)
        process.send_signal(number)
        out, err = finish(process, code)
        (self.folder / "held").unlink()
        assert out == ""
        assert not self.output.exists()
        assert len(list(self.work.glob("*.json"))) == 4, "plan and three segments"
        return err.splitlines()


def finish(process: subprocess.Popen[str], code: int) -> tuple[str, str]:
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    return out, err


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(
        tmp_path_factory.mktemp("clip") / "in.mp4", times=FRAMES, sound=True, options={"g": "10"}
    )


@pytest.fixture(scope="module")
def wanted(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a run that nothing interrupted."""
    command = Command(tmp_path_factory.mktemp("whole"))
    (command.folder / "in.mp4").hardlink_to(clip)
    report, lines = command.run()
    assert (report["frames"], report["frames_resumed"], lines) == (FRAMES, 0, [])
    assert not command.work.exists()
    return command.output.read_bytes()


@pytest.fixture
def command(clip: Path, wanted: bytes, tmp_path: Path) -> Iterator[Command]:
    (tmp_path / "in.mp4").hardlink_to(clip)
    made = Command(tmp_path)
    yield made
    assert wanted


def test_two_runs_give_the_same_bytes(command: Command, wanted: bytes) -> None:
    command.run()
    assert command.output.read_bytes() == wanted


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGINT, 130, ["vidsr: interrupted; what is finished stays, and the same command continues"]),
        (signal.SIGTERM, 143, ["vidsr: terminated; what is finished stays, and the same command continues"]),
        (signal.SIGKILL, -signal.SIGKILL, []),
    ],
)
def test_the_same_command_continues(
    command: Command, wanted: bytes, number: int, code: int, said: list[str]
) -> None:
    assert command.interrupt(number, code) == said
    before = {p.name: p.stat().st_mtime_ns for p in command.work.glob("00000[012].*")}
    assert len(before) == 6
    process = command.start("--no-progress", hold=1)
    until((command.folder / "held").exists, process)
    assert {p.name: p.stat().st_mtime_ns for p in command.work.glob("00000[012].*")} == before
    (command.folder / "go").touch()
    report = json.loads(finish(process, 0)[0])
    assert (report["frames"], report["frames_resumed"]) == (FRAMES, 30)
    assert command.output.read_bytes() == wanted
    assert not command.work.exists()


def test_interrupted_again_and_again(command: Command, wanted: bytes) -> None:
    command.interrupt(signal.SIGINT, 130)
    process = command.start(hold=55)
    until((command.folder / "held").exists, process)
    process.kill()
    process.communicate()
    report, _ = command.run()
    assert report["frames_resumed"] == 80
    assert command.output.read_bytes() == wanted


@pytest.mark.slow
def test_killed_at_any_moment(command: Command, wanted: bytes) -> None:
    rng = random.Random(0)
    for _ in range(30):
        process = command.start("--no-progress")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(rng.uniform(0.1, 1.0))
        process.kill()
        process.communicate()
        if command.output.exists():
            assert command.output.read_bytes() == wanted
            command.output.unlink()
    command.run()
    assert command.output.read_bytes() == wanted


def test_interrupted_before_the_first_segment_leaves_nothing(command: Command) -> None:
    process = command.start("--no-progress", hold=5)
    until((command.folder / "held").exists, process)
    process.send_signal(signal.SIGINT)
    finish(process, 130)
    assert sorted(p.name for p in command.folder.iterdir()) == ["held", "in.mp4"]


def test_another_crf_is_told_and_discard_starts_anew(command: Command, wanted: bytes) -> None:
    command.interrupt(signal.SIGKILL, -signal.SIGKILL)
    _, lines = command.run("--crf", "30", code=2)
    assert lines == [
        "vidsr: out.mp4.vidsr: unfinished work of another job (encoder.crf was 18, is 30);"
        " repeat that job's command to finish it, or add --discard to start anew"
    ]
    assert not command.output.exists()
    assert len(list(command.work.glob("00000[012].json"))) == 3, "the refused job took nothing away"
    report, _ = command.run("--crf", "30", "--discard")
    assert report["frames_resumed"] == 0
    assert command.output.read_bytes() != wanted
    report, _ = command.run("-y")
    assert report["frames_resumed"] == 0
    assert command.output.read_bytes() == wanted


def test_another_source_of_the_same_name_is_told(command: Command, wanted: bytes) -> None:
    command.interrupt(signal.SIGKILL, -signal.SIGKILL)
    source = command.folder / "in.mp4"
    source.unlink()
    make_clip(source, times=FRAMES + 1)
    _, lines = command.run(code=2)
    assert len(lines) == 1
    assert "source.bytes was " in lines[0]


def test_two_at_once(command: Command, wanted: bytes) -> None:
    first = command.start("--no-progress", hold=35)
    until((command.folder / "held").exists, first)
    for more in ([], ["--discard"]):
        _, lines = command.run(*more, code=2)
        assert lines == [
            "vidsr: out.mp4.vidsr: another vidsr is working on this output; wait for it, or stop it"
        ]
    (command.folder / "go").touch()
    finish(first, 0)
    assert command.output.read_bytes() == wanted
    assert not command.work.exists()


def test_a_damaged_segment_is_made_again(command: Command, wanted: bytes) -> None:
    command.interrupt(signal.SIGKILL, -signal.SIGKILL)
    segment = command.work / "000001.mp4"
    segment.write_bytes(segment.read_bytes()[:-1])
    (command.work / "stray").touch()
    report, _ = command.run()
    assert report["frames_resumed"] == 10
    assert command.output.read_bytes() == wanted


@pytest.mark.parametrize("when", ["segment", "join"])
def test_a_full_disk(command: Command, wanted: bytes, when: str) -> None:
    """A limit on the size of files stands for the disk: segments hit it, or only the joined file."""
    command.options = ["--crf", "0" if when == "segment" else "18"]
    limit = 20_000 if when == "segment" else len(wanted) // 2
    _, lines = command.run(code=1, limit=limit)
    assert len(lines) == 1
    assert lines[0].startswith("vidsr: ")
    assert lines[0].endswith("run the same command: it continues")
    assert "joining" in lines[0] or "frames could be written" in lines[0]
    assert not command.output.exists()
    assert not list(command.folder.rglob("joined*"))
    report, _ = command.run()
    assert report["frames_resumed"] == (0 if when == "segment" else FRAMES)
    if when == "join":
        assert command.output.read_bytes() == wanted


def test_the_installed_script_is_the_same_command(command: Command, wanted: bytes) -> None:
    script = Path(sys.executable).with_name("vidsr")
    if not script.exists():
        pytest.skip("vidsr is not installed in this environment")
    command.interrupt(signal.SIGINT, 130)
    arguments = "upscale in.mp4 -o out.mp4 --backend nearest --segment-frames 10 --preset ultrafast"
    done = subprocess.run(
        [script, *arguments.split()], cwd=command.folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "120 frames, 30 of them by an earlier run" in done.stdout
    assert command.output.read_bytes() == wanted
