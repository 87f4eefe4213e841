"""Strata of training examples by difficulty, and training on the rows that a file names."""

import json

import numpy as np
import pyarrow as pa
import pytest

from common.errors import InputError
from data_prep.__main__ import main as data_prep
from data_prep.storage import store
from mtl.data.loader import steps_from
from mtl.run import setup
from studies import difficulty
from tests.support.small import KINDS, write_run


@pytest.fixture(scope="module")
def config(tmp_path_factory, tiny_tokenizer_dir):
    return write_run(tmp_path_factory.mktemp("subset"), tiny_tokenizer_dir, max_length=30)


@pytest.fixture
def run(tmp_path):
    """The folder of a run with dynamics of one task: 40 examples of two rows, 25 of label 0; one is seen only twice."""
    rng = np.random.default_rng(1)
    label = np.repeat((np.arange(40) > 24).astype(int), 2)
    columns = {
        "row": np.arange(80), "id": [f"x{number // 2:02}" for number in range(80)], "label": label,
        "visits": [2 if number == 7 else 4 for number in range(80)],
        **{name: rng.random(80) for name in ("confidence", "variability", "correctness")},
    }  # fmt: skip
    batch = pa.RecordBatch.from_pydict(columns)
    (tmp_path / "run" / "dynamics").mkdir(parents=True)
    store.write_table(tmp_path / "run" / "dynamics" / "nli.arrow", [batch], batch.schema)
    (tmp_path / "run" / "config.json").write_text(json.dumps({"seed": 7}))
    return tmp_path / "run", columns


def test_strata_are_thirds_of_each_label(run, capsys):
    folder, columns = run
    assert difficulty.main([str(folder)]) == 0
    said = capsys.readouterr().out
    assert "nli: 1 of 40 examples have fewer than 3 visits" in said and "seed 7" in said and "label is wrong" in said
    files = folder.glob("dynamics/strata/nli.*.txt")
    strata = {path.stem.partition(".")[2]: path.read_text().split() for path in files}
    assert strata.keys() == {"easy", "medium", "hard", "ambiguous", "random"}
    means = {name: np.array(columns[name]).reshape(-1, 2).mean(1) for name in ("confidence", "variability")}
    for label, members in ((0, [n for n in range(25) if n != 3]), (1, list(range(25, 40)))):
        third = len(members) // 3  # 8 and 5: all strata have 13
        by = {name: sorted(members, key=lambda n, name=name: -means[name][n]) for name in means}
        expected = {
            "easy": by["confidence"][:third], "medium": by["confidence"][third : 2 * third],
            "hard": by["confidence"][-third:], "ambiguous": by["variability"][:third],
        }  # fmt: skip
        for name, numbers in expected.items():
            mine = {one for one in strata[name] if (int(one[1:]) > 24) == label}
            assert mine == {f"x{number:02}" for number in numbers}, name
        assert sum((int(one[1:]) > 24) == label for one in strata["random"]) == third
    assert all(len(set(ids)) == 13 and "x03" not in ids for ids in strata.values())
    with pytest.raises(InputError, match="too few for thirds"):
        difficulty.main([str(folder), "--visits", "5"])
    with pytest.raises(InputError, match="no dynamics"):
        difficulty.main([str(folder / "dynamics")])


@pytest.mark.parametrize("kind", KINDS[:4])
def test_a_subset_is_all_that_is_trained_on(config, tmp_path, kind):
    """Every window of a question; the same examples when the data are prepared again, for another length."""
    number, file = KINDS.index(kind), tmp_path / "ids.txt"
    whole = setup.read(str(config), []).tasks[number]
    ids = store.row_ids(whole.prepared).to_pylist()
    wanted = sorted(set(ids), key=lambda one: hash((one, 1)))[::3]
    file.write_text("\n".join(wanted))
    rows = [row for row, one in enumerate(ids) if one in wanted]
    override = f"tasks.my_{kind}.subset={file}"
    made = setup.read(str(config), [override])
    task = made.tasks[number]
    assert len(task.train) == len(rows) < len(whole.train)
    expected = whole.train.take(np.array(rows))
    for ours, theirs in zip(task.train.take(np.arange(len(rows))), expected, strict=True):
        assert ours.keys() == theirs.keys() and all(np.array_equal(ours[name], theirs[name]) for name in ours)
    assert task.mean_length == pytest.approx(np.mean([row["length"] for row in expected]))
    drawn = np.concatenate([step.row[step.task == number] for step in steps_from(made.plan, 0)])
    assert set(drawn.tolist()) <= set(range(len(rows)))
    assert made.plan.fingerprint() != setup.read(str(config), []).plan.fingerprint()
    assert data_prep(["--config", str(config), "--jobs", "1", "--set", "max_length=60"]) == 0
    again = setup.read(str(config), [override, "max_length=60"]).tasks[number]
    kept = store.row_ids(again.prepared).take(pa.array(again.train.chosen)).to_pylist()
    assert set(kept) == set(wanted)


def test_wrong_subsets_are_one_line(config, tmp_path):
    file = tmp_path / "ids.txt"
    for task, text, said in (
        ("classify", "no such id\n", f"my_classify: subset {file}: 1 of 1 ids, no such id the first, are those of no"),
        ("classify", "\n", f"my_classify: subset {file}: empty"),
        ("mlm", "x", "no ids of its training rows (rows of kind mlm have none)"),
        ("tag", None, f"my_tag: subset {file}: cannot be read"),
    ):
        if text is None:
            file.unlink()
        else:
            file.write_text(text)
        with pytest.raises(InputError) as error:
            setup.read(str(config), [f"tasks.my_{task}.subset={file}"])
        assert said in str(error.value) and "\n" not in str(error.value)
