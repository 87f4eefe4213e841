"""Training data in other languages: the same examples from the Hub and from upstream files, and what `list` says."""

import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from data_prep.datasets import DATASETS, TASKS
from data_prep.sources.locate import locate_training
from data_prep.sources.sources_lock import Lock
from tests.support.hub_server import HubServer
from tests.support.rows import examples, fails, find, write
from tests.unit.data_prep.test_datasets import (
    ANSWERED,
    CONLLU,
    HAUS,
    NER,
    NLI_PAIR,
    NLI_ROW,
    PAWSX_PAIR,
    PAWSX_ROW,
    SPAN,
    Form,
    form,
    listed,
    squad_json,
)
from tests.unit.data_prep.test_datasets import FORMS as FORMS_IN_ENGLISH

LOST = {"id": "2", "question": "who", "answers": [{"text": "cat", "answer_start": 4}]}

FORMS = [
    form("xnli.de", "facebook/xnli/de", NLI_ROW, NLI_PAIR),
    form("pawsx.ja", "google-research-datasets/paws-x/ja", PAWSX_ROW, PAWSX_PAIR),
    form(
        "pawsx.ja", "x-final/ja/{}.tsv", [list(PAWSX_ROW), ["7", 'a "b', "c", "1"]], PAWSX_PAIR,
        train="translated_train", dev="dev_2k",
    ),
    form("udpos.lt", "izhx/xtreme-r-udpos/lt", {"tokens": HAUS[0], "pos_tags": HAUS[1]}, HAUS),
    form("udpos.de", "UD/de_a-ud-{}.conllu", CONLLU, HAUS),
    form("panx.sw", "unimelb-nlp/wikiann/sw", {"tokens": NER[0], "ner_tags": [1, 0]}, NER),
    form("panx.sw", "panx/sw/{}", "sw:Ann\tB-PER\nsw:a:b\tO\n", NER),
    form(
        "squad_v1.de", "mlqa-translate-train/de_squad-translate-train-{}-v1.1.json", squad_json(ANSWERED, LOST),
        SPAN, "answer not in the translated context",
    ),
]  # fmt: skip
# Without a dev split of their own; the name of the English data whose dev they take.
TRAIN_ONLY = [
    form(
        "mnli_xtreme.de", "XNLI/translate-train/en-de-{}.tsv", 'x\ty\ta "b\tc\tcontradictory\n', NLI_PAIR,
        train="translated",
    ),
    form(
        "pawsx_xtreme.ja", "PAWSX/translate-train/en-ja-{}.tsv", 'x\ty\t"a ""b"\tc\t1\nx\ty\tz\tc\td\n', PAWSX_PAIR,
        "no label 0 or 1", train="translated",
    ),
    form(
        "squad_v1_xtreme.th", "SQuAD/translate-train/squad.translate.{}.en-th.json", squad_json(ANSWERED, LOST),
        SPAN, "answer not in the translated context", train="train",
    ),
    form(
        "nli_26lang.ps", "MoritzLaurer/multilingual-NLI-26lang-2mil7/default", NLI_ROW, NLI_PAIR,
        train="ps_mnli ps_fever ps_anli ps_ling ps_wanli",
    ),
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_every_form_gives_its_examples(form: Form, tmp_path: Path, capsys) -> None:
    form.write(tmp_path)
    assert examples(form.dataset, "train", tmp_path) == form.expected
    assert examples(form.dataset, "dev", tmp_path) == form.expected
    name, _, code = form.dataset.partition(".")
    assert listed(capsys, tmp_path)[name].startswith("no, 1 of ")
    fails(lambda: find(name, tmp_path), ": not found")
    assert DATASETS[form.dataset].language == code and TASKS[name].others[code] == (form.dataset,)


@pytest.mark.parametrize("form", TRAIN_ONLY, ids=str)
def test_training_data_alone_are_selected_on_the_english_dev_set(form: Form, tmp_path: Path, capsys) -> None:
    form.dev = []
    form.write(tmp_path)
    name, _, code = form.dataset.partition(".")
    assert TASKS[name].others[code] == (form.dataset,)
    original = DATASETS[form.dataset].dev_from
    fails(lambda: find(form.dataset, tmp_path), f"dataset {original}: not found")
    english = next(other for other in FORMS_IN_ENGLISH if other.dataset == original)
    english.write(tmp_path)
    assert examples(form.dataset, "train", tmp_path) == form.expected * len(form.train)
    assert examples(form.dataset, "dev", tmp_path) == english.expected
    assert "1 of " in listed(capsys, tmp_path)[name]


def test_every_dataset_has_a_form_here() -> None:
    tested = {form.dataset.partition(".")[0] for form in (*FORMS, *TRAIN_ONLY)} | {"mmarco", "tydiqa"}
    assert tested == {name.partition(".")[0] for name in DATASETS if "." in name}


def test_the_archive_of_mlqa_serves_all_its_languages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One download, from its upstream server."""
    archive = tmp_path / "mlqa-translate-train.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for code in ("de", "vi"):
            for split in ("train", "dev"):
                path = f"mlqa-translate-train/{code}_squad-translate-train-{split}-v1.1.json"
                write(tmp_path / path, squad_json({**ANSWERED, "id": code}))
                tar.add(tmp_path / path, path)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("no_proxy", "*")
    with HubServer(files={archive.name: archive}) as server:
        for code in ("de", "vi"):
            (published,) = DATASETS[f"squad_v1.{code}"].published
            served = replace(published, urls=(f"{server.url}/files/{archive.name}",), sha256=None)
            dataset = replace(DATASETS[f"squad_v1.{code}"], published=(served,))
            found = locate_training(dataset, [None], Lock(tmp_path / "data"))
            ((_, row),) = found.train[0].rows()
            assert row["id"] == code and found.licence == "CC BY-SA 3.0, machine-translated (Facebook, 2019)"
        assert server.downloads() == [archive.name]


def test_xnli_as_published(tmp_path: Path) -> None:
    """A training file a language, and one dev file of all."""
    header = ["language", "gold_label", "sentence1", "sentence2"]
    rows = [header, ["fr", "neutral", "x", "y"], ["de", "contradiction", 'a "b', "c"], ["de", "-", "x", "y"]]
    write(tmp_path / "XNLI-1.0/xnli.dev.tsv", rows)
    for code, text in (("de", 'a "b'), ("fr", "x")):
        rows = [["premise", "hypo", "label"], [text, "c", "contradictory"]]
        write(tmp_path / f"XNLI-MT-1.0/multinli/multinli.train.{code}.tsv", rows)
    assert examples("xnli.de", "train", tmp_path) == [NLI_PAIR]
    assert examples("xnli.de", "dev", tmp_path) == [NLI_PAIR, "no gold label"]
    assert TASKS["mnli"].by_language["de"] == TASKS["xnli"].by_language["de"] == ("xnli.de",)


@pytest.mark.real
def test_real_files(shared: Path, tmp_path: Path) -> None:
    raw = shared / "data/raw"
    train, dev = examples("xnli.de", "train", raw / "xnli"), examples("xnli.de", "dev", raw / "xnli")
    assert train[0] == (
        "Konzeptionell cream abschöpfen hat zwei grundlegende Dimensionen - Produkt und Geographie .",
        "Produkt und Geographie sind das , was creme abschöpfen Arbeit macht .", "neutral",
    )  # fmt: skip
    assert dev and examples("pawsx.de", "train", raw / "pawsx") and examples("panx.sw", "train", raw / "panx")
    assert len(examples("tydiqa.sw", "train", shared / "data/hub")) > 400
