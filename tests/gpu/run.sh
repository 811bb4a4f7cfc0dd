#!/usr/bin/env bash
# Everything that waits for a GPU, on a machine that has one and no network: tests/gpu/run.sh RESULTS [SECONDS]
#
# After install.sh. RESULTS gets doctor.txt, tests.log, gpu.log, gpu.json and slow.log, each as it comes; a step that takes
# more than SECONDS (420) is stopped. TensorRT may be absent, which is said; all else must be there.
set -uo pipefail
cd "$(dirname "$0")/../.."
mkdir -p "$1"
results=$(cd "$1" && pwd)
seconds=${2:-420}
export PYTHONPATH=$PWD VIDSR_REQUIRE_GPU=1 PYTEST_DISABLE_PLUGIN_AUTOLOAD=1
python3 setup.py -q build_ext --inplace || exit 1
timeout "$seconds" python3 -m vidsr doctor 2>&1 | tee "$results/doctor.txt"
failed=0
step() { # FILE COMMAND...
    local log=$results/$1
    shift
    timeout "$seconds" "$@" 2>&1 | tee "$log" || { failed=1; echo "not passed: $*" | tee -a "$log"; }
}
test=(python3 -m pytest -q -rs -p no:cacheprovider -p pytest_timeout)
step tests.log "${test[@]}" tests/gpu
step gpu.log python3 benchmarks/gpu.py --json "$results/gpu.json"
step slow.log "${test[@]}" -s -m slow tests/gpu
tail -n 1 "$results/tests.log" "$results/slow.log"
exit $failed
