"""Batches packed ahead: the same as without, errors where their step comes, and no cost that grows with the data."""

import heapq
import os
import threading
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InputError
from data_prep.storage import store, verified
from data_prep.storage.columns import spread
from mtl.data import loader, sampler
from mtl.data.packing import mask_tokens
from mtl.data.plan import Step
from mtl.data.sampler import permute
from mtl.distributed import collectives
from mtl.run import dry_run, setup
from tests.support.small import write_run


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_tokenizer_dir):
    return setup.read(str(write_run(tmp_path_factory.mktemp("ahead"), tiny_tokenizer_dir)), [])


def ahead(made, first=0, rank=0, world=2):
    return loader.Ahead(made.plan, first=first, rank=rank, world=world, special=made.special, pin=False)


def flat(batch):
    names = ("tokens", "labels", "group", "place")
    heads = {f"{name}.{part}": getattr(rows, part) for name, rows in batch.heads.items() for part in names}
    return {
        "ids": batch.input_ids,
        "positions": batch.position_ids,
        "cu": batch.cu_seqlens,
        "w": batch.weights,
        **heads,
    }


def same(one, other):
    a, b = flat(one), flat(other)
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


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
        assert work.problem is None
        assert len(expected) == len(work.batches)
        assert all(same(a, b) for a, b in zip(expected, work.batches, strict=True))
        np.testing.assert_array_equal(work.step.row, step.row)


def test_every_row_is_laid_out_as_the_files_have_it(made):
    """Tokens, positions, labels and their places against the rows themselves, one by one."""
    for step in loader.steps_from(made.plan, 0):
        (share,) = step.divide(1, 10**6)
        (batch,) = loader.micro_batches(made.plan, step, [share], 0, made.special)
        sequences, of_head = [], {name: [] for name in made.names}
        for place in share[0]:
            task = made.tasks[step.task[place]]
            (row,) = task.train.take(step.row[place : place + 1])
            if task.task.kind == "mlm":
                row = mask_tokens(row, made.special, made.run.mlm_probability, (made.run.seed, step.number, int(place)))
            of_head[task.name].append((len(sequences), row))
            sequences += np.split(np.asarray(row["input_ids"]), np.cumsum(row["lengths"])[:-1])
        order = sorted(range(len(sequences)), key=lambda n: (-len(sequences[n]), n))
        at, starts = 0, {}
        for n in order:
            starts[n] = at
            at += len(sequences[n])
        assert batch.input_ids[0].tolist() == [token for n in order for token in sequences[n].tolist()]
        assert batch.position_ids[0].tolist() == [
            p + made.special.pad + 1 for n in order for p in range(len(sequences[n]))
        ]
        assert list(batch.seq_lengths) == [len(sequences[n]) for n in order]
        for task in made.tasks:
            rows, head = of_head[task.name], batch.heads[task.name]
            kind = task.task.kind
            if kind == "classify":
                tokens, labels = [starts[n] for n, _ in rows], [row["label"] for _, row in rows]
            elif kind == "choice":
                tokens = [starts[n + c] for n, row in rows for c in range(len(row["lengths"]))]
                labels = [row["label"] for _, row in rows]
                assert head.group.tolist() == [i for i, (_, row) in enumerate(rows) for _ in row["lengths"]]
                assert head.place.tolist() == [c for _, row in rows for c in range(len(row["lengths"]))]
                assert head.width == max((len(row["lengths"]) for _, row in rows), default=0)
            elif kind == "span":
                tokens = [starts[n] + p for n, row in rows for p in range(row["length"])]
                labels = [[row["start"], row["end"]] for _, row in rows]
                assert head.group.tolist() == [i for i, (_, row) in enumerate(rows) for _ in range(row["length"])]
                assert head.place.tolist() == [p for _, row in rows for p in range(row["length"])]
                assert head.width == max((row["length"] for _, row in rows), default=0)
            else:
                tokens = [starts[n] + p for n, row in rows for p in row["positions"]]
                labels = [label for _, row in rows for label in row["labels"]]
            assert head.tokens.tolist() == tokens
            assert head.labels.tolist() == labels


def test_a_bad_row_is_told_when_its_step_comes(made, monkeypatch):
    real = loader.batch_of

    def batch_of(plan, step, places, special, weights=None):
        if step.number == 4:
            raise ValueError("damaged")
        return real(plan, step, places, special, weights)

    monkeypatch.setattr(loader, "batch_of", batch_of)
    with ahead(made) as works:
        found, broken = [], []
        for work, _ in zip(works, range(5), strict=False):
            found.append((work.step.number, work.problem))
            broken.append(works.broken())
    assert broken == [False, False, False, True, False]
    assert [number for number, problem in found if problem is None] == [0, 1, 2, 3]
    assert "is not what was prepared" in found[4][1]
    assert "\n" not in found[4][1]


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


@pytest.mark.parametrize(("column", "value"), [("length", 2**30), ("length", 0), ("units", -1), ("units", 2**30)])
def test_a_length_that_changes_under_a_run_is_told(made, monkeypatch, column, value):
    """The plan is made of these numbers, so they are looked at before anything is made of them."""
    real, calls = store.Split.gather, []

    def gather(this, rows, names):
        found = real(this, rows, names)
        calls.append(1)
        if "my_choice" in str(this.path) and "units" in names and len(calls) > 40:
            found[column] = np.full_like(found[column], value)
        return found

    monkeypatch.setattr(store.Split, "gather", gather)
    with ahead(made) as works:
        found = [(work.step.number, work.problem) for work in works]
    assert len(found) > 1
    assert [number for number, _ in found[:-1]] == list(range(len(found) - 1))
    assert all(problem is None for _, problem in found[:-1])
    assert found[-1][1].startswith("my_choice: ")
    assert "is not what was prepared" in found[-1][1]


def test_only_so_many_steps_wait_and_leaving_ends_the_thread(made, monkeypatch):
    asked = []
    real = type(made.plan).step
    monkeypatch.setattr(
        type(made.plan), "step", lambda self, n, cursors=None: asked.append(n) or real(self, n, cursors)
    )
    before = threading.active_count()
    with ahead(made) as works:
        next(iter(works))
        # One is taken, AHEAD wait, one more is planned and waits for room.
        deadline = time.monotonic() + 60
        while max(asked) < 1 + loader.AHEAD and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.3)
        assert asked == list(range(2 + loader.AHEAD))
    assert threading.active_count() == before


def test_planning_asks_for_the_rows_of_its_step_only(made, monkeypatch):
    """Of a task of any size: as many rows as the step has, and no whole column at all."""
    asked = []
    real = store.Split.gather
    monkeypatch.setattr(
        store.Split, "gather", lambda self, rows, names: asked.append(len(rows)) or real(self, rows, names)
    )
    monkeypatch.setattr(store.Split, "whole", lambda self, name: pytest.fail("a whole column was read"))
    plan = setup.read(str(made.run.output).removesuffix("/runs") + "/small.json", []).plan
    step = plan.step(1)
    assert sum(asked) == plan.batch_examples == len(step.task)
    asked.clear()
    loader.micro_batches(plan, step, step.divide(2, plan.config.micro_tokens), 0, made.special)
    assert sum(asked) <= plan.batch_examples


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 9)), max_size=20))
def test_spread(pairs):
    starts, counts = (np.array(part, dtype=np.int64) for part in (zip(*pairs, strict=True) if pairs else ((), ())))
    assert spread(starts, counts).tolist() == [s + i for s, n in pairs for i in range(n)]


@given(
    lengths=st.lists(st.integers(2, 2000), min_size=1, max_size=400),
    ranks=st.integers(1, 70),
    capacity=st.sampled_from([2000, 4096, 16384]),
)
def test_division_is_graham_s_rule(lengths, ranks, capacity):
    """Rounds of arrays give what a heap of bins gives, item by item: longest first, each into the emptiest bin."""
    n = len(lengths)
    zeros = np.zeros(n, dtype=np.int64)
    step = Step(0, zeros, zeros, np.array(lengths), np.array([n]), np.array([n]), np.array([1.0 / n]))
    shares = step.divide(ranks, capacity)
    count = len(shares) * ranks
    heap, bins = [(0, index) for index in range(count)], [[] for _ in range(count)]
    for place in sorted(range(n), key=lambda p: -lengths[p]):
        load, index = heapq.heappop(heap)
        bins[index].append(place)
        heapq.heappush(heap, (load + lengths[place], index))
    bins.sort(key=lambda places: -sum(lengths[p] for p in places))
    assert [places.tolist() for row in shares for places in row] == bins
    loads = step.loads(shares)
    assert loads.tolist() == [[sum(lengths[p] for p in places) for places in row] for row in shares]
    # Graham 1969: the fullest bin is within 4/3 of the best division, which is no better than the mean or the longest.
    assert loads.max() <= 4 / 3 * max(sum(lengths) / count, max(lengths), sum(sorted(lengths)[-count - 1 :][:2]))


@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(1, 300),
    first=st.integers(0, 2000),
    batch=st.integers(1, 500),
)
def test_rows_of_several_epochs_at_once(seed, size, first, batch):
    """A batch that runs through many epochs of a tiny task takes of each what that epoch's own permutation says."""
    drawn = sampler.Sampler((size, 7), "fixed", (size, 7), seed, batch, 10, True, given=(1.0, 0.0))
    task, row = drawn.batch(0, np.array([first, 0]))
    assert not task.any()
    expected = [permute(np.array([n % size]), size, (seed, 0, n // size))[0] for n in range(first, first + batch)]
    assert row.tolist() == expected


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
    torch.multiprocessing.spawn(vote, (2, tmp_path / "meet", tmp_path / "found"), nprocs=2)
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


class TestVerified:
    """What was read once is read again exactly if a file was touched."""

    @pytest.fixture
    def prepared(self, tmp_path, tiny_tokenizer_dir, monkeypatch):
        run = setup.read(str(write_run(tmp_path, tiny_tokenizer_dir)), [])
        found = run.tasks[0].prepared[0]
        self.read = []
        real = store.Prepared.verify
        monkeypatch.setattr(store.Prepared, "verify", lambda this, v=None: self.read.append(1) or real(this, v))
        time.sleep(0.1)
        return found

    def test_once(self, prepared):
        prepared.confirm()
        prepared.confirm()
        store.Prepared(prepared.path).confirm()
        assert len(self.read) == 1

    def test_altered_in_place_with_its_time_put_back(self, prepared):
        prepared.confirm()
        path = prepared.path / "train.arrow"
        before = path.stat()
        with path.open("r+b") as file:
            file.seek(-200, os.SEEK_END)
            byte = file.read(1)
            file.seek(-200, os.SEEK_END)
            file.write(bytes([byte[0] ^ 1]))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        with pytest.raises(InputError, match=r"train\.arrow: altered since it was written"):
            prepared.confirm()

    def test_touched_but_whole(self, prepared):
        prepared.confirm()
        (prepared.path / "dev.arrow").touch()
        prepared.confirm()
        assert len(self.read) == 2

    def test_a_note_that_is_none_or_cannot_be_written(self, prepared):
        (prepared.path / verified.NOTE).write_text("[1")
        prepared.confirm()
        (prepared.path / verified.NOTE).unlink()
        (prepared.path / verified.NOTE).mkdir()
        prepared.confirm()
        prepared.confirm()
        assert len(self.read) == 3
