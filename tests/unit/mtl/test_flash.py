"""Attention in Triton against a float64 reference: on a GPU, or in Triton's interpreter (TRITON_INTERPRET=1) on a CPU.

`make test-triton` runs it in the interpreter, half a minute; on a GPU leave the variable out.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoModel

triton = pytest.importorskip("triton")
if triton.knobs.runtime.interpret:
    from triton.runtime import interpreter

    # Triton 3.6 makes a loop's bound an int in a way that numpy no longer allows; kernels are not concerned.
    _patch = interpreter._patch_lang_tensor

    def _patch_lang_tensor(tensor, scope) -> None:
        _patch(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))

    interpreter._patch_lang_tensor = _patch_lang_tensor

from common.run_config import RandomEncoder  # noqa: E402
from mtl.model import triton_attention  # noqa: E402
from mtl.model.encoder import encode, load_encoder  # noqa: E402
from mtl.model.triton_attention import Kernels, LaunchConfig  # noqa: E402
from tests.support import families  # noqa: E402
from tests.support.packing import pack_sequences  # noqa: E402
from tests.support.rows import fails  # noqa: E402

LENGTHS = (1, 2, 15, 16, 17, 63, 64, 65, 127, 128, 129, 200, 512)
ERROR = {torch.bfloat16: 1e-2, torch.float16: 2e-3, torch.float32: 1e-5}
INTERPRETED = pytest.param(
    "cpu", torch.float32, marks=pytest.mark.skipif(not triton.knobs.runtime.interpret, reason="TRITON_INTERPRET=1 only")
)
GPU = [pytest.param("cuda", dtype, marks=pytest.mark.gpu) for dtype in ERROR]
DEVICES = pytest.mark.parametrize(("device", "dtype"), [INTERPRETED, *GPU])
# Small tiles for the interpreter; queries and keys are not tiled alike, so that a mix-up would show.
SMALL = Kernels(LaunchConfig(32, 16, 4, 1), LaunchConfig(16, 32, 4, 1), LaunchConfig(32, 16, 4, 1))


@pytest.fixture(autouse=True)
def small(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("gpu"):
        if triton.knobs.runtime.interpret or not torch.cuda.is_available():
            pytest.skip("needs a GPU, without TRITON_INTERPRET")
        return
    monkeypatch.setattr(triton_attention, "SIZES", (16, 32))
    monkeypatch.setattr(triton_attention, "kernels_for", lambda dtype, dim: SMALL)


def inputs(tokens: int, heads: int, dim: int, device: str, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """qkv, and a gradient of the output. Drawn anew for every test."""
    qkv = torch.randn(tokens, 3, heads, dim).to(device, dtype).requires_grad_()
    return qkv, torch.randn(tokens, heads, dim).to(device, dtype)


def reference(qkv: Tensor, dout: Tensor, lengths: tuple[int, ...], scale: float) -> tuple[Tensor, Tensor]:
    """Output and gradient, float64 on the CPU, a sequence at a time."""
    exact = qkv.detach().cpu().double().requires_grad_()
    pieces = []
    for sequence in exact.split(lengths):
        q, k, v = sequence.permute(1, 2, 0, 3)  # [heads, length, dim]
        pieces.append((torch.softmax(q @ k.transpose(1, 2) * scale, -1) @ v).transpose(0, 1))
    out = torch.cat(pieces)
    out.backward(dout.cpu().double())
    assert exact.grad is not None
    return out.detach(), exact.grad


def error(found: Tensor, wanted: Tensor) -> float:
    """Relative to the norm; absolute below a norm of 1, as a sequence of one token has no gradient of q and k."""
    return ((found.detach().cpu().double() - wanted).norm() / max(wanted.norm().item(), 1.0)).item()


def check(lengths: tuple[int, ...], heads: int, dim: int, device: str, dtype: torch.dtype) -> None:
    scale = dim**-0.5
    qkv, dout = inputs(sum(lengths), heads, dim, device, dtype)
    out = triton_attention.attention(qkv, triton_attention.make_tiles(lengths, device), scale)
    assert out.shape == dout.shape and out.dtype == dtype and out.is_contiguous()
    out.backward(dout)
    assert qkv.grad is not None and qkv.grad.is_contiguous()
    wanted, gradient = reference(qkv, dout, lengths, scale)
    assert error(out, wanted) < ERROR[dtype]
    for part in range(3):  # the gradients of q, k and v, each by its own size
        assert error(qkv.grad[:, part], gradient[:, part]) < ERROR[dtype], "qkv"[part]


# Of some rows one of the kernels has nothing to do.
ONE_KIND = [(lengths, 2, 16) for lengths in ((1,), (1, 1, 1), (16,), (20, 90), (8, 8))]


@DEVICES
@pytest.mark.parametrize(("lengths", "heads", "dim"), [((), 1, 16), ((), 3, 16), ((), 2, 64), *ONE_KIND])
def test_equals_the_reference(lengths: tuple[int, ...], heads: int, dim: int, device: str, dtype: torch.dtype) -> None:
    check(lengths or ((1, 15, 33, 16, 70, 2, 17, 32) if device == "cpu" else LENGTHS), heads, dim, device, dtype)


@pytest.mark.gpu
@pytest.mark.parametrize(("lengths", "dim"), [((300, *LENGTHS[::-1]), 32), (LENGTHS, 128), ((8192, 5), 64)])
def test_the_other_sizes_of_head_and_a_long_sequence(lengths: tuple[int, ...], dim: int) -> None:
    check(lengths, 2, dim, "cuda", torch.bfloat16)


@DEVICES
def test_large_scores(device: str, dtype: torch.dtype) -> None:
    """Scores beyond a hundred, all negative for some queries: exp of them would overflow or vanish."""
    lengths = (9, 40)
    qkv, dout = inputs(sum(lengths), 2, 16, device, dtype)
    with torch.no_grad():
        qkv[:, 0] = qkv[:, 0].abs() * 8
        qkv[:, 1] = qkv[:, 1].abs() * torch.tensor([-8.0, 8.0], device=device)[None, :, None]
    out = triton_attention.attention(qkv, triton_attention.make_tiles(lengths, device), 0.25)
    out.backward(dout)
    assert qkv.grad is not None and qkv.grad.isfinite().all()
    wanted, gradient = reference(qkv, dout, lengths, 0.25)
    assert error(out, wanted) < 10 * ERROR[dtype]
    assert error(qkv.grad[:, 2], gradient[:, 2]) < 10 * ERROR[dtype]


@DEVICES
@pytest.mark.parametrize("length", [13, 37, 70])
def test_neighbours_are_neither_read_nor_written(
    length: int, device: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All memory is NaN but for one sequence in the middle: all of that is written, and nothing else."""
    before, after = 5, 140
    lengths = (before, length, after)
    inside = slice(before, before + length)
    qkv, dout = inputs(sum(lengths), 2, 16, device, dtype)
    wanted, gradient = reference(qkv[inside], dout[inside], (length,), 0.25)
    outside = torch.ones(sum(lengths), dtype=torch.bool, device=device)
    outside[inside] = False
    with torch.no_grad():
        qkv[outside], dout[outside] = torch.nan, torch.nan
    alone = triton_attention.make_tiles((length,), device)
    for table in alone.tables.values():
        table[:, 0] += before
    monkeypatch.setattr(triton_attention.torch, "empty", lambda *shape, **how: torch.full(*shape, torch.nan, **how))
    out = triton_attention.attention(qkv, replace(alone, tokens=sum(lengths)), 0.25)
    out.backward(dout)
    assert qkv.grad is not None
    for found, right in ((out, wanted), (qkv.grad, gradient)):
        assert found[outside].isnan().all()
        assert error(found[inside], right) < ERROR[dtype]


@pytest.mark.skipif(not triton.knobs.runtime.interpret, reason="TRITON_INTERPRET=1 only")
@pytest.mark.parametrize("family", ["xlm-roberta-xl", *(f for f in families.NEW if f != "modernbert")])
def test_families(family: str, tmp_path: Path) -> None:
    """Hidden states and gradients as with `sdpa`: fused projections, rotary positions, grouped keys."""
    torch.manual_seed(0)
    config = families.config(family, num_attention_heads=2, num_key_value_heads=1)
    AutoModel.from_config(config).save_pretrained(tmp_path)
    rng = np.random.default_rng(1)
    batch = pack_sequences([rng.integers(3, 90, size=n) for n in (9, 2, 33)], -1)
    found = []
    for backend in ("sdpa", "triton"):
        encoder = load_encoder(tmp_path)
        encoder.packed_backend = backend
        out = encode(encoder, batch)
        out.square().sum().backward()
        found.append((out.detach(), {n: p.grad for n, p in encoder.named_parameters() if p.grad is not None}))
    (wanted, gradients), (out, others) = found
    assert (out - wanted).abs().max() < 1e-5 * wanted.abs().max()
    whole = torch.stack([gradient.norm() for gradient in gradients.values()]).norm()
    assert gradients.keys() == others.keys()
    for name, gradient in gradients.items():
        assert (others[name] - gradient).norm() <= 1e-5 * gradient.norm() + 1e-6 * whole, name


def test_windows_are_refused() -> None:
    """Heads of 16 are not: nothing else is in the way."""
    shape = families.shape("modernbert", hidden_size=64, vocab_size=90, **families.IDS)
    spec = RandomEncoder(model_type="modernbert", config=shape, tokenizer="none")
    fails(lambda: load_encoder(spec, backend="triton"), "`triton` has no windows", "are of 16, its windows of 5)")
