#!/usr/bin/env bash
# Prepare FineWeb-Edu's 10-billion-token sample from the Hub, as rows for GPT-2. Further flags are passed on:
#   launch/prepare_fineweb_edu.sh --out_dir /data/fineweb --workers 16
# A run that was stopped goes on when the same command is started again.
set -euo pipefail

command=(
  bosrow prepare
  --dataset HuggingFaceFW/fineweb-edu --config sample-10BT --split train --text_field text
  --tokenizer gpt2
  --out_dir fineweb_edu_10B_bosrow
  --seq_len 1024 --batch_docs 256 --buffer_docs 1000 --val_shards 1
  "$@"
)
printf '%q ' "${command[@]}"
echo
exec "${command[@]}"
