"""The process that builds one engine.

    python -m vidsr.backends.tensorrt.child MODULE FOLDER MESSAGES

It is started by `vidsr.backends.tensorrt.process` and reads ``request`` in FOLDER, which its parent has
pickled. It tells where it is on the file descriptor MESSAGES, a JSON text a line, and leaves ``engine`` and
``timing`` in FOLDER. It ends when its parent does, however that ended: its standard input is a pipe that
closes then, and on Linux the kernel kills it, which works even while the runtime holds Python's lock.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import json
import os
import pickle
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vidsr import records
from vidsr.errors import VidsrError

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Build; the exit code is 0 where an engine is left."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C reaches both; the parent decides
    _die_with_parent()
    os.environ.setdefault(
        "CUDA_MODULE_LOADING", "LAZY"
    )  # CUDA's own default since 12.2: kernels as they are needed
    module, folder, messages = arguments[0], Path(arguments[1]), int(arguments[2])
    os.set_inheritable(messages, False)
    with os.fdopen(messages, "w", encoding="utf-8", buffering=1) as out:
        one_at_a_time = threading.Lock()  # a runtime tells its progress from several threads

        def say(**what: Any) -> None:
            with one_at_a_time:
                out.write(json.dumps(what) + "\n")

        def progress(phase: str, step: int, steps: int) -> bool:
            try:
                say(phase=phase, step=step, steps=steps)
            except OSError:
                return False  # nobody listens any more
            return True

        try:
            typed, options = pickle.loads((folder / "request").read_bytes())  # noqa: S301 - our parent's own
            _only(getattr(options, "ordinal", None))
            made = importlib.import_module(module).build(typed, options, progress)
            (folder / "engine").write_bytes(made.engine)
            (folder / "timing").write_bytes(made.timing_cache)
            say(
                done=hashlib.sha256(made.engine).hexdigest(),
                layers=[one if isinstance(one, Mapping) else records.to_mapping(one) for one in made.layers],
            )
        except VidsrError as error:
            say(error=error.message, hint=error.hint)
            return 1
    return 0


def _only(ordinal: int | None) -> None:
    """Let CUDA, which has not started yet, see one GPU alone: libraries build for the first that they see."""
    if ordinal is not None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        os.environ["CUDA_VISIBLE_DEVICES"] = (
            str(ordinal) if visible is None else visible.split(",")[ordinal].strip()
        )


def _die_with_parent() -> None:
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it went while we asked
            os._exit(1)
    threading.Thread(target=_watch, daemon=True).start()


def _watch() -> None:
    while os.read(0, 1 << 10):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
