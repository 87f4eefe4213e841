"""Batches packed ahead: the same as without, errors where their step comes, and no cost that grows with the data."""

import os
import threading
import time

import numpy as np
import pytest
import torch

from common.errors import InputError
from data_prep.storage.arrow_file import Split
from data_prep.storage.store import Prepared
from mtl.data import loader
from mtl.distributed import collectives
from mtl.run import dry_run, setup
from tests.support.launch import fork
from tests.support.small import write_run


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_tokenizer_dir):
    return setup.read(str(write_run(tmp_path_factory.mktemp("ahead"), tiny_tokenizer_dir)), [])


def ahead(made, first=0, rank=0, world=2):
    return loader.PrefetchLoader(made.plan, first=first, rank=rank, world=world, special=made.special, pin=False)


def arrays(value):
    """Every tensor in a micro-batch, in order."""
    if torch.is_tensor(value):
        return [value]
    if isinstance(value, dict):
        return [tensor for key in sorted(value) for tensor in arrays(value[key])]
    return arrays(vars(value)) if hasattr(value, "__dict__") else []


@pytest.mark.parametrize("first", [0, 3, 7])
def test_ahead_equals_making_each_step_when_it_comes(made, first):
    """Also from the middle: what a resumed run sees does not depend on what had been packed before it was stopped."""
    with ahead(made, first) as works:
        found = list(works)
    assert [work.step.number for work in found] == list(range(first, made.plan.steps))
    for work in found:
        step = made.plan.step(work.step.number)  # no cursors: recounted
        shares = step.divide(2, made.run.micro_tokens)
        expected = loader.micro_batches(made.plan, step, shares, 0, made.special)
        assert work.error is None
        assert len(arrays(expected[0])) > 10
        pairs = zip(arrays(dict(enumerate(expected))), arrays(dict(enumerate(work.batches))), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
        np.testing.assert_array_equal(work.step.row, step.row)


def test_an_exception_of_the_thread_reaches_the_step(made, monkeypatch):
    real = made.plan.step

    def step(number, cursors=None):
        if number == 2:
            raise RuntimeError("the disk is gone")
        return real(number, cursors)

    monkeypatch.setattr(type(made.plan), "step", lambda self, number, cursors=None: step(number, cursors))
    seen = []
    with pytest.raises(RuntimeError, match="the disk is gone"), ahead(made) as works:
        for work in works:
            seen.append(work.step.number)
    assert seen == [0, 1]


def test_leaving_early_ends_the_thread(made):
    before = threading.active_count()
    with ahead(made) as works:
        next(iter(works))
    assert threading.active_count() == before


def test_planning_asks_for_the_rows_of_its_step_only(made, monkeypatch):
    """Of a task of any size: as many rows as the step has, and no whole column at all."""
    asked = []
    real = Split.gather
    monkeypatch.setattr(Split, "gather", lambda self, rows, names: asked.append(len(rows)) or real(self, rows, names))
    monkeypatch.setattr(Split, "whole", lambda self, name: pytest.fail("a whole column was read"))
    plan = setup.read(str(made.run.output).removesuffix("/runs") + "/small.json", []).plan
    step = plan.step(1)
    assert sum(asked) == plan.batch_examples == len(step.task)
    asked.clear()
    loader.micro_batches(plan, step, step.divide(2, plan.config.micro_tokens), 0, made.special)
    assert sum(asked) <= plan.batch_examples


def vote(rank, world, rendezvous, out):
    """One rank of `test_votes_travel_while_a_step_computes`."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=world)
    ballot, found = collectives.Vote(), []
    found.append(ballot.result([rank, 0]))  # nothing was cast: now
    ballot.cast([0, 5 * rank])
    found.append(ballot.result([9, 9]))  # what was cast, not what is known now
    found.append(ballot.result([rank, 7]))  # cast votes count once
    ballot.cast([1, 1])
    ballot.renew()
    found.append(ballot.result([0, rank]))  # out of date: now
    if rank == 1:
        time.sleep(1.2)
    ballot.cast([1, 1])  # rank 1 was slow, which both learn
    found.append(ballot.result([0, 2 * rank]))
    ballot.cast([0, 0])
    ballot.result([0, 0])  # rank 0 had to wait for rank 1, so it says slow as well
    ballot.cast([0, 0])
    found.append(ballot.result([8, 8]))
    torch.save(found, f"{out}.{rank}")
    collectives.close()


def test_votes_travel_while_a_step_computes(tmp_path):
    processes = [fork(vote, rank, 2, tmp_path / "meet", tmp_path / "found") for rank in (0, 1)]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    found = [torch.load(f"{tmp_path / 'found'}.{rank}") for rank in (0, 1)]
    assert found[0] == found[1] == [[1, 0], [0, 5], [1, 7], [0, 1], [0, 2], [0, 0]]


def test_a_dry_run_tells_of_steps_that_just_miss(made):
    path = str(made.run.output).removesuffix("/runs") + "/small.json"
    most = max(made.plan.step(n).tokens for n in range(made.plan.steps))
    assert "nearly fit into" not in dry_run.report(setup.read(path, [f"micro_tokens={most}"]), 1)
    told = dry_run.report(setup.read(path, [f"micro_tokens={round(0.97 * most)}"]), 1)
    assert "nearly fit into" in told
    better = told.partition("--set micro_tokens=")[2].split()[0]
    assert "nearly fit into" not in dry_run.report(setup.read(path, [f"micro_tokens={better}"]), 1)


def test_prepared_data_that_changed_is_found_at_the_next_start(tmp_path, tiny_tokenizer_dir, monkeypatch):
    """What was read once is read again exactly if a file was touched."""
    prepared = setup.read(str(write_run(tmp_path, tiny_tokenizer_dir)), []).tasks[0].prepared[0]
    read, real = [], Prepared.verify
    monkeypatch.setattr(Prepared, "verify", lambda this: read.append(1) or real(this))
    time.sleep(0.1)
    for _ in range(2):
        prepared.confirm()
    assert len(read) == 1
    (prepared.path / "dev.arrow").touch()
    prepared.confirm()
    assert len(read) == 2
    # One bit, and the time put back.
    path = prepared.path / "train.arrow"
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-200] ^= 1
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(InputError, match=r"train\.arrow: altered since it was written"):
        prepared.confirm()
