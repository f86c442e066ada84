#!/usr/bin/env bash
# GPT-2 small on all GPUs of this machine: launch/train_ddp.sh DATA_DIR [flags of bosrow train]
# RANKS=N takes another number of processes. Killed ranks are started again, from the last checkpoint.
set -euo pipefail

data_dir=${1:?usage: launch/train_ddp.sh DATA_DIR [flags of bosrow train]}
shift
ranks=${RANKS:-gpu}

set -x
exec torchrun --standalone --nproc_per_node="$ranks" --max-restarts=3 \
    -m bosrow train --data_dir "$data_dir" --compile "$@"
