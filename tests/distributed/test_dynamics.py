"""Training dynamics: the definition at every visit, the same on any number of ranks, and nothing of the run changes."""

import json
import math
from collections import defaultdict
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from pyarrow import feather
from torch.nn import functional as F

from common.errors import InputError
from mtl.run import setup
from tests.support.exact_reference import Reference, scores_of
from tests.support.launch import program
from tests.support.live import differences
from tests.support.small import elsewhere, write_run

pytestmark = pytest.mark.timeout(600)
STEPS = 12


def table(path: Path) -> dict[str, list]:
    return feather.read_table(path).to_pydict()


@pytest.mark.slow
def test_a_run_that_keeps_them_is_bitwise_the_one_that_does_not(finished, tmp_path):
    """With dropout, on two ranks."""
    config, folder = finished
    program("train.py", "--config", elsewhere(config, tmp_path, dynamics=False), ranks=2)
    assert not (tmp_path / "runs" / "small" / "dynamics").exists()
    assert not differences(folder, tmp_path / "runs" / "small")


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_tokenizer_dir):
    """The same run on one and on two ranks: (config, folder by ranks, what two printed)."""
    folder = tmp_path_factory.mktemp("dynamics")
    config = write_run(
        folder, tiny_tokenizer_dir, steps=STEPS, batch={"examples": 30}, dynamics=True,
        checkpoint={"every": 1, "keep": STEPS}, evaluate={"every": STEPS},
    )  # fmt: skip
    for ranks in (1, 2):
        done = program("train.py", "--config", config, "--set", f"output={folder / str(ranks)}", ranks=ranks)
    return config, {ranks: folder / str(ranks) / "small" for ranks in (1, 2)}, done.printed


def test_one_and_two_ranks_write_the_same(made):
    for path in (made[1][1] / "dynamics").glob("*.arrow"):
        one, two = (table(folder / "dynamics" / path.name) for folder in made[1].values())
        for name, column in one.items():
            if name in ("confidence", "variability", "correctness"):
                np.testing.assert_allclose(column, two[name], rtol=0, atol=1e-6)
            else:
                assert column == two[name], name


def test_they_follow_the_definition(made):
    """From the weights before every step, in float64, one example at a time."""
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

    config, folders, printed = made
    reference = Reference(config, [])
    model, tasks = reference.model, reference.made.tasks
    visits = defaultdict(list)
    for step in reference.steps:
        if step.number:
            tag = f"step-{step.number:08d}"
            weights = get_fp32_state_dict_from_zero_checkpoint(str(folders[2] / "checkpoints"), tag=tag)
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    parameter.copy_(weights[name])
        for t, row in zip(step.task, step.row, strict=True):
            kind, encoded = tasks[t].task.kind, tasks[t].train.take(np.array([row]))[0]
            if kind != "mlm":
                with torch.no_grad():
                    visits[kind, int(row)].append(_visit(model, tasks[t].name, kind, encoded))
    for task in tasks[:4]:
        found = table(folders[2] / "dynamics" / f"{task.name}.arrow")
        assert found["row"] == sorted(row for kind, row in visits if kind == task.task.kind)
        few = len(task.train) - sum(count >= 3 for count in found["visits"])
        said = f"warning: dynamics of {task.name}: {few} of {len(task.train)} rows have fewer than 3 visits"
        assert (said in printed) == (few > 0)
        for index, row in enumerate(found["row"]):
            gold, right = np.array(visits[task.task.kind, row]).T
            expected = (len(gold), gold.mean(), math.sqrt(((gold - gold.mean()) ** 2).mean()), right.mean())
            columns = ("visits", "confidence", "variability", "correctness")
            assert [found[name][index] for name in columns] == pytest.approx(expected, abs=2e-5), (task.name, row)
    assert not (folders[2] / "dynamics" / "my_mlm.arrow").exists()
    assert max(len(each) for each in visits.values()) > 2


def _visit(model, name: str, kind: str, row: dict) -> tuple[float, float]:
    """(probability of the gold answer, share right) from the definition."""
    found = scores_of(model, name, kind, row)
    shares = [float(F.softmax(scores, 0)[gold]) for scores, gold in found]
    right = [bool(scores.argmax() == gold) for scores, gold in found]
    return (math.prod(shares), float(all(right))) if kind == "span" else (np.mean(shares), np.mean(right))


def test_ids_stay_with_their_rows(made):
    """The texts' digest where a row has no id of its own, the same whatever else was prepared."""
    data = {task.task.kind: task for task in setup.read(str(made[0]), []).tasks}
    found = table(made[1][1] / "dynamics" / "my_classify.arrow")
    texts = map(json.loads, made[0].with_name("classify.train.jsonl").read_text().splitlines())
    digests = [sha256(f"{row['text_a']}\n{row['text_b']}".encode()).hexdigest()[:16] for row in texts]
    assert found["id"] == [digests[row] for row in found["row"]] and len(set(found["id"])) == len(found["id"])
    assert found["label"] == data["classify"].train.gather(np.array(found["row"]), ["label"])["label"].tolist()


def test_a_run_without_gold_labels_is_refused(made):
    masked = [entry for entry in json.loads(made[0].read_text())["tasks"] if entry["kind"] == "mlm"]
    with pytest.raises(InputError, match=r"dynamics: no task has a gold label .*only mlm"):
        setup.read(str(made[0]), [f"tasks={json.dumps(masked)}"])
