#!/usr/bin/env bash
# The A/B experiment with GPT-2 small on all GPUs of this machine: launch/ab.sh [EXPERIMENT.toml] [--dry_run]
# Prepares the data, trains and evaluates 20 runs, writes the report. The same command goes on after any stop.
set -euo pipefail

experiment=$(dirname "$0")/ab_124m.toml
if [[ ${1:-} == *.toml ]]; then
    experiment=$1
    shift
fi

set -x
exec bosrow ab "$experiment" "$@"
