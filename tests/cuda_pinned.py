"""Pinned memory of the stand-in for CUDA: arrays that know when the host may read and write them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from cuda_stand_in import Op, StandInDevice

POISON = 0xA5


class Buffer:
    """Memory of either side, and the work in streams that uses it."""

    kind = "memory"

    def __init__(self, device: StandInDevice, nbytes: int) -> None:
        device.require(f"allocating {self.kind}")
        device.not_capturing(f"allocating {self.kind}")
        self.device, self.nbytes = device, nbytes
        self.raw = np.full(nbytes, POISON, np.uint8)
        self.uses: list[Op] = []
        self.freed = False
        device.live[id(self)] = f"{self.kind} of {nbytes} bytes"

    def pending(self, *, writes_only: bool = False) -> bool:
        """Tell whether work uses it that the host has not waited for, whether it is done or not."""
        if self.device.dead:  # nothing runs there any more
            return False
        self.uses = [op for op in self.uses if not op.known]
        return any(self in op.writes or not writes_only for op in self.uses)

    def usable(self, what: str) -> None:
        if self.freed:
            self.device.misuse(f"{what} uses freed {self.kind}")

    def free(self) -> None:
        if self.freed:
            self.device.misuse(f"{self.kind} is freed twice")
        self.device.require(f"freeing {self.kind}", freeing=self)
        if self.pending():
            self.device.misuse(f"{self.kind} is freed while work in a stream uses it")
        self.freed = True
        self.device.freed(self)
        self.raw[:] = POISON


class Pinned(Buffer):
    """Of the host."""

    kind = "pinned memory"

    def __init__(self, device: StandInDevice, nbytes: int, write_combined: bool) -> None:
        super().__init__(device, nbytes)
        self.write_combined = write_combined
        self._array = self.raw.view(Watched)
        self._array.owner = self

    @property
    def array(self) -> Watched:
        self.usable("the host")
        return self._array

    def on_read(self) -> None:
        self.usable("the host")
        if self.write_combined:
            self.device.misuse("the host reads write-combined memory, which is slow")
        if self.pending(writes_only=True):
            self.device.misuse("the host reads pinned memory before the event behind the copy to it")

    def on_write(self) -> None:
        self.usable("the host")
        if self.pending():
            self.device.misuse("the host writes pinned memory while a copy in a stream uses it")


class Watched(np.ndarray):
    """A view of pinned memory that checks reads and writes by numpy's functions, indices and methods."""

    owner: Pinned | None = None

    def __array_finalize__(self, made_of: Any) -> None:
        self.owner = getattr(made_of, "owner", None)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        written = args[0] if func is np.copyto else None
        for one in (*args, *kwargs.values()):
            if isinstance(one, Watched) and one.owner is not None:
                one.owner.on_write() if one is written else one.owner.on_read()
                if func is np.copyto:
                    one.owner.device.host_copies.append(one.nbytes)
        return func(*map(_plain, args), **{name: _plain(one) for name, one in kwargs.items()})

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        outs = kwargs.get("out", ())
        for one in (*inputs, *outs):
            if isinstance(one, Watched) and one.owner is not None:
                one.owner.on_write() if any(one is out for out in outs) else one.owner.on_read()
        if outs:
            kwargs["out"] = tuple(map(_plain, outs))
        return getattr(ufunc, method)(*map(_plain, inputs), **kwargs)

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        if not isinstance(found, np.ndarray) and self.owner is not None:
            self.owner.on_read()
        return found

    def __setitem__(self, index: Any, value: Any) -> None:
        if self.owner is not None:
            self.owner.on_write()
        super().__setitem__(index, value)

    def fill(self, value: Any) -> None:
        if self.owner is not None:
            self.owner.on_write()
        super().fill(value)

    def copy(self, order: Any = "C") -> Any:
        if self.owner is not None:
            self.owner.on_read()
        return _plain(self).copy(order)

    def tobytes(self, order: Any = "C") -> bytes:
        if self.owner is not None:
            self.owner.on_read()
        return _plain(self).tobytes(order)


def _plain(one: Any) -> Any:
    return one.view(np.ndarray) if isinstance(one, Watched) else one
