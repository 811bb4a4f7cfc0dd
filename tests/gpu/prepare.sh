#!/usr/bin/env bash
# Collects what a machine with a GPU and without a network lacks: tests/gpu/prepare.sh FOLDER [PYTHON]
#
# FOLDER gets wheels for PYTHON's version (python3.12), beside what the machine has: torch for CUDA, numpy, onnx, pytest,
# typer, tqdm, cuda-bindings, NVRTC. pycuda is built here where there is a CUDA toolkit, else its source goes along
# and run.sh builds it there. TensorRT's wheels are added where pip finds them.
set -euo pipefail
folder=$(mkdir -p "$1" && cd "$1" && pwd)
python=${2:-python3.12}
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
take() {
    "$python" -m pip download -q --no-deps --only-binary :all: --python-version "$version" \
        --platform manylinux_2_28_x86_64 --platform manylinux_2_31_x86_64 --platform manylinux2014_x86_64 -d "$folder" "$@"
}
take av openvino tomli-w tqdm typer pytest pytest-timeout hypothesis pytools siphash24 mako platformdirs typing-extensions
# pycuda 2025.1.2 is the last one that configures itself without a driver. It is linked to a library of no functions
# that only has the driver's name: the real one is found where it runs.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
toolkit=$(ls -d /usr/local/cuda-* 2>/dev/null | sort -V | tail -n 1 || true)
"$python" -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install -q setuptools wheel numpy
"$scratch/venv/bin/pip" download -q --no-deps --no-binary :all: --no-build-isolation -d "$scratch" pycuda==2025.1.2
if [ -f "$toolkit/include/cuda.h" ]; then
    tar -xf "$scratch"/pycuda-*.tar.gz -C "$scratch"
    mkdir "$scratch/driver"
    gcc -shared -xc /dev/null -Wl,-soname,libcuda.so.1 -o "$scratch/driver/libcuda.so"
    (
        cd "$scratch"/pycuda-2025.1.2
        ../venv/bin/python configure.py --cuda-root="$toolkit" --no-cuda-enable-curand \
            --cudadrv-lib-dir="$scratch/driver" >/dev/null
        ../venv/bin/pip wheel -q --no-deps --no-build-isolation -w "$folder" .
    )
else
    cp "$scratch"/pycuda-*.tar.gz "$folder"
fi
take tensorrt-cu13-libs tensorrt-cu13-bindings 2>/dev/null ||
    echo "TensorRT's wheels are not to be had here: its tests will say that it is absent"
du -sh "$folder"
