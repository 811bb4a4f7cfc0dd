#!/usr/bin/env bash
# Everything that waits for a GPU, on a machine that has one and no network: tests/gpu/run.sh WHEELS RESULTS
#
# WHEELS is made by prepare.sh. RESULTS gets tests.log, gpu.log, gpu.json and doctor.txt, each as soon as it is there.
# A backend whose libraries could not be carried is left out, and named.
set -uo pipefail
cd "$(dirname "$0")/../.."
wheels=$1
results=$2
mkdir -p "$results"
python3 -m pip install -q --no-index --find-links "$wheels" --no-deps "$wheels"/* 2>&1 | tail -n 3
python3 setup.py -q build_ext --inplace
export PYTHONPATH=$PWD VIDSR_REQUIRE_GPU=1
backends=$(python3 - <<'PY'
from vidsr.backends import get_backend
for name in ("fused", "tensorrt", "torch"):
    state = get_backend(name).availability()
    if state.usable and any(device.startswith("cuda") for device in state.devices):
        print(name)
PY
)
python3 -m vidsr doctor >"$results/doctor.txt" 2>&1
echo "backends that are usable: $backends" | tee "$results/backends.txt"
python3 benchmarks/gpu.py --backends $backends --json "$results/gpu.json" 2>&1 | tee "$results/gpu.log"
python3 -m pytest -q -p no:cacheprovider tests/gpu 2>&1 | tee "$results/tests.log"
python3 -m pytest -q -p no:cacheprovider -s -m slow tests/gpu/test_fused.py tests/gpu/test_backends.py 2>&1 | tee "$results/slow.log"
tail -n 1 "$results/tests.log" "$results/slow.log"
