"""`python -m eval align` as a whole: its numbers against a padded transformers loop, its files, and its errors."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from transformers import AutoModel, AutoTokenizer

from eval.__main__ import main
from eval.alignment import run as align_run
from eval.alignment import tables as align_report
from eval.alignment.measures import SCORES
from eval.driver import results
from tests.support.eval_run import make_run
from tests.support.tiny_tokenizer import LINES
from tests.unit.eval.test_eval_read import laser

ENGLISH = [f"{a} {b}" for a in LINES[2].split()[:6] for b in LINES[3].split()[:4]]
OTHER = [f"{b} {a} Hund" for a in LINES[2].split()[:6] for b in LINES[3].split()[:4]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tiny_tokenizer_dir: Path) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    first, second = (make_run(folder / name, tiny_tokenizer_dir, seed, ()) for name, seed in (("a", 4), ("b", 5)))
    return first, second


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> Path:
    """German and French share their English side, Russian has fewer pairs."""
    folder = tmp_path_factory.mktemp("pairs")
    for iso3, some in (("deu", slice(None)), ("fra", slice(None)), ("rus", slice(0, 10))):
        other = [text + " am Fluss" * (iso3 == "fra") for text in OTHER[some]]
        laser(folder / "tatoeba", iso3, list(zip(ENGLISH[some], other, strict=True)))
    return folder


@torch.no_grad()
def vectors(folder: Path, texts: list[str], layer: int) -> np.ndarray:
    """Stock model, padded batch, mean over the attention mask."""
    batch = AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    hidden = AutoModel.from_pretrained(folder).eval()(**batch, output_hidden_states=True).hidden_states[layer]
    mask = batch["attention_mask"][:, :, None]
    return ((hidden * mask).sum(1) / mask.sum(1)).numpy()


def test_two_at_once_are_kept_apart(runs: tuple[Path, Path], pairs: Path, tmp_path: Path, capsys) -> None:
    arguments = ["align", "--encoder", str(runs[0]), "--data", str(pairs), "--out", str(tmp_path)]
    with results.locked(tmp_path):
        assert main(arguments) == 2
    assert f"error: {tmp_path}: another evaluation is at work there" in capsys.readouterr().err
    assert main(arguments) == 0


def test_two_encoders(runs: tuple[Path, Path], pairs: Path, tmp_path: Path, capsys) -> None:
    arguments = [word for run in runs for word in ("--encoder", str(run))]
    assert main(["align", *arguments, "--data", str(pairs), "--out", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "align.json").read_text(encoding="utf-8"))
    assert [one["name"] for one in result["encoders"]] == ["a", "b"]
    assert result["protocol"]["files"] and "seed 0" in result["protocol"]["control"]
    for folder, one in zip(runs, result["encoders"], strict=True):
        assert one["layers"] == [0, 1, 2, 3, 4] and list(one["languages"]) == ["de", "fr", "ru"]
        for code, n in (("de", 24), ("fr", 24), ("ru", 10)):
            scores = one["languages"][code]["layers"]
            assert one["languages"][code]["n"] == n and set(scores["3"]) == {f"{name}@{n}" for name in SCORES}
            if code != "fr":
                for layer in (0, 3):
                    x, y = vectors(folder, ENGLISH[:n], layer), vectors(folder, OTHER[:n], layer)
                    near = NearestNeighbors(n_neighbors=1, metric="cosine").fit(y).kneighbors(x, return_distance=False)
                    expected = 100 * np.mean(near[:, 0] == np.arange(n))
                    assert scores[str(layer)][f"top1_en->xx@{n}"]["score"] == pytest.approx(expected)
        for layer in ("0", "3"):
            cells = [one["languages"][code]["layers"][layer] for code in one["languages"]]
            for key in ("score", "random"):
                every = [cell[next(name for name in cell if name.startswith("anc"))][key] for cell in cells]
                assert one["means"][layer]["anc@10-24"][key] == pytest.approx(np.mean(every))
    printed = capsys.readouterr().out
    assert "b less a" in printed and "random, highest" in printed and "@10-24" in printed
    gain = [one["means"]["2"]["cka@10-24"]["score"] for one in result["encoders"]]
    assert f"{gain[1] - gain[0]:+.3f}" in printed
    for name in ("align_a.png", "align_b.png", "align_b_less_a.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG") and (tmp_path / name).stat().st_size > 20_000


def test_the_same_english_side_is_embedded_once(
    runs: tuple[Path, Path], pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what is scored with it is what is scored when the language is alone."""
    embedded: list[int] = []
    embed = align_run.embed_layers

    def counted(encoder, tokenizer, texts, **rest):
        embedded.append(len(texts))
        return embed(encoder, tokenizer, texts, **rest)

    monkeypatch.setattr(align_run, "embed_layers", counted)
    options = align_run.Options(layers=(2,), device="cpu")
    together, folder = align_run.run([str(runs[0])], str(pairs), None, options)
    assert embedded == [24, 24, 24, 10, 10]
    assert folder == runs[0].parent / "eval" and (folder / "align.json").is_file()
    alone, _ = align_run.run(
        [str(runs[0])], str(pairs), tmp_path, align_run.Options(layers=(2,), languages=("fr",), device="cpu")
    )
    assert alone["encoders"][0]["languages"]["fr"] == together["encoders"][0]["languages"]["fr"]


def test_what_is_asked_for(runs: tuple[Path, Path], pairs: Path, tmp_path: Path, capsys) -> None:
    """Layers, languages, the first n pairs, another pooling: `<s>` at layer 0 is the same for every sentence."""
    arguments = ["align", "--encoder", str(runs[0]), "--data", str(pairs), "--out", str(tmp_path), "--pooling", "cls"]
    assert main([*arguments, "--languages", "ru,de", "--layers", "0,4", "--examples", "8"]) == 0
    one = json.loads((tmp_path / "align.json").read_text(encoding="utf-8"))["encoders"][0]
    assert set(one["languages"]) == {"de", "ru"} and one["layers"] == [0, 4]
    collapsed = one["languages"]["de"]["layers"]["0"]
    assert collapsed["top1_en->xx@8"]["score"] == 12.5 and collapsed["cka@8"]["score"] is None
    assert one["languages"]["de"]["layers"]["4"]["cka@8"]["score"] is not None
    assert "–" in capsys.readouterr().out and (tmp_path / "align_a.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--languages", "de", "xx"], "--languages xx: no sentence pairs"),
        (["--layers", "5"], "--layers 5: a has layers 0 (embeddings) to 4"),
        (["--data", "nowhere"], "nowhere: no such folder"),
        (["--encoder", "nowhere"], "nowhere: no such folder"),
        (["--out", f"{__file__}/out"], "/out: cannot be made (Not a directory); choose another --out"),
    ],
)
def test_errors_are_one_line(
    runs: tuple[Path, Path], pairs: Path, tmp_path: Path, capsys, arguments: list[str], message: str
) -> None:
    base = ["align", "--encoder", str(runs[0]), "--data", str(pairs), "--out", str(tmp_path / "out")]
    assert main([*base, *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not (tmp_path / "out").exists()


def test_encoders_of_one_name_keep_their_pictures_apart(runs: tuple[Path, Path], pairs: Path, tmp_path: Path) -> None:
    twin = tmp_path / "elsewhere" / "a" / "encoder"
    shutil.copytree(runs[0], twin)
    options = align_run.Options(layers=(1, 3), languages=("ru",), device="cpu")
    result, _ = align_run.run([str(runs[0]), str(twin)], str(pairs), tmp_path, options)
    paths = align_report.heat_maps(result, tmp_path)
    assert len(set(paths)) == 3 and all(path.is_file() for path in paths)
    assert "+0.000" in align_report.table(result)


def test_real_pairs(shared: Path, runs: tuple[Path, Path], tmp_path: Path) -> None:
    """The files as LASER publishes them, by the languages' own codes."""
    options = align_run.Options(layers=(2,), languages=("zh", "af"), examples=50, device="cpu")
    result, _ = align_run.run([str(runs[0])], str(shared / "data"), tmp_path, options)
    assert {code: one["n"] for code, one in result["encoders"][0]["languages"].items()} == {"zh": 50, "af": 50}
