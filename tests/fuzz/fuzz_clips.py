"""Damaged clips by the thousand: ``python tests/fuzz/fuzz_clips.py [--count 2000] [--seed 0]``.

Each mutated clip is upscaled in a process of its own with limits on time and memory. Allowed is a result that
holds every frame that an independent reading finds (or a report that says what is damaged), or an error of
vidsr's with nothing left under the final name. Not a test: what it finds becomes one. The same seed makes the
same clips on the same FFmpeg.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "media"))

import mutations
from synth_classes import make_classes

from vidsr.video.opening import LENIENT

SECONDS = 30
BYTES = 3 << 30
MODES = ("stop", "skip", "conceal")


def upscale(source: Path, output: Path, on_error: str) -> dict[str, object]:
    """Run a job; in the child."""
    import vidsr
    from vidsr.errors import VidsrError

    job = vidsr.Job(source=source, output=output, backend="nearest", preset="ultrafast", on_error=on_error)
    try:
        report = vidsr.run(job)
    except VidsrError as error:
        return {"end": "error", "kind": type(error).__name__, "told": str(error)}
    except MemoryError:
        return {"end": "memory"}
    return {"end": "done", "frames": report.frames, "warnings": report.warnings}


def count(source: Path) -> dict[str, object]:
    """Return how many frames PyAV decodes, packet by packet, and of the result all; in the child."""
    import av

    found = 0
    try:
        with av.open(f"file:{source}", **LENIENT) as file:
            covers = av.stream.Disposition.attached_pic
            stream = next(s for s in file.streams.video if not s.disposition & covers)
            stream.thread_type = "SLICE"
            for packet in file.demux(stream):
                try:
                    found += len(packet.decode())
                except av.FFmpegError:
                    continue
    except (av.FFmpegError, OSError, StopIteration, ValueError):
        pass
    return {"frames": found}


def apart(work: Callable[[], dict[str, object]]) -> dict[str, object]:
    """Do something in a process of its own, with limits; return what it tells, or how it ended."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        _limited(work, writing)
    os.close(writing)
    deadline, data = time.monotonic() + SECONDS, b""
    os.set_blocking(reading, False)
    status = None
    while status is None and time.monotonic() < deadline:
        ended, code = os.waitpid(child, os.WNOHANG)
        status = code if ended else None
        time.sleep(0.005 if status is None else 0)
    if status is None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    else:
        with os.fdopen(os.dup(reading), "rb") as pipe:
            data = pipe.read() or b""
    os.close(reading)
    if status is None:
        return {"end": "hang"}
    if os.WIFSIGNALED(status):
        return {"end": "crash", "kind": signal.Signals(os.WTERMSIG(status)).name}
    return json.loads(data) if data else {"end": "crash", "kind": f"exit {os.waitstatus_to_exitcode(status)}"}


def _limited(work: Callable[[], dict[str, object]], writing: int) -> None:
    """In the child: set the limits, work, tell, and go without any clearing up."""
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        told = work()
    except BaseException as error:  # noqa: BLE001 - it is what is looked for
        import traceback

        told = {"end": "crash", "kind": type(error).__name__, "told": traceback.format_exc()[-2000:]}
    os.write(writing, json.dumps(told, default=list).encode()[:60000])
    os._exit(0)


def judge(source: Path, folder: Path, on_error: str) -> tuple[str, str]:
    """Upscale one clip; return what happened, and what is wrong with it ("": nothing)."""
    output = folder / ("out.mkv" if source.suffix in (".mkv", ".avi", ".ts") else "out.mp4")
    told = apart(lambda: upscale(source, output, on_error))
    end = str(told["end"])
    if end in ("crash", "hang"):
        return end, f"{end}: {told.get('kind', '')} {told.get('told', '')}"
    partial = output.with_name(f"{output.stem}.partial{output.suffix}")
    left = {p.name for p in folder.iterdir()} - {source.name}
    if end != "done":
        allowed = {partial.name, f"{output.name}.vidsr"} if partial.exists() else set()
        if left - allowed:
            return end, f"leftovers: {sorted(left - allowed)} after {told}"
        if "\n" in str(told.get("told", "")):
            return end, f"not one line: {told}"
        return f"{end} {told.get('kind', '')}".strip() + (", part kept" if partial.exists() else ""), ""
    if left != {output.name}:
        return end, f"leftovers: {sorted(left)}"
    wanted, got = apart(lambda: count(source)), apart(lambda: count(output))
    if got.get("frames") != told["frames"]:
        return end, f"the report says {told['frames']} frames, the file holds {got}"
    warnings = told["warnings"]
    if isinstance(wanted.get("frames"), int) and told["frames"] < wanted["frames"] and not warnings:
        return end, f"{told['frames']} of {wanted['frames']} frames, and not a word"
    return end + (", with a warning" if warnings else ""), ""


def tell(text: str) -> None:
    """Say something, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    """Mutate, run, judge, tell."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--count", type=int, default=2000)
    arguments.add_argument("--first", type=int, default=0, help="number of the first clip")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--keep", type=Path, default=None, help="where clips that fail are kept")
    options = arguments.parse_args()
    import vidsr.pipeline  # noqa: F401 - loaded once, before the processes are forked

    results: Counter[str] = Counter()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(prefix="vidsr-fuzz-") as name:
        sources = make_classes(Path(name))

        began = time.monotonic()
        for number in range(options.first, options.first + options.count):
            rnd = random.Random(f"{options.seed}/{number}")
            base = rnd.choice(sources)
            kind, data = mutations.mutate(base.read_bytes(), rnd.choice(sources).read_bytes(), rnd)
            on_error = rnd.choice(MODES)
            folder = Path(name) / f"{number}"
            folder.mkdir()
            source = folder / f"in{base.suffix}"
            source.write_bytes(data)
            result, problem = judge(source, folder, on_error)
            results[result] += 1
            if problem:
                wrong.append(problem)
                tell(f"{number} ({base.name}, {kind}, {on_error}): {problem}")
                if options.keep is not None:
                    options.keep.mkdir(parents=True, exist_ok=True)
                    shutil.copy(source, options.keep / f"{number}_{on_error}_{base.name}")
            shutil.rmtree(folder)
    for result, number in results.most_common():
        tell(f"{number:6} {result}")
    tell(f"{options.count} clips, seed {options.seed}, {time.monotonic() - began:.0f} s, {len(wrong)} wrong")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
