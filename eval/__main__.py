"""Scores an encoder zero-shot, compares scored runs, measures alignment and MLM loss, or exports encoder and head.

    python -m eval --encoder runs/mtl_all/encoder --suite xtreme
    python -m eval --encoder runs/a/encoder --encoder runs/b/encoder --suite toy --data DIR --out compared
    python -m eval --encoder runs/mtl_all/encoder --suite xtreme --direct
    python -m eval align --encoder runs/mtl_all/encoder --data DIR --languages de sw zh
    python -m eval mlm-loss --encoder FacebookAI/xlm-roberta-large --encoder runs/mtl_all/encoder --languages de sw
    python -m eval report runs/baseline runs/mtl_all --out compared
    python -m eval export --encoder runs/mtl_all/encoder --task mnli --out mnli_classifier

This process is the driver: it trains the targets that need it (`deepspeed`), predicts (`accelerate launch` where there
are several GPUs), scores, and reports. The same command goes on where it was interrupted.
"""

import argparse
import errno
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from common.command_line import interrupt_on, positive
from common.errors import InputError

# What the user's disk says, whatever is done with it.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    commands = {"align": _align, "export": _export, "mlm-loss": _mlm_loss, "report": _report}
    try:
        if arguments and arguments[0] in commands:
            return commands[arguments[0]](arguments[1:])
        return _evaluate(arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in _DISK:
            raise
        what = f"{error.filename or 'the disk'}: {error.strerror}"
        print(f"error: {what}; fix that or choose another --out; the same command goes on", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        print("interrupted; finished targets are kept in scores.json, the same command goes on", file=sys.stderr)
        return 128 + int(error.args[0] if error.args else signal.SIGINT)


def _layers(text: str) -> tuple[int, ...] | None:
    try:
        return None if text == "all" else tuple(map(int, text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected all, or layer numbers from 0, the embeddings") from None


def _parser(command: str, description: str, examples: str) -> argparse.ArgumentParser:
    """With the options that evaluation, alignment and MLM loss share."""
    parser = argparse.ArgumentParser(f"python -m eval{command}", description=description)
    add = parser.add_argument
    add("--encoder", action="append", required=True, metavar="DIR", help="encoder folder or Hub id; repeat to compare")
    add("--examples", type=positive, metavar="N", help=f"only the first N {examples} of each language")
    add(
        "--micro-tokens", type=positive, default=16384, metavar="N",
        help="tokens of a forward pass (default: 16384; CPU: 2048)",
    )  # fmt: skip
    return parser


def _add_pooling(parser: argparse.ArgumentParser) -> None:
    choices = ("mean", "mean_no_special", "cls")
    parser.add_argument("--pooling", choices=choices, default="mean", help="default: mean over all tokens")


def _evaluate(arguments: list[str]) -> int:
    from eval.suites import LANGUAGES, PROTOCOLS, SUITES, TARGETS

    description = "Zero-shot scores of an encoder; see also `report`, `align`, `mlm-loss` and `export`."
    parser = _parser("", description, "rows")
    _add_pooling(parser)
    add = parser.add_argument
    add(
        "--suite", required=True, metavar="NAME[,NAME...]",
        help=f"a suite ({', '.join(SUITES)}) or targets ({', '.join(TARGETS)})",
    )  # fmt: skip
    add(
        "--data", action="append", metavar="[TARGET[:LANGUAGES]=]DIR",
        help="folder with the test data, or `hub` (default); repeat: where to look next; udpos:lt,pl=DIR: for these",
    )  # fmt: skip
    add(
        "--out",
        type=Path,
        metavar="DIR",
        help="default: ENCODER/../eval, of a Hub id below runs/; for several: the report",
    )
    add("--layer", type=int, help="layer of the sentence vectors (default: 14 of 24, scaled to the depth)")
    add("--query-prefix", default="", metavar="TEXT", help="before each sentence or query to embed: 'query: ' for E5")
    add("--passage-prefix", default="", metavar="TEXT", help="before each candidate of LAReQA and Mewsli-X")
    add("--centre", action="store_true", help="subtract each language's mean vector before retrieval")
    add("--direct", action="store_true", help="without target training: by the intermediate heads, by sentence vectors")
    add("--protocol", choices=PROTOCOLS, default=PROTOCOLS[0], help="nlu-evals: Tatoeba and LAReQA as mGTE and mmBERT")
    add(
        "--perturb", default="", metavar="KIND[@RATE],...",
        help="also score retrieval with noisy queries: typo, case, accents, punctuation, romanise, codeswitch",
    )  # fmt: skip
    add(
        "--lexicon", action="append", default=[], metavar="CODE=FILE",
        help="for codeswitch: lines `word<TAB>English word`; repeat for other languages",
    )  # fmt: skip
    add("--dev", action="store_true", help="score dev data in all languages, in OUT/dev, by the target training of OUT")
    add(
        "--num-gpus", "--num_gpus", type=positive, dest="processes", default=argparse.SUPPRESS, metavar="N",
        help="GPUs, or CPU processes (default: all GPUs, else 1)",
    )  # fmt: skip
    add(
        "--source", action="append", default=[], dest="sources", metavar="DIR",
        help="where target training data come from: `hub` or a folder (default: --data); repeat: where to look next",
    )  # fmt: skip
    add(
        "--against", default="", metavar="TARGET[,TARGET...]",
        help="leave rows of these tests, read from --source, out of target training (default: whole, as published)",
    )  # fmt: skip
    add("--prepared", type=Path, default=Path("data"), metavar="DIR", help="prepared training data (default: data)")
    add(
        "--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE",
        help="a config field of every target run: steps=5",
    )  # fmt: skip
    given = vars(parser.parse_args(arguments))
    encoders, name, data, out = (given.pop(key) for key in ("encoder", "suite", "data", "out"))
    lexicons = _by_code("--lexicon", given.pop("lexicon"))

    # Only now: these take seconds to import, and --help needs none of them.
    from eval import submission
    from eval.driver import suite
    from eval.inference.artifacts import Options

    results = suite.run(encoders, name, data or ["hub"], out, Options(lexicons=lexicons, **given))
    scores = [one for one, _ in results]

    from eval import report

    reports = report.write(scores, out if out is not None and len(results) > 1 and not given["dev"] else results[-1][1])
    print(report.terminal_table(scores))
    for path in [*(folder / "scores.json" for _, folder in results), *reports]:
        print(path)
    for one, folder in results:
        place = folder / "submission" / one["suite"]
        if one["suite"] in LANGUAGES and place.is_dir():
            print(f"{place}: {'; '.join(submission.missing(place, one['suite'])) or 'complete'}")
    return 0


def _align(arguments: list[str]) -> int:
    description = "How an encoder aligns languages, by layer: scores of translation pairs."
    parser = _parser(" align", description, "pairs")
    _add_pooling(parser)
    add = parser.add_argument
    add("--data", default="hub", metavar="DIR", help="folder with Tatoeba's pairs, or `hub` (default)")
    add(
        "--languages", nargs="+", metavar="CODE", default=[],
        help="default: all that the folder holds; from the Hub XTREME's 36",
    )  # fmt: skip
    add("--layers", type=_layers, metavar="all|N[,N...]", help="0: the embeddings (default: all)")
    add("--out", type=Path, metavar="DIR", help="where to write (default: eval/ beside the last encoder)")
    given = vars(parser.parse_args(arguments))
    encoders, data, out = (given.pop(key) for key in ("encoder", "data", "out"))
    codes = (code for text in given.pop("languages") for code in text.split(",") if code)

    from eval.alignment import run as align_run
    from eval.report import alignment

    options = align_run.Options(languages=tuple(dict.fromkeys(codes)), **given)
    result, folder = align_run.run(encoders, data, out, options)
    print(alignment.table(result))
    print(folder / "align.json")
    return 0


def _mlm_loss(arguments: list[str]) -> int:
    parser = _parser(" mlm-loss", "Masked-LM loss of encoders by language: what training forgot.", "texts")
    add = parser.add_argument
    add("--languages", nargs="+", default=[], metavar="CODE", help="those of Wikipedia to read: de sw")
    add("--data", action="append", metavar="DIR", help="folder with Wikipedia as the Hub has it, or `hub` (default)")
    add("--text", action="append", default=[], metavar="CODE=FILE", help="a file of your own, one text a line")
    add("--head", metavar="DIR", help="take the LM head of this encoder for those without (default: that of the run)")
    add("--max-length", type=positive, default=256, metavar="N", help="tokens of a row (default: 256)")
    add("--out", type=Path, metavar="DIR", help="where to write (default: eval/ beside the last encoder)")
    given = vars(parser.parse_args(arguments))
    encoders, out, texts, data = (given.pop(key) for key in ("encoder", "out", "text", "data"))
    by_code = _by_code("--text", texts)

    from eval import mlm_loss

    options = mlm_loss.Options(data=data or ["hub"], texts=by_code, **given)
    result, folder = mlm_loss.run(encoders, out, options)
    print(mlm_loss.render(result))
    print(folder / mlm_loss.NAME)
    return 0


def _by_code(option: str, texts: list[str]) -> dict[str, str]:
    """CODE=FILE: language -> file."""
    found: dict[str, str] = {}
    for text in texts:
        code, _, path = text.partition("=")
        if not Path(path).is_file():
            raise InputError(f"{option} {text}: expected CODE=FILE with a file that is there")
        if code in found:
            raise InputError(f"{option} {text}: {code} has {found[code]} already; give one file a language")
        found[code] = path
    return found


def _export(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser("python -m eval export", description="Encoder and head as a transformers folder.")
    parser.add_argument("--encoder", required=True, metavar="DIR", help="runs/NAME/encoder; the heads lie beside it")
    parser.add_argument("--task", required=True, metavar="NAME", help="the task whose head goes with it")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder to write; must be new or empty")
    options = parser.parse_args(arguments)

    from eval.export import export

    kind = export(options.encoder, options.task, options.out)
    print(f"{options.out}: {kind}; load it with transformers.{kind}.from_pretrained({str(options.out)!r})")
    return 0


def _report(arguments: list[str]) -> int:
    from eval.report import program

    return program.main(arguments)


if __name__ == "__main__":
    interrupt_on(signal.SIGTERM)
    raise SystemExit(main())
