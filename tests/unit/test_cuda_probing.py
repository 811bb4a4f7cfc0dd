"""Whether there is a GPU: without a driver, and with drivers made of a few lines of C."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from required import require

from vidsr.backends.cuda import probing
from vidsr.backends.cuda.layer import DeviceInfo
from vidsr.backends.cuda.probing import probe

# What the environment says, the driver answers.
_DRIVER = r"""
#include <stdlib.h>
#include <string.h>
static int number(const char *name, int otherwise) {
    const char *text = getenv(name);
    return text ? atoi(text) : otherwise;
}
int cuDriverGetVersion(int *version) { *version = number("FAKE_VERSION", 13000); return 0; }
int cuInit(unsigned flags) { return flags ? 1 : number("FAKE_INIT", 0); }
#ifndef OLD
int cuDeviceGetCount(int *count) { *count = number("FAKE_COUNT", 2); return number("FAKE_COUNT_ERROR", 0); }
int cuDeviceGet(int *device, int ordinal) {
    *device = 40 + ordinal;
    return ordinal < 2 ? number("FAKE_GET", 0) : 101;
}
int cuDeviceGetName(char *name, int length, int device) {
    strncpy(name, device == 40 ? "NVIDIA H100 80GB HBM3" : "NVIDIA L4", length);
    return 0;
}
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    if (attribute == 75) *value = device == 40 ? 9 : 8;
    else if (attribute == 76) *value = device == 40 ? 0 : 9;
    else return 1;
    return 0;
}
int cuDeviceTotalMem_v2(size_t *bytes, int device) {
    *bytes = (device == 40 ? (size_t)80 : (size_t)23) << 30;
    return 0;
}
#endif
"""


def _compile(folder: Path, *options: str) -> str:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        require("compiler", "no C compiler is here to make a driver with; install gcc")
    (folder / "driver.c").write_text(_DRIVER)
    library = folder / "libcuda.so.1"
    command = [str(compiler), "-shared", "-fPIC", *options, "-o", str(library), str(folder / "driver.c")]
    subprocess.run(command, check=True)
    return str(library)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> str:
    return _compile(tmp_path_factory.mktemp("driver"))


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(probing, "_KERNEL_MODULE", tmp_path / "absent")


def test_devices(driver: str) -> None:
    found = probe(driver)
    assert found.devices == (
        DeviceInfo(0, "NVIDIA H100 80GB HBM3", (9, 0), 80 << 30, "CUDA 13.0"),
        DeviceInfo(1, "NVIDIA L4", (8, 9), 23 << 30, "CUDA 13.0"),
    )
    assert found.driver == "CUDA 13.0"
    assert found.why == ""


@pytest.mark.parametrize(
    "text",
    [
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue Sep 23 10:11:16 UTC 2025\n"
        "GCC version:  gcc version 12.3.0\n",
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (root@x)\n",
    ],
)
def test_the_kernel_module_names_the_driver(
    driver: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "version").write_text(text)
    monkeypatch.setattr(probing, "_KERNEL_MODULE", tmp_path / "version")
    assert probe(driver).driver == "580.95.05 (CUDA 13.0)"
    assert probe(driver).devices[1].driver == "580.95.05 (CUDA 13.0)"
    (tmp_path / "version").write_text("nothing\n")
    assert probe(driver).driver == "CUDA 13.0"


def test_no_driver() -> None:
    found = probe("libcuda-that-is-not-here.so.1")
    assert found.devices == ()
    assert found.driver == ""
    assert found.why == (
        "no NVIDIA driver is here (libcuda-that-is-not-here.so.1 is not found); install NVIDIA's driver, or"
        " start the container with its GPUs (--gpus all)"
    )


def test_a_driver_that_cannot_be_loaded(tmp_path: Path) -> None:
    broken = tmp_path / "libcuda.so.1"
    broken.write_text("no library")
    assert "cannot be loaded" in probe(str(broken)).why
    assert "install it again" in probe(str(broken)).why


def test_a_driver_whose_own_libraries_are_absent(tmp_path: Path) -> None:
    needed = _compile(tmp_path)
    moved = shutil.move(needed, tmp_path / "libneeded.so")
    (tmp_path / "sub").mkdir()
    user = _compile(tmp_path / "sub", "-Wl,--no-as-needed", str(moved))
    Path(moved).unlink()
    assert "cannot be loaded" in probe(user).why
    assert "libneeded.so" in probe(user).why


def test_an_old_driver(driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_VERSION", "11040")
    monkeypatch.setenv("FAKE_INIT", "999")  # is not reached: the version says enough
    found = probe(driver)
    assert found.devices == ()
    assert found.driver == "CUDA 11.4"
    assert found.why == (
        "NVIDIA's driver is too old: CUDA 11.4, and CUDA 12.0 is needed; update it to 525 or later"
    )
    assert "update it to 580 or later" in probe(driver, (13, 0)).why
    monkeypatch.setenv("FAKE_VERSION", "12080")
    assert "CUDA 13.0 is needed" in probe(driver, (13, 0)).why
    assert "error 999" in probe(driver, (12, 8)).why


def test_no_device(driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("FAKE_INIT", "100"), ("FAKE_COUNT", "0"), ("FAKE_COUNT_ERROR", "100")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            found = probe(driver)
            assert found.devices == ()
            assert found.why.startswith("NVIDIA's driver is here but finds no GPU; see what nvidia-smi says")


@pytest.mark.parametrize("visible", ["", "-1", "7", "GPU-x\n"])
def test_devices_that_are_hidden(driver: str, monkeypatch: pytest.MonkeyPatch, visible: str) -> None:
    monkeypatch.setenv("FAKE_INIT", "100")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    why = probe(driver).why
    assert why.startswith(f"CUDA_VISIBLE_DEVICES={visible!r} leaves no GPU; unset it")
    assert "\n" not in why


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (3, "forked"),
        (34, "stub"),
        (101, "CUDA_VISIBLE_DEVICES"),
        (802, "fabricmanager"),
        (803, "restart the machine"),
        (804, "LD_LIBRARY_PATH"),
        (999, "nvidia_uvm"),
        (46, r"cuInit failed with error 46\); see what nvidia-smi says"),
    ],
)
def test_every_refusal_says_what_to_do(
    driver: str, monkeypatch: pytest.MonkeyPatch, result: int, said: str
) -> None:
    monkeypatch.setenv("FAKE_INIT", str(result))
    found = probe(driver)
    assert found.devices == ()
    assert found.driver == "CUDA 13.0"
    assert re.search(said, found.why)
    assert "\n" not in found.why


def test_a_device_that_fails(driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_GET", "46")
    assert "cuDeviceGet failed with error 46" in probe(driver).why
    assert probe(driver).devices == ()


def test_a_library_without_the_functions(tmp_path: Path) -> None:
    assert "is no driver that is known here" in probe(_compile(tmp_path, "-DOLD")).why


@pytest.mark.clock
def test_this_machine_is_asked_once_and_quickly() -> None:
    began = time.perf_counter()
    found = probing.find_cuda()
    took = time.perf_counter() - began
    assert took < 1.0 or found.devices  # a driver may have GPUs to wake up
    assert bool(found.devices) != bool(found.why)
    assert "\n" not in found.why
    assert probing.find_cuda() is found


def test_no_other_library_is_touched() -> None:
    check = (
        "import sys; from vidsr.backends.cuda.probing import find_cuda; find_cuda();"
        " import vidsr.backends.cuda.pycuda, vidsr.backends.cuda.runner;"
        " print([m for m in sys.modules if m.partition('.')[0] in ('pycuda', 'cuda', 'tensorrt', 'torch')])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
