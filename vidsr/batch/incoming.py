"""Files that come into watched folders, into the plan."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from vidsr.batch.entries import BatchEntry, plan_batch
from vidsr.batch.inputs import BatchSource
from vidsr.batch.preparing import prepare
from vidsr.batch.results import Results
from vidsr.batch.store import Store
from vidsr.batch.watching import watch_folders
from vidsr.errors import OptionsError

if TYPE_CHECKING:
    from vidsr.batch.run import BatchOptions, Viewer

__all__ = ["Incoming"]


class Incoming:
    """Watches in a thread of its own; use it in a ``with``."""

    def __init__(
        self, folders: Sequence[Path], options: BatchOptions, store: Store, viewer: Viewer, keys: list[str]
    ) -> None:
        """Prepare; keys of jobs that come in are added to `keys`."""
        self._folders, self._options, self._keys = folders, options, keys
        self._store, self._viewer = store, viewer
        self._entries: list[BatchEntry] = []
        self._arrived: queue.SimpleQueue[Path | Exception] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="vidsr-incoming", daemon=True)

    def __enter__(self) -> Self:
        """Begin to watch."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the watch."""
        self._stop.set()
        self._thread.join()

    def take(self) -> bool:
        """Put what has come in into the plan; return whether more may come: always.

        Raises:
            VidsrError: The watch has ended; why.
        """
        while not self._arrived.empty():
            arrived = self._arrived.get()
            if isinstance(arrived, Exception):
                raise arrived
            self._add(arrived)
        return True

    def _add(self, path: Path) -> None:
        if any(row.output == str(path) for row in self._store.jobs()):
            return  # a result
        root = next(folder for folder in self._folders if path.is_relative_to(folder))
        source = BatchSource(source=path, root=root, named=False)
        others = [entry for entry in self._entries if entry.job.source != path]
        try:
            entries = plan_batch(
                [source],
                options=self._options.job,
                output=self._options.output,
                output_dir=self._options.output_dir,
                beside=others,
            )
        except OptionsError as error:
            if not Results((one.result, one.pending) for one in others).makers(path):
                self._viewer.warn(f"{path} is left out: {error}")
            return
        self._entries = [*others, *entries]
        try:
            prepared = prepare(self._store, entries, full_hash=self._options.full_hash)
        except OptionsError as error:  # it changed while a worker has it: it comes again when that has ended
            self._viewer.warn(f"{path}: {error}")
            return
        self._keys += [key for key in prepared.keys if key not in self._keys]
        for text in prepared.warnings():
            self._viewer.warn(text)

    def _watch(self) -> None:
        try:
            for path in watch_folders(
                self._folders,
                recursive=self._options.recursive,
                stop=self._stop,
                settle_s=self._options.settle_seconds,
                poll=self._options.poll,
            ):
                if path is not None:
                    self._arrived.put(path)
        except Exception as error:  # noqa: BLE001 - raised in the thread that takes
            self._arrived.put(error)
