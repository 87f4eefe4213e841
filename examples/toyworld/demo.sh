#!/usr/bin/env bash
# End to end on the toy world, with the programs a user runs: world, MLM, nine tasks, zero-shot evaluation.
# `make demo` calls it; SEED=2 NAME=demo2 bash examples/toyworld/demo.sh runs another seed beside the first.
set -euo pipefail
cd "$(dirname "$0")/../.."

SEED=${SEED:-1}
NAME=${NAME:-demo}
WORLD=data/toyworld
RUNS=runs

gpus=$(python -c 'import torch; print(torch.cuda.device_count())')
if [ "$gpus" -eq 0 ]; then
  export DS_ACCELERATOR=cpu
  ranks=2
else
  ranks=$((gpus < 2 ? gpus : 2))
fi
launch() { # without the launcher's own log lines
  deepspeed --num_gpus "$ranks" --log_level error train.py "$@"
}
say() { printf '\n== %s\n' "$*"; }
began=$SECONDS
rm -rf "${RUNS:?}/${NAME:?}" "$RUNS/${NAME}_mlm"

say "a small multilingual world: text in seven languages, nine English tasks, targets in the other six"
python -m examples.toyworld --out $WORLD --seed "$SEED"

say "phase 1: a tiny XLM-R learns the languages (masked language modelling, $ranks ranks)"
python -m data_prep --config demo_mlm.json --source $WORLD
launch --config demo_mlm.json --set "name=${NAME}_mlm" --set "seed=$SEED"

say "phase 2: nine English tasks, interleaved with multilingual text ($ranks ranks, ZeRO-2)"
python -m data_prep --config demo.json --source $WORLD --set "encoder=$RUNS/${NAME}_mlm/encoder"
launch --config demo.json --set "name=$NAME" --set "encoder=$RUNS/${NAME}_mlm/encoder" --set "seed=$SEED"

say "zero-shot: both encoders in languages that phase 2 never saw"
python -m eval --encoder "$RUNS/${NAME}_mlm/encoder" --encoder "$RUNS/$NAME/encoder" --suite toy --direct --data $WORLD --out "$RUNS/$NAME/eval"

say "done in $((SECONDS - began)) s; tensorboard --logdir $RUNS shows the curves"
