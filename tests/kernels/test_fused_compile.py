"""The CUDA sources through NVRTC, which needs no GPU: every capability, no spilled registers; the folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from required import require

from vidsr.errors import EngineBuildError
from vidsr.kernels.cuda import compile as compiling
from vidsr.kernels.cuda.plan import Network, shared_bytes, tiling

CAPABILITIES = [(7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0)]
NETWORKS = [
    Network(16, 6, 2),
    Network(16, 6, 3),
    Network(16, 12, 2),
    Network(16, 6, 4),
    Network(8, 6, 2),
    Network(8, 6, 4),
    Network(32, 6, 2),
    Network(32, 6, 4),
    Network(8, 2, 1),
]


@pytest.fixture(scope="module")
def nvrtc() -> None:
    if why := compiling.missing():
        require("nvrtc", why)


@pytest.mark.usefixtures("nvrtc")
@pytest.mark.parametrize("capability", CAPABILITIES, ids=lambda c: f"{c[0]}.{c[1]}")
@pytest.mark.parametrize("network", NETWORKS[:1], ids=str)
def test_compiles(network: Network, capability: tuple[int, int]) -> None:
    check(network, capability, 1)


@pytest.mark.slow
@pytest.mark.usefixtures("nvrtc")
@pytest.mark.parametrize("capability", CAPABILITIES, ids=lambda c: f"{c[0]}.{c[1]}")
@pytest.mark.parametrize("network", NETWORKS[1:], ids=str)
def test_all_compile(network: Network, capability: tuple[int, int]) -> None:
    for sample_bytes in (1, 2):
        check(network, capability, sample_bytes)


def check(network: Network, capability: tuple[int, int], sample_bytes: int) -> None:
    tiles, options = compiling.options_for(network, sample_bytes, capability)
    assert tiles.shared <= shared_bytes(capability)
    cubin, log = compiling.build(compiling.source(), (*options, "--ptxas-options=-v"))
    assert cubin.startswith(b"\x7fELF")
    spilled = [int(n) for n in re.findall(r"(\d+) bytes spill", log)]
    registers = [int(n) for n in re.findall(r"Used (\d+) registers", log)]
    print(network, capability, registers, tiles)  # noqa: T201 - for whoever asks with -s
    assert len(registers) == 2
    assert spilled == [0] * 4
    assert registers[1] * 32 * tiles.warps <= 65536


@pytest.mark.slow
@pytest.mark.usefixtures("nvrtc")
def test_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "kept"
    first = compiling.compiled(NETWORKS[0], 1, (9, 0), folder)
    (file,) = folder.iterdir()
    with monkeypatch.context() as patched:
        patched.setattr(compiling, "build", lambda *_: pytest.fail("it was compiled again"))
        assert compiling.compiled(NETWORKS[0], 1, (9, 0), folder) == first
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    assert compiling.compiled(NETWORKS[0], 1, (9, 0), folder) == first
    assert file.read_bytes() == whole
    compiling.compiled(NETWORKS[0], 2, (9, 0), folder)
    assert len(list(folder.iterdir())) == 2
    (tmp_path / "file").touch()  # a folder that cannot be made: compiled all the same
    assert compiling.compiled(NETWORKS[0], 1, (9, 0), tmp_path / "file" / "folder") == first


@pytest.mark.usefixtures("nvrtc")
def test_refusals() -> None:
    with pytest.raises(EngineBuildError, match=r"does not know compute capability 3\.5"):
        compiling.compiled(NETWORKS[0], 1, (3, 5), None)
    with pytest.raises(EngineBuildError, match=r"refuses the kernel.*identifier \"oops\" is undefined"):
        compiling.build(
            compiling.source() + "\nint x = oops;", compiling.options_for(NETWORKS[0], 1, (9, 0))[1]
        )
    with pytest.raises(EngineBuildError, match="do not fit the shared memory"):
        compiling.compiled(Network(32, 30, 2), 1, (7, 5), None)


def test_without_nvrtc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "missing", lambda: "NVRTC is not there (why); pip install it")
    with pytest.raises(EngineBuildError, match="cannot be compiled: NVRTC is not there"):
        compiling.compiled(NETWORKS[0], 1, (9, 0), None)


@pytest.mark.parametrize("capability", [*CAPABILITIES, (13, 0)], ids=str)
@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_tiles_fit(network: Network, capability: tuple[int, int]) -> None:
    tiles = tiling(network, shared_bytes(capability))
    assert tiles is not None
    assert tiles.shared <= shared_bytes(capability)
    assert tiles.height >= 2 * tiles.parts


def test_estimates() -> None:
    """What it was designed for: 200 us for M4C16 on 1920x1080 with 132 multiprocessors at 1.755 GHz."""
    found = {kib: tiling(NETWORKS[0], kib << 10) for kib in (99, 163, 227)}
    best = found[227]
    assert best is not None
    rounds = -(-(-(-1920 // best.width) * -(-1080 // best.height)) // 132)
    assert rounds * best.clocks * best.width * best.height / 1755 < 200
    overheads = [tiles.overhead for tiles in found.values() if tiles is not None]
    assert overheads == sorted(overheads, reverse=True)  # more memory, less that is computed again
    assert 1.25 < overheads[-1] < 1.35
    assert tiling(NETWORKS[0], 4 << 10) is None
