"""Batches packed ahead: the same as without; prepared data that changed is found."""

import os
import time

import numpy as np
import pytest
import torch

from common.errors import InputError
from data_prep.storage.store import Prepared
from mtl.data import loader
from mtl.run import setup
from tests.support.small import write_run


@pytest.fixture(scope="module")
def made(small_run):
    return setup.read(small_run, [])


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
