#!/usr/bin/env bash
# What needs a GPU, most important first, in two commands of less than ten minutes each: tests, two ranks on one GPU;
# then rows of bench.gpu for XLM-R Large and mmBERT base.
#
#   bash bench/gpu.sh tests [OUT=gpu]     # a log of each step in OUT
#   bash bench/gpu.sh rows [OUT=gpu]      # and the tables of bench.gpu, with all figures as JSON
#
# A step that fails or takes too long leaves the next ones to run.
set -uo pipefail
cd "$(dirname "$0")/.."
part=${1:?tests or rows}
out=$(realpath -m "${2:-gpu}")
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

step() { # SECONDS NAME COMMAND...
  local began=$SECONDS
  timeout "$1" "${@:3}" >"$out/$2.log" 2>&1
  echo "$2: exit $?, $((SECONDS - began)) s: $(tail -n 1 "$out/$2.log")"
}

if [ "$part" = tests ]; then
  step 240 tests python -m pytest -p no:cacheprovider -n0 -vv -m gpu

  # The same 20 steps without dropout, which depends on the rank, on one rank and on two: sums in another order.
  step 60 workload python -c "
import sys; from pathlib import Path; from bench.workload import training
training.write(Path(sys.argv[1]), 'small', rows=200, seed=1, vocabulary=8000, max_length=256, steps=20, log_every=1,
               batch={'examples': 64}, optimizer={'lr': 1e-4}, hidden_dropout_prob=0.0, deepspeed='${DEEPSPEED:-zero2.json}')" "$work"
  for ranks in 1 2; do
    step 90 "ranks$ranks" python -m torch.distributed.run --standalone --nproc-per-node "$ranks" bench/one_gpu.py \
      train.py --config "$work/run.json" --set "name=ranks$ranks" --resume never
  done
  step 30 ranks python -c "
import json, sys
one, two = ([line['loss'] for line in map(json.loads, open(f'{sys.argv[1]}/runs/ranks{n}/metrics.jsonl'))
             if line['kind'] == 'train' and line['task'] == 'all'] for n in (1, 2))
difference = max(abs(b / a - 1) for a, b in zip(one, two, strict=True))
print(f'{len(one)} steps, losses {one[0]:.4f} to {one[-1]:.4f}; largest relative difference: {difference:.2g} (at most 0.01)')
sys.exit(difference > 0.01)" "$work"
  exit
fi

rows=(deepspeed_zero2 whole trainer_grouped trainer_flat 32_trainer_grouped)
step 360 bench python -m bench.gpu --rounds 3 --seconds 320 --json "$out/bench.json" "${rows[@]/#/--only=}"
step 120 mmbert python -m bench.gpu --shape mmbert --vocabulary 256000 --rounds 3 --seconds 80 --json "$out/mmbert.json" --only trainer_flat
cat "$out/bench.log" "$out/mmbert.log"
