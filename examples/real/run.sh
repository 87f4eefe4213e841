#!/usr/bin/env bash
# The three phases on real samples from a real pretrained encoder: before and after the nine tasks, over several seeds.
#
#   ENCODER=DIR DATA=DIR [SEEDS="1 2 3"] [STEPS=150] [OUT=runs/real] bash examples/real/run.sh
#
# Tatoeba by the last layer, each sentence after "query: " (ENCODER is an E5 model); XNLI and XCOPA by the intermediate
# heads, without target training; TyDiQA after one epoch of target training. Rows that these test sets have
# as well are left out of all training data. XQuAD is not reported: the samples of SQuAD are its questions.
# FULL=1: Tatoeba and XNLI whole, target training of PAWS-X and POS as well. The same command goes on where it stopped.
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${ENCODER:?a folder with an encoder}" "${DATA:?a folder with the samples}"
SEEDS=${SEEDS:-1 2 3} STEPS=${STEPS:-150} OUT=${OUT:-runs/real}

gpus=$(python -c 'import torch; print(torch.cuda.device_count())')
[ "$gpus" -eq 0 ] && export DS_ACCELERATOR=cpu
ranks=$((gpus > 0 ? gpus : 2))
deepspeed=zero2$([ "$gpus" -eq 0 ] && echo _cpu || true).json
say() { printf '\n== %s\n' "$*"; }
began=$SECONDS
tests=tydiqa,xnli,xcopa${FULL:+,pawsx,udpos}
mkdir -p "$OUT/tatoeba"
for code in ${LANGUAGES:-deu fra rus cmn kaz tha est tam}; do # of Tatoeba
  test -f "$DATA/raw/tatoeba/tatoeba.$code-eng.$code" || { echo "error: no Tatoeba of $code in $DATA" >&2 && exit 2; }
  ln -sf "$(realpath "$DATA")"/raw/tatoeba/tatoeba."$code"-eng.* "$OUT/tatoeba/"
done

evaluate() { # ENCODER NAME
  local common=(--encoder "$1" --out "$OUT/$2/eval" --num-gpus "$ranks" --data "$DATA")
  local tatoeba="$OUT/tatoeba" rows=(--examples 500)
  [ -z "${FULL:-}" ] || tatoeba=$DATA rows=()
  python -m eval "${common[@]}" --suite tatoeba --data "tatoeba=$tatoeba" --layer 12 --query-prefix "query: "
  [ "$2" = before ] || python -m eval "${common[@]}" --suite xnli,xcopa --direct "${rows[@]}"
  python -m eval "${common[@]}" --suite "tydiqa${FULL:+,pawsx,udpos}" --source "$DATA" --prepared "$OUT/data" \
    --against "$tests" --set epochs=1 --set micro_tokens=2048 --set max_length=256 --set optimizer.lr=1e-4
}

say "before: the encoder as it is"
evaluate "$ENCODER" before

say "the training data, without rows of the tests"
sets=(--set "encoder=$ENCODER" --set "data=$OUT/data" --set "output=$OUT" --set "steps=$STEPS")
python -m data_prep --config real/nine.json --source "$DATA" --against "$tests" "${sets[@]}"
for seed in $SEEDS; do
  say "phase 2, seed $seed"
  deepspeed --num_gpus "$ranks" --log_level error train.py --config real/nine.json "${sets[@]}" \
    --set "name=after_s$seed" --set "seed=$seed" --set "deepspeed=$deepspeed"
  evaluate "$OUT/after_s$seed/encoder" "after_s$seed"
done

say "before and after, with intervals over the seeds"
runs=("$OUT"/before)
for seed in $SEEDS; do runs+=("$OUT/after_s$seed"); done
python -m eval report "${runs[@]}" --out "$OUT/report"
say "done in $((SECONDS - began)) s"
