"""What pyproject.toml cannot express: a mapped folder, and kernels in C that may be missing.

Without a compiler the package installs all the same; the backend `kernel` then says that it is not there.
"""

import platform
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.bdist_wheel import bdist_wheel

_SOURCES = Path("vidsr/kernels/src")


class _AnyPython(bdist_wheel):
    """Tags the wheel for the limited API: one for all versions from 3.11 on."""

    def finalize_options(self) -> None:
        self.py_limited_api = "cp311"
        super().finalize_options()


rows = Extension(
    "vidsr.kernels._rows",
    sources=sorted(str(path) for path in _SOURCES.glob("*.c")),
    depends=sorted(str(path) for path in (*_SOURCES.glob("*.h"), *_SOURCES.glob("*.inc"))),
    define_macros=[("Py_LIMITED_API", "0x030B0000")],
    extra_compile_args=["-std=gnu11", "-O3", "-fno-strict-aliasing", "-fno-math-errno", "-Wall", "-Wextra"],
    py_limited_api=True,
    optional=True,
)

setup(
    packages=[*find_packages(include=["vidsr", "vidsr.*"]), "vidsr.engines"],
    package_dir={"vidsr.engines": "engines"},
    ext_modules=[rows] if platform.python_implementation() == "CPython" else [],
    cmdclass={"bdist_wheel": _AnyPython},
)
