"""Checkpoints of strangers: what is read from good ones, and how bad ones are refused."""

from __future__ import annotations

import os
import pickle
import resource
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest
import torch

from vidsr.errors import WeightsError
from vidsr.networks.checkpoint import MAX_TENSORS, read_checkpoint

ONE = {"a.weight": torch.arange(4.0).reshape(2, 2), "a.bias": torch.ones(2)}


def saved(path: Path, thing: Any, **options: Any) -> Path:
    torch.save(thing, path, **options)
    return path


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    ("thing", "wrapper"),
    [
        (ONE, ""),
        (OrderedDict(ONE), ""),
        ({f"module.{n}": t for n, t in ONE.items()}, ""),
        ({f"_orig_mod.module.{n}": t for n, t in ONE.items()}, ""),
        ({"params": {n: t + 1 for n, t in ONE.items()}, "params_ema": ONE}, "params_ema"),
        ({"state_dict": ONE, "epoch": 3, "best": 31.5}, "state_dict"),
        ({"model": {"state_dict": ONE}}, "model.state_dict"),
        ({n: torch.nn.Parameter(t) for n, t in ONE.items()}, ""),
        ({n: t.double() for n, t in ONE.items()}, ""),
        ({n: t.half() for n, t in ONE.items()}, ""),
        ({n: t.bfloat16() for n, t in ONE.items()}, ""),
        ({n: torch.stack([t, t], -1)[..., 0] for n, t in ONE.items()}, ""),
    ],
)
def test_good_ones(tmp_path: Path, thing: Any, wrapper: str, legacy: bool) -> None:
    path = saved(tmp_path / "a.pth", thing, _use_new_zipfile_serialization=not legacy)
    found = read_checkpoint(path)
    assert found.wrapper == wrapper
    assert list(found.weights) == list(ONE)
    for name, tensor in found.weights.items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, ONE[name])
        assert tensor.is_contiguous()


class Runs:
    """Unpickles to a call."""

    def __init__(self, call: Any, *arguments: Any) -> None:
        self.made = call, arguments

    def __reduce__(self) -> Any:
        return self.made


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle", "wrapped", "protocol 4"])
def test_code_is_never_run(tmp_path: Path, form: str) -> None:
    marker = tmp_path / "ran"
    evil = Runs(os.mkdir, str(marker))
    path = tmp_path / "evil.pth"
    if form.startswith("p"):
        path.write_bytes(pickle.dumps(evil, protocol=4 if "4" in form else 2))
    else:
        thing = {"state_dict": {"a": torch.zeros(1)}, "x": evil} if form == "wrapped" else {"a": evil}
        torch.save(thing, path, _use_new_zipfile_serialization=form != "legacy")
    with pytest.raises(WeightsError) as caught:
        read_checkpoint(path)
    assert not marker.exists()
    assert form.startswith("p") or "posix.mkdir, which only running its code could make" in str(caught.value)
    pickle.loads(pickle.dumps(evil))  # it would have
    assert marker.exists()


def repacked(
    path: Path, change: Callable[[bytes], bytes] = bytes, *, method: int = zipfile.ZIP_STORED, **more: bytes
) -> Path:
    """Save `ONE` and write its archive again, with its pickle changed."""
    whole = saved(path.with_name("whole.pth"), ONE)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w", method) as new:
        for entry in old.infolist():
            data = old.read(entry)
            new.writestr(entry.filename, change(data) if entry.filename.endswith("data.pkl") else data)
        for name, data in more.items():
            new.writestr(f"whole/{name}", data)
    return path


HUGE = b"\x8a\x06" + (1 << 42).to_bytes(6, "little")
"""LONG1: 4 * 2**40."""


def claim_storage(program: bytes) -> bytes:
    """Let the first storage, of four numbers, claim terabytes; and its tensor with it."""
    return program.replace(b"K\x04t", HUGE + b"t").replace(b"K\x02K\x02\x86", HUGE + b"K\x01\x86")


def claim_shape(program: bytes) -> bytes:
    """Let the first tensor claim terabytes of its four numbers, by strides of zero."""
    shape = b"K\x02K\x02\x86"
    assert shape in program
    return program.replace(shape, HUGE + b"K\x01\x86").replace(b"K\x02K\x01\x86", b"K\x00K\x00\x86")


def call(name: str, argument: bytes) -> Callable[[bytes], bytes]:
    """Put a call before everything else: a name that weights_only allows, with a number that takes memory."""
    module, _, function = name.rpartition(".")
    return lambda program: (
        program[:2] + f"c{module}\n{function}\n".encode() + argument + b"\x85R0" + program[2:]
    )


def far_memo(program: bytes) -> bytes:
    """Keep something under the largest number of the memo, for which C's unpickler makes room."""
    assert program[2:5] == b"}q\x00"
    return program[:3] + b"r\xff\xff\xff\x7f" + program[5:]


def truncated(path: Path) -> None:
    whole = saved(path, ONE).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def truncated_legacy(path: Path) -> None:
    whole = saved(path, {"a": torch.zeros(500)}, _use_new_zipfile_serialization=False).read_bytes()
    path.write_bytes(whole[:-300])


def claiming_legacy(path: Path) -> None:
    whole = saved(path, ONE, _use_new_zipfile_serialization=False).read_bytes()
    assert b"K\x04N" in whole
    path.write_bytes(whole.replace(b"K\x04N", HUGE + b"N"))


def write(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


def save(thing: Any) -> Callable[[Path], object]:
    return lambda path: saved(path, thing)


def nested(depth: int) -> Any:
    thing: Any = ONE
    for _ in range(depth):
        thing = {"params": thing}
    return thing


class Network(torch.nn.Linear):
    """A whole module, pickled with its class."""


NAN, INFINITE = torch.tensor([1.0, torch.nan]), torch.tensor([torch.inf])
ONNX = b"\x08\x08\x12\x05vidsr"
SAFETENSORS = struct.pack("<Q", 12) + b'{"a": 1}    '
BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "there is no such file; check the path"),
    "folder": (lambda path: path.mkdir(), "this is no file; name the checkpoint itself"),
    "fifo": (os.mkfifo, "this is no file"),
    "empty": (Path.touch, "this file is empty; fetch the file again"),
    "text": (write(b"hello, this is no network\n" * 9), "this is no checkpoint of torch, or it is d"),
    "zeros": (write(bytes(5000)), "this is no checkpoint of torch"),
    "noise": (write(np.random.default_rng(0).bytes(5000)), "this is no checkpoint of torch"),
    "onnx": (write(ONNX), "this is an ONNX file, not a checkpoint; it needs no import: --model takes it"),
    "safetensors": (write(SAFETENSORS), "this is a safetensors file"),
    "lfs": (write(b"version https://git-lfs.github.com/spec/v1\n"), "pointer of Git LFS, not the file; run"),
    "page": (write(b"\n<!DOCTYPE html>"), "this is a web page"),
    "cut off": (truncated, "this file is damaged or cut off"),
    "cut off, legacy": (truncated_legacy, "torch cannot read this checkpoint"),
    "a zip of something": (lambda p: zipfile.ZipFile(p, "w").close(), "is no checkpoint of torch"),
    "deflated": (lambda p: repacked(p, method=zipfile.ZIP_DEFLATED), "packed as torch never packs"),
    "torchscript": (lambda p: repacked(p, **{"constants.pkl": b""}), "this is a TorchScript program"),
    "long": (lambda p: repacked(p, lambda b: b + bytes(3 << 20)), "table of contents is too long"),
    "claims storage": (lambda p: repacked(p, claim_storage), "claims 17592186044416 bytes of weights where"),
    "claims storage, legacy": (claiming_legacy, "claims 17592186044424 bytes of weights"),
    "claims shape": (lambda p: repacked(p, claim_shape), "more than 67108864 weights"),
    "bytearray": (lambda p: repacked(p, call("builtins.bytearray", HUGE)), "holds a builtins.bytearray"),
    "tensor": (lambda p: repacked(p, call("torch.Tensor", HUGE)), "it holds a torch.Tensor, which only"),
    "memo": (lambda p: repacked(p, far_memo), ""),
    "a module": (save(Network(2, 2)), "Network, which only running its code could make; nothing was run"),
    "numpy": (save({"state_dict": ONE, "psnr": np.float64(3)}), "numpy.*, which only running its code"),
    "a tensor": (save(torch.zeros(3)), "it holds a Tensor, not weights by name"),
    "a list": (save([torch.zeros(3)]), "it holds a list, not weights by name"),
    "nothing": (save({}), "it holds 0 tensors"),
    "many": (save({str(i): torch.zeros(1) for i in range(MAX_TENSORS + 1)}), "it holds 2001 tensors"),
    "numbers": (save({"a": torch.zeros(1), "epoch": 3}), "'epoch' is an int, not a tensor"),
    "a numbered one": (save({3: torch.zeros(1)}), "it has a name that is an int, not text"),
    "nested": (save(nested(9)), "wrapped too deeply"),
    "very nested": (save(nested(300)), "wrapped too deeply"),
    "junk": (save({"a": {"b": [1, {"c": ONE}]}}), "'a' is a dict, not a tensor"),
    "twice": (save({"module.a": torch.zeros(1), "a": torch.ones(1)}), "'a' is there twice"),
    "nan": (save({"a": NAN}), "'a' has weights that are not finite numbers"),
    "infinite": (save({"a": INFINITE}), "'a' has weights that are not finite numbers"),
    "too large for float32": (save({"a": torch.tensor([1e300], dtype=torch.float64)}), "are not finite"),
    "integers": (save({"a": torch.arange(3)}), "'a' is int64, not floating point"),
    "complex": (save({"a": torch.zeros(3, dtype=torch.complex64)}), "'a' is complex64, not floating point"),
    "no numbers": (save({"a": torch.zeros(0, 3)}), r"'a' claims the shape \[0, 3\] without"),
    "expanded": (save({"a": torch.zeros(1).expand(1000)}), r"'a' claims the shape \[1000\] without"),
    "sparse": (save({"a": torch.eye(3).to_sparse()}), "_rebuild_sparse_tensor, which only"),
    "meta": (save({"a": torch.zeros(3, device="meta")}), "_rebuild_meta_tensor_no_storage, which only"),
}  # fmt: skip


@pytest.fixture
def little_memory() -> Any:
    """Let nothing take more than two gigabytes more than there is."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    old = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (2 << 30), old[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, old)


@pytest.mark.clock
@pytest.mark.parametrize("name", BAD)
@pytest.mark.usefixtures("little_memory")
def test_bad_ones(tmp_path: Path, name: str) -> None:
    make, message = BAD[name]
    path = tmp_path / "bad.pth"
    make(path)
    began = perf_counter()
    if not message:  # harmless when it is read in the right way
        assert read_checkpoint(path).weights.keys() == ONE.keys()
        return
    with pytest.raises(WeightsError, match=message) as caught:
        read_checkpoint(path)
    assert perf_counter() - began < 2
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_large_files_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.pth"
    with path.open("wb") as file:
        file.truncate(600 << 20)  # takes no room
    with pytest.raises(WeightsError, match="600 MiB is too large for a network; the limit is 288 MiB"):
        read_checkpoint(path)


def test_shared_memory_is_not_kept(tmp_path: Path) -> None:
    whole = torch.arange(100.0)
    found = read_checkpoint(saved(tmp_path / "a.pth", {"a": whole[:2], "b": whole[1:3]})).weights
    assert [t.untyped_storage().nbytes() for t in found.values()] == [8, 8]
    found["a"].zero_()
    assert found["b"].tolist() == [1.0, 2.0]
