#!/usr/bin/env bash
# GPT-2 medium (355M) on one 24 GB GPU: launch/train_3090_medium.sh DATA_DIR [flags of bosrow train]
# 491,520 tokens a step as 240 micro batches of 2 rows. The same command goes on after any stop.
set -euo pipefail

data_dir=${1:?usage: launch/train_3090_medium.sh DATA_DIR [flags of bosrow train]}
shift

set -x
exec bosrow train --data_dir "$data_dir" --compile --n_layer 24 --n_head 16 --n_embd 1024 \
    --seq_len 1024 --micro_batch_size 2 --total_batch_tokens 491520 --max_train_steps 20000 "$@"
