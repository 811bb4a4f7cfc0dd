"""SIGINT, SIGTERM and SIGKILL at 20 random moments, second signals, and closed streams."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
from command import Command, Whole, finished

CODES = {signal.SIGINT: {130, -signal.SIGINT}, signal.SIGTERM: {143, -signal.SIGTERM}}
# While Python starts, before the command line runs, a signal ends the process by itself.
EARLY = {-signal.SIGINT, -signal.SIGTERM}


def children_of(number: int) -> list[str]:
    """Return the processes whose group is that of `number`."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == number and fields[0] != "Z":
            found.append(status.parent.name)
    return found


# Without it most of a short run is starting Python.
_SLOWER = """
import time
import vidsr.video.video_sink as sinks
write = sinks.VideoSink.write
def slow(self, out):
    time.sleep(0.02)
    write(self, out)
sinks.VideoSink.write = slow
"""


def interrupted(command: Command, whole: Whole, number: signal.Signals, seconds: float) -> int:
    process = command.start(also=os.setsid, before=_SLOWER)
    time.sleep(seconds)
    process.send_signal(number)
    done = finished(process)
    assert children_of(process.pid) == []
    if os.path.lexists(command.output):
        assert command.output.read_bytes() == whole.result, "a file of the final name is whole"
    if number == signal.SIGKILL:
        assert done.code in (0, -signal.SIGKILL), done
        return done.code
    assert done.code == 0 or done.code in CODES[number], done
    if done.code not in EARLY and done.code != 0:
        assert len(done.lines) == 1, done.lines
        assert done.lines[0].endswith("what is finished stays, and the same command continues")
    return done.code


def moments(command: Command, whole: Whole, count: int, seed: int, *, least: int) -> list[int]:
    """Interrupt `count` runs, each kind of signal in turn, and let the same command finish after each.

    On a machine whose speed changes a run may be over before its signal: until `least` came in time there
    are further runs, up to three times `count`.
    """
    rng = random.Random(seed)
    began = time.monotonic()
    assert command.run(before=_SLOWER).code == 0
    length = time.monotonic() - began
    command.output.unlink()
    codes = []
    for turn in range(3 * count):
        if turn >= count and sum(map(bool, codes)) >= least:
            break
        number = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)[turn % 3]
        codes.append(interrupted(command, whole, number, rng.uniform(0.1, 0.95) * length))
        if turn % 4 == 3 or turn >= count - 1:  # now and then several in a row hit one piece of work
            if not command.output.exists():
                command.finishes(whole)
            command.output.unlink()
        elif command.output.exists():
            command.output.unlink()
    return codes


@pytest.mark.clock
@pytest.mark.slow
def test_three_random_moments(command: Command, whole: Whole) -> None:
    codes = moments(command, whole, 3, seed=1, least=1)
    assert any(codes), "none came in time"


@pytest.mark.clock
@pytest.mark.slow
@pytest.mark.timeout(900)  # up to 80 runs of the command
@pytest.mark.parametrize("seed", range(2))
def test_twenty_random_moments(command: Command, whole: Whole, seed: int) -> None:
    codes = moments(command, whole, 20, seed=10 + seed, least=10)
    assert sum(map(bool, codes)) >= 10, codes


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_in_the_middle_of_a_segment(command: Command, whole: Whole, number: int, code: int) -> None:
    process = command.held()
    process.send_signal(number)
    done = finished(process)
    command.failed(done, "what is finished stays", code=code)
    assert sorted(p.name for p in command.work.iterdir() if p.suffix == ".mp4") == [
        "000000.mp4",
        "000001.mp4",
        "000002.mp4",
    ]
    command.finishes(whole)


# Held while the joined file is being written, in the way of the first packet of another stream or the video.
_IN_JOINING = """
import time
from pathlib import Path
import vidsr.video.muxer as muxer
packets = muxer._video_packets
def slow(*arguments):
    for number, packet in enumerate(packets(*arguments)):
        if number == 20:
            Path("held").touch()
            while not Path("go").exists():
                time.sleep(0.01)
        yield packet
muxer._video_packets = slow
"""


def test_two_signals_while_joining(command: Command, whole: Whole) -> None:
    process = command.held(hold=0, before=_IN_JOINING)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    command.failed(finished(process), "interrupted", code=130)
    assert not list(command.work.glob("joined*")), "half a file is not left, not even under another name"
    command.finishes(whole)


# Nothing in here ends by itself: only the third signal does.
_HELD_IN_CLEANING_UP = """
import time
from pathlib import Path
import vidsr.video.work as work
def stuck(self):
    Path("held").touch()
    while True:
        time.sleep(0.01)
work.WorkFolder.release = stuck
"""


def test_the_third_signal_ends_at_once(command: Command, whole: Whole) -> None:
    process = command.held(before=_HELD_IN_CLEANING_UP)
    process.send_signal(signal.SIGINT)
    mark = command.folder / "held"
    while not mark.exists():
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    assert process.poll() is None, "the second waits"
    process.send_signal(signal.SIGTERM)
    assert finished(process, 30).code == 143
    assert not command.output.exists()
    command.finishes(whole)


@pytest.mark.slow
def test_a_parent_that_ignores_signals_is_heeded(command: Command, whole: Whole) -> None:
    """As nohup and a shell's background jobs do."""
    process = command.held(also=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN) and None)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    command.go_on()
    assert finished(process).code == 0
    assert command.output.read_bytes() == whole.result


def test_nobody_reads_the_report(command: Command, whole: Whole) -> None:
    process = command.held("--json")
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    command.go_on()
    done = finished(process)
    assert (done.code, done.lines) == (1, [])
    assert command.output.read_bytes() == whole.result, "the work itself is done"


# As some encoders do, past Python, on whatever has the number.
_CHATTER = """
import contextlib, os
import vidsr.video.video_sink as sinks
write = sinks.VideoSink.write
def chatting(self, out):
    for number in (0, 1, 2):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{number}").endswith((".mp4", "/lock")):
                os.write(number, b"words")
                raise AssertionError("a file has a stream's number")
    write(self, out)
sinks.VideoSink.write = chatting
"""


@pytest.mark.parametrize(
    "closed", [(0, 1, 2), *(pytest.param(c, marks=pytest.mark.slow) for c in ((1,), (2,)))]
)
def test_closed_streams(command: Command, whole: Whole, closed: tuple[int, ...]) -> None:
    """The first file that is opened would get a closed stream's number, and a library's words."""
    done = command.run(before=_CHATTER, also=lambda: [os.close(number) for number in closed] and None)
    assert done.code == 0, done
    assert command.output.read_bytes() == whole.result
    assert done.lines == []


@pytest.mark.slow
def test_a_full_device_for_the_report(command: Command, whole: Whole) -> None:
    with Path("/dev/full").open("w") as full:
        done = command.run(stdout=full.fileno())
    assert done.code == 1
    assert done.lines == ["vidsr: No space left on device; set VIDSR_TRACEBACK=1 to see where"]
    assert command.output.read_bytes() == whole.result
