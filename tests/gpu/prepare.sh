#!/usr/bin/env bash
# Collects what a machine with a GPU and without a network lacks: tests/gpu/prepare.sh FOLDER [PYTHON]
#
# FOLDER/1 and FOLDER/2, which install.sh takes one after the other, get wheels for the version of PYTHON (python3.12), beside
# what the machine has: torch for CUDA, numpy, onnx, cuda-bindings, NVRTC. OpenVINO, the reference,
# is in the second without what it has for other processors and other formats. pycuda is built here where there is a
# CUDA toolkit, else its source goes along and is built there. TensorRT's wheels are added where pip finds them.
set -euo pipefail
rm -rf "$1/1" "$1/2"
mkdir -p "$1/1" "$1/2"
folder=$(cd "$1" && pwd)
python=${2:-python3.12}
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
take() {
    "$python" -m pip download -q --only-binary :all: --python-version "$version" \
        --platform manylinux_2_28_x86_64 --platform manylinux_2_31_x86_64 --platform manylinux2014_x86_64 -d "$@"
}
"$python" -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install -q setuptools wheel numpy
take "$folder/1" --no-deps av pytools siphash24 mako
take "$folder/2" tomli-w tqdm typer pytest pytest-timeout pytest-rerunfailures hypothesis platformdirs

take "$scratch" --no-deps openvino
"$scratch/venv/bin/wheel" unpack -d "$scratch/openvino" "$scratch"/openvino-*.whl >/dev/null
rm -f "$scratch"/openvino/*/openvino/libs/{libopenvino_intel_{gpu,npu}_plugin.so,cache.json} \
    "$scratch"/openvino/*/openvino/libs/libopenvino_{tensorflow,tensorflow_lite,pytorch,paddle,gguf,jax}_frontend.so*
"$scratch/venv/bin/wheel" pack -d "$folder/2" "$scratch"/openvino/* >/dev/null

# pycuda 2025.1.2 is the last one that configures itself without a driver. It is linked to a library of no functions
# that only has the driver's name: the real one is found where it runs. Linkers leave out libraries that give
# nothing, unless they are told not to, and then it cannot be imported there.
toolkit=$(ls -d /usr/local/cuda-* 2>/dev/null | sort -V | tail -n 1 || true)
"$scratch/venv/bin/pip" download -q --no-deps --no-binary :all: --no-build-isolation -d "$scratch" pycuda==2025.1.2
if [ -f "$toolkit/include/cuda.h" ]; then
    tar -xf "$scratch"/pycuda-*.tar.gz -C "$scratch"
    mkdir "$scratch/driver"
    gcc -shared -xc /dev/null -Wl,-soname,libcuda.so.1 -o "$scratch/driver/libcuda.so"
    (
        cd "$scratch"/pycuda-2025.1.2
        ../venv/bin/python configure.py --cuda-root="$toolkit" --no-cuda-enable-curand \
            --cudadrv-lib-dir="$scratch/driver" >/dev/null
        LDFLAGS=-Wl,--no-as-needed ../venv/bin/pip wheel -q --no-cache-dir --no-deps --no-build-isolation -w "$folder/1" .
    )
    "$scratch/venv/bin/wheel" unpack -d "$scratch/pycuda" "$folder"/1/pycuda-*.whl >/dev/null
    readelf -d "$scratch"/pycuda/*/pycuda/_driver*.so | grep -q 'NEEDED.*libcuda.so.1' ||
        { echo "pycuda's wheel does not load the driver, so it could not be imported"; exit 1; }
else
    cp "$scratch"/pycuda-*.tar.gz "$folder/1"
fi
# The package tensorrt itself is a source that fetches the libraries when it is built.
"$scratch/venv/bin/pip" wheel -q --no-deps -w "$scratch/tensorrt" tensorrt-cu13-libs tensorrt-cu13-bindings tensorrt-cu13 \
    >"$scratch/tensorrt.log" 2>&1 && cp "$scratch"/tensorrt/*.whl "$folder/2" ||
    echo "TensorRT's wheels are not to be had here: its tests will say that it is absent"
du -sm "$folder"/[12]
