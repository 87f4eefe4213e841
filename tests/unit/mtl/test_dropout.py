"""The cheap mask is dropout: its rate, its mean, its gradient and its seed are those of torch's own."""

import pytest
import torch
from torch import nn

from mtl.model.dropout import Dropout, replace_dropout


@pytest.mark.parametrize(
    ("rate", "dtype"), [(0.1, torch.float32), (0.1, torch.bfloat16), (0.5, torch.float64), (0.9, torch.float32)]
)
def test_rate_and_scale(rate, dtype):
    torch.manual_seed(0)
    n = 1_000_003  # not a multiple of four
    out = Dropout(rate)(torch.ones(n, dtype=dtype))
    dropped = (out == 0).double().mean().item()
    assert abs(dropped - rate) < 5 * (rate * (1 - rate) / n) ** 0.5 + 1 / 65536
    kept = out[out != 0].double()
    assert kept.min() == kept.max()
    assert kept[0].item() == pytest.approx(1 / (1 - rate), rel=4e-3 if dtype is torch.bfloat16 else 2e-4)


def test_neighbours_are_independent():
    """Four draws come from one number: no two of them may go together."""
    torch.manual_seed(1)
    kept = (Dropout(0.5)(torch.ones(4_000_000)) != 0).double().view(-1, 8)
    assert (torch.corrcoef(kept.T) - torch.eye(8)).abs().max() < 5 / kept.shape[0] ** 0.5


def test_gradient_is_that_of_the_mask():
    torch.manual_seed(2)
    x, weights = torch.randn(7, 33, dtype=torch.float64, requires_grad=True), torch.randn(7, 33)
    out = Dropout(0.3)(x)
    (out * weights).sum().backward()
    assert torch.allclose(x.grad, (out / x).detach() * weights)


def test_seeded_by_torch_off_in_evaluation_and_in_the_place_of_the_stock_one():
    x, found = torch.randn(5, 64), []
    model = nn.Sequential(nn.Identity(), nn.Sequential(nn.Dropout(0.1)))
    replace_dropout(model)
    assert isinstance(model[1][0], Dropout) and model[1][0].p == 0.1
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        found.append(model(x))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert torch.equal(model.eval()(x), x)
    assert Dropout(0.1)(torch.zeros(0, 4)).shape == (0, 4)
