"""The cheap mask is dropout: its rate, its mean, its gradient and its seed are those of torch's own."""

import pytest
import torch
from torch import nn

from mtl.model.dropout import Dropout, use


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
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
    correlation = torch.corrcoef(kept.T) - torch.eye(8)
    assert correlation.abs().max() < 5 / kept.shape[0] ** 0.5


def test_gradient_is_that_of_the_mask():
    torch.manual_seed(2)
    x = torch.randn(7, 33, dtype=torch.float64, requires_grad=True)
    out = Dropout(0.3)(x)
    factor = (out / x).detach()
    weights = torch.randn_like(x)
    (out * weights).sum().backward()
    assert torch.allclose(x.grad, factor * weights)


def test_seeded_by_torch_and_off_in_evaluation():
    layer, x = Dropout(0.1), torch.randn(5, 64)
    found = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        found.append(layer(x))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert torch.equal(layer.eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)
    assert Dropout(0.1)(torch.zeros(0, 4)).shape == (0, 4)


@pytest.mark.parametrize("rate", [0.99999, 0.9999999])
def test_a_rate_that_rounds_to_one(rate):
    """A config may ask for any rate below 1."""
    torch.manual_seed(0)
    out = Dropout(rate)(torch.ones(1_000_000))
    assert out.isfinite().all()
    assert set(out.unique().tolist()) <= {0.0, 65536.0}


def test_takes_the_place_of_the_stock_one():
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout(0.25)), nn.Dropout(0.5)).eval()
    names = list(model.state_dict())
    use(model)
    assert [type(m) for m in model.modules() if isinstance(m, nn.Dropout)] == [Dropout, Dropout]
    assert (model[1][0].p, model[2].p, model[2].training) == (0.25, 0.5, False)
    assert list(model.state_dict()) == names
