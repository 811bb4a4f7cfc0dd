#!/usr/bin/env bash
# Installs what prepare.sh collected: tests/gpu/install.sh FOLDER..., together or one after the other
set -euo pipefail
for folder in "$@"; do
    python3 -m pip install -q --no-index --no-deps "$folder"/*.whl
    for source in "$folder"/*.tar.gz; do
        [ -e "$source" ] || continue
        python3 -m pip install -q --no-index --no-deps --no-build-isolation "$source"
    done
done
