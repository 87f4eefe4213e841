"""Write the toy world: English training data, raw text, multilingual targets and a tokenizer, with true labels.

    python -m examples.toyworld --out data/toyworld --seed 1 [--scale 1.0]

The layout is the one `data_prep --source DIR` reads: the Hub's folders as Parquet, ccg/*.tsv, text/*.txt, tatoeba/ in
LASER's layout, mewsli-x/*.jsonl, tokenizer/. The same seed and scale give the same bytes. world.json is written last:
where it is, the world is whole. Trade-off: everything follows from about 150 hand-written concepts, so scores here say
that a program works, not that a method is good.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
from pathlib import Path

from datasets import Dataset, Features, disable_progress_bars
from tqdm import tqdm

from common.errors import InputError
from examples.toyworld import concepts, lexicon, supply, targets, tasks, text, tokenizer

TEXT_LINES = {"train": 60000, "dev": 1000}
TARGET_ROWS = {"tatoeba": 400, "xnli": 600, "xquad": 400}


def _parquet(out: Path, folder: str, split: str, rows: list[tasks.Row], features: Features) -> int:
    path = out / folder / f"{split}-00000-of-00001.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    Dataset.from_list(rows, features=features).to_parquet(path)
    return len(rows)


def _lines(path: Path, lines: list[str]) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8", newline="\n")
    return len(lines)


def _json_lines(path: Path, rows: list[tasks.Row]) -> int:
    return _lines(path, [json.dumps(row, ensure_ascii=False) for row in rows])


def write_tasks(out: Path, seed: int, scale: float) -> dict[str, dict[str, int]]:
    """The nine English tasks; returns rows per split."""
    counts: dict[str, dict[str, int]] = {}
    for folder in tqdm(tasks.SIZES, desc="tasks", unit="dataset"):
        counts[folder] = {
            split: _parquet(out, folder, split, rows, tasks.FEATURES[folder])
            for split, rows in tasks.splits(folder, seed, scale)
        }
    counts["ccg"] = {}
    for split, sentences in tasks.ccg(seed, scale):
        rows = [" ".join(w.text for w in s) + "\t" + " ".join(w.tag for w in s) for s in sentences]
        counts["ccg"][split] = _lines(out / "ccg" / f"ccg.{split}.tsv", rows)
    return counts


def write_supply(out: Path, seed: int, scale: float) -> dict[str, dict[str, int]]:
    """Training data of PAWS-X, training and test data of Mewsli-X; returns rows per split."""
    counts: dict[str, dict[str, int]] = {"paws-x": {}, "mewsli-x": {}}
    sizes = [{s: max(30, round(n * scale)) for s, n in of.items()} for of in (supply.PAWSX_SIZES, supply.MEWSLIX_SIZES)]
    for split, rows in supply.pawsx(seed, sizes[0]):
        counts["paws-x"][split] = _parquet(out, "google-research-datasets/paws-x/en", split, rows, supply.PAWSX)
    for split, rows in supply.mewslix(seed, sizes[1]):
        counts["mewsli-x"][split] = _json_lines(out / "mewsli-x" / f"wikipedia_pairs-{split}.jsonl", rows)
    mentions, entities = supply.mewslix_test(seed, max(30, round(supply.MEWSLIX_TEST * scale)))
    counts["mewsli-x"]["test"] = _json_lines(out / "mewsli-x" / "wikinews_mentions-test.jsonl", mentions)
    _json_lines(out / "mewsli-x" / "candidate_set_entities.jsonl", entities)
    return counts


def write_targets(out: Path, seed: int, scale: float) -> dict[str, int]:
    """Retrieval pairs and zero-shot test sets in every language; returns rows per language."""
    size = {name: max(30, round(n * scale)) for name, n in TARGET_ROWS.items()}
    clauses = targets.retrieval_meanings(seed, size["tatoeba"])
    nli, qa = targets.xnli_meanings(seed, size["xnli"]), targets.xquad_meanings(seed, size["xquad"])
    for lang in tqdm(concepts.LANGUAGES, desc="targets", unit="language"):
        if lang != "en":
            pair = f"{concepts.ISO3[lang]}-eng"
            for side, code in ((lang, concepts.ISO3[lang]), ("en", "eng")):
                _lines(out / "tatoeba" / f"tatoeba.{pair}.{code}", targets.sentences(clauses, side))
        _parquet(out, f"facebook/xnli/{lang}", "test", targets.xnli(nli, lang), targets.XNLI)
        _parquet(out, f"google/xquad/xquad.{lang}", "validation", targets.xquad(qa, lang), targets.XQUAD)
    return size


def write_text(out: Path, seed: int, scale: float) -> tuple[dict[str, int], int]:
    """text/train.txt, dev.txt, one file per language (its lines of train.txt) and the tokenizer; returns its size."""
    size = {split: max(200, round(n * scale)) for split, n in TEXT_LINES.items()}
    made = text.lines(random.Random(f"{seed}/text"), sum(size.values()))
    train, dev = made[size["dev"] :], made[: size["dev"]]
    counts = {
        "train": _lines(out / "text" / "train.txt", [t for _, t in train]),
        "dev": _lines(out / "text" / "dev.txt", [t for _, t in dev]),
    }
    for lang in (*concepts.LANGUAGES, "mix"):
        counts[lang] = _lines(out / "text" / f"{lang}.txt", [t for code, t in train if code == lang])
    return counts, tokenizer.write_tokenizer((t for _, t in made), out / "tokenizer")


def generate(out: Path, seed: int, scale: float) -> dict:
    """Write the whole world below `out` (what an earlier run left of it is removed) and return world.json's object.

    Raises InputError where `out` holds something that is not a toy world.
    """
    if out.exists() and any(out.iterdir()) and not (out / "world.json").exists() and not (out / ".unfinished").exists():
        raise InputError(f"{out}: not empty and not a toy world; name another folder with --out or empty it")
    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True)
    (out / ".unfinished").touch()
    disable_progress_bars()
    rows = write_tasks(out, seed, scale) | write_supply(out, seed, scale)
    rows_target = write_targets(out, seed, scale)
    lines, size = write_text(out, seed, scale)
    world = {
        "seed": seed,
        "scale": scale,
        "languages": list(concepts.LANGUAGES),
        "concepts": lexicon.concept_count(),
        "vocabulary": size,
        "tasks": rows,
        "targets": rows_target,
        "text": lines,
    }
    (out / "world.json").write_text(json.dumps(world, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (out / ".unfinished").unlink()
    return world


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.toyworld", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to write; a toy world in it is replaced")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0, help="factor on all sizes (tests use a small one)")
    args = parser.parse_args(argv)
    try:
        if args.scale <= 0:
            raise InputError(f"--scale: {args.scale} is not above 0; give a positive factor")
        world = generate(args.out, args.seed, args.scale)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(
        f"{args.out}: {world['concepts']} concepts in {len(world['languages'])} languages, "
        f"{sum(sum(s.values()) for s in world['tasks'].values())} task rows, {world['text']['train']} lines of text, "
        f"vocabulary {world['vocabulary']}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
