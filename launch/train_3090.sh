#!/usr/bin/env bash
# GPT-2 small (124M) on one 24 GB GPU: launch/train_3090.sh DATA_DIR [flags of bosrow train]
# 491,520 tokens a step as 48 micro batches of 10 rows. The same command goes on after any stop.
set -euo pipefail

data_dir=${1:?usage: launch/train_3090.sh DATA_DIR [flags of bosrow train]}
shift

set -x
exec bosrow train --data_dir "$data_dir" --compile \
    --seq_len 1024 --micro_batch_size 10 --total_batch_tokens 491520 --max_train_steps 20000 "$@"
