"""The last layer where it is read alone: the same hidden states as everywhere, and less work."""

import numpy as np
import pytest
import torch
from transformers import (
    CamembertConfig,
    CamembertModel,
    XLMRobertaConfig,
    XLMRobertaModel,
    XLMRobertaXLConfig,
    XLMRobertaXLModel,
)

from mtl.data.packing import at_once, pack_sequences
from mtl.model import attention
from mtl.model.encoder import encode

FAMILIES = {
    "xlm-roberta": (XLMRobertaConfig, XLMRobertaModel),
    "xlm-roberta-xl": (XLMRobertaXLConfig, XLMRobertaXLModel),
    "camembert": (CamembertConfig, CamembertModel),
}


@pytest.mark.parametrize("backend", ["sdpa", "padded"])
@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_rows_of_the_last_layer_are_those_of_a_stock_model(family: str, backend: str) -> None:
    """Each sequence alone through transformers' own attention; places in any order, some of them twice."""
    make_config, make_model = FAMILIES[family]
    torch.manual_seed(0)
    config = make_config(
        vocab_size=50, hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=40, type_vocab_size=1, pad_token_id=1, initializer_range=0.3,
    )  # fmt: skip
    stock = make_model(config).eval()
    rng = np.random.default_rng(0)
    sequences = [rng.integers(5, 50, size=size) for size in (9, 4, 4, 1, 17)]
    expected = torch.cat([stock(torch.from_numpy(ids)[None]).last_hidden_state[0] for ids in sequences])

    packed = make_model(config).eval()
    packed.load_state_dict(stock.state_dict())
    packed.config._attn_implementation = attention.NAME
    packed.packed_backend, packed.compiled = backend, None
    batch = pack_sequences(sequences, 1)
    rows: list[int] = []
    packed.encoder.layer[-1].intermediate.register_forward_hook(lambda _, args, out: rows.append(out.shape[1]))
    for places in (batch.cu_seqlens[:-1].long(), torch.tensor([20, 3, 3]), torch.arange(len(expected)).flip(0)):
        found = encode(packed, batch, tokens=places)
        assert rows.pop() == len(places)
        torch.testing.assert_close(found, expected[places], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(encode(packed, batch), expected, atol=1e-5, rtol=1e-5)


def test_a_cpu_takes_smaller_batches() -> None:
    assert at_once(16384, torch.device("cpu")) == 2048 and at_once(100, torch.device("cpu")) == 100
    assert at_once(16384, torch.device("cuda")) == 16384
