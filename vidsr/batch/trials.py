"""What several workers at once come to on this machine: processes that work for some seconds, into nothing.

    python -m vidsr.batch.trials --threads 1 --seconds 4

Such a process reads a job as a line of JSON from its standard input, opens its network, says "ready", waits
for another line, and says what it has made. It ends when whoever started it does: standard input closes then.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from time import monotonic, perf_counter
from typing import IO, Any

from vidsr import records
from vidsr.errors import BackendError, DecodeError, OptionsError, VidsrError, one_line
from vidsr.heap import make_room_for
from vidsr.job import Job
from vidsr.planning import Plan, make_plan
from vidsr.rehearsal import open_upscaler, trial_place, trial_reader, trial_sink
from vidsr.reuse import Reuse
from vidsr.stages import flow
from vidsr.video.reader import Span

__all__ = ["SECONDS", "main", "rate_of", "work_for"]

SECONDS = 4.0
"""How long the processes of a trial work; emptying their encoders comes on top."""

_OPENING_SECONDS = 120.0  # for a process to start and to open its network
_ENDING_SECONDS = 120.0  # for the frames on their way and those in the encoder
_WORDS = 200  # characters of a dead process's last line


def rate_of(job: Job, workers: int, threads: int, *, seconds: float = SECONDS) -> float:
    """Return how many frames a second so many processes make together.

    Args:
        job: What each of them works on; its source is read again from where it began when it ends.
        workers: How many at once. None begins before all have opened their networks.
        threads: CPU threads of each one's network.
        seconds: How long they work.

    Raises:
        BackendError: One of them did not start, died or did not end in time.
    """
    with ExitStack() as stack:
        hands = [stack.enter_context(_Hand(threads, seconds)) for _ in range(workers)]
        for hand in hands:
            hand.tell(json.dumps(records.to_mapping(job)))
        deadline = monotonic() + _OPENING_SECONDS
        for hand in hands:
            hand.hear(deadline)
        for hand in hands:
            hand.tell("go")
        deadline = monotonic() + seconds + _ENDING_SECONDS
        found = [json.loads(hand.hear(deadline)) for hand in hands]
    # Over the time of the slowest: while the others were done already, the machine was not theirs alone.
    return float(sum(one["frames"] for one in found) / max(one["seconds"] for one in found))


class _Hand:
    """A process of a trial; in a ``with``, at whose end it is gone."""

    def __init__(self, threads: int, seconds: float) -> None:
        self._words: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._heard = b""
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, "--threads", str(threads), "--seconds", str(seconds)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._words,
                bufsize=0,
            )
        except OSError as error:
            self._words.close()
            raise BackendError(f"a trial process cannot be started ({error.strerror})") from error

    def __enter__(self) -> _Hand:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()  # it keeps nothing that would have to be put away
        self._process.wait()
        for file in (self._process.stdin, self._process.stdout, self._words):
            if file is not None:
                file.close()

    def tell(self, line: str) -> None:
        """Send a line; whether anybody is there to read it, the answer shows."""
        if self._process.stdin is None:
            return
        rest = memoryview(line.encode("ascii") + b"\n")
        try:
            while rest:
                rest = rest[self._process.stdin.write(rest) :]
        except BrokenPipeError:
            pass

    def hear(self, deadline: float) -> str:
        """Return the next line."""
        if self._process.stdout is None:
            raise BackendError("a trial process has no output")
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._heard:
                if not selector.select(max(0.0, deadline - monotonic())):
                    raise BackendError("a trial process did not end in time")
                more = self._process.stdout.read(1 << 12)
                if not more:
                    raise BackendError(f"a trial process {self._end()}")
                self._heard += more
        line, _, self._heard = self._heard.partition(b"\n")
        return line.decode("ascii")

    def _end(self) -> str:
        code = self._process.wait()
        self._words.seek(0)
        lines = self._words.read().decode(errors="replace").strip().splitlines()
        why = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        return f"{why} ({one_line(lines[-1][:_WORDS])})" if lines else why


@dataclass(frozen=True, slots=True)
class _Made:
    frames: int
    seconds: float


def work_for(seconds: float, job: Job, plan: Plan, upscaler: Reuse) -> _Made:
    """Decode, upscale and encode, into nothing, as a job does, and begin again where the source ends.

    The encoder is emptied after each pass, and that counts: so all the work for these frames does.

    Raises:
        VidsrError: What would stop the job too.
    """
    frames, place = 0, trial_place(job, plan)
    began = perf_counter()

    def enough() -> bool:
        return perf_counter() - began >= seconds

    while not (frames and enough()):
        first = place <= (job.start or 0.0)
        span = Span(start=place or None, end=job.end, frames=job.frames if first else None)
        made = 0
        try:
            reader = trial_reader(job, plan, upscaler, span)
            with trial_sink(plan) as sink:
                made, _ = flow(reader, upscaler, sink, lambda _: None, enough=enough, watch=plan.watch)
                sink.finish()
        except DecodeError:
            if first:
                raise
        if not made and first:
            raise OptionsError("no frame lies between --start and --end", path=plan.info.path)
        if not made:
            place = job.start or 0.0  # not every file can be searched, or is as long as it says
        frames += made
    return _Made(frames, perf_counter() - began)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a process of a trial."""
    parser = argparse.ArgumentParser(prog="python -m vidsr.batch.trials")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; who started this ends it
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # what libraries print is no answer
    try:
        with answers:
            _serve(given.threads, given.seconds, answers)
    except VidsrError as error:
        sys.stderr.write(f"vidsr: {error}\n")
        return error.exit_code
    return 0


def _serve(threads: int, seconds: float, answers: IO[str]) -> None:
    lines = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115 - what is not read stays there
    sent: dict[str, Any] = json.loads(lines.readline())
    job = replace(records.from_mapping(Job, sent), threads=threads)
    plan = make_plan(job, check_output=False)
    make_room_for(plan.info.pixel_format.frame_bytes(*plan.target.size))
    with open_upscaler(job, plan) as upscaler:
        answers.write("ready\n")
        answers.flush()
        if not lines.readline():
            return
        threading.Thread(target=_end_with_starter, daemon=True).start()
        made = work_for(seconds, job, plan, upscaler)
        answers.write(json.dumps({"frames": made.frames, "seconds": made.seconds}) + "\n")
        answers.flush()


def _end_with_starter() -> None:
    while os.read(0, 1 << 10):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
