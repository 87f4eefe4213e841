"""Each head and loss against transformers' own `XLMRobertaFor*` on padded batches."""

import numpy as np
import pytest
import torch
from transformers import (
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
    XLMRobertaForMultipleChoice,
    XLMRobertaForQuestionAnswering,
    XLMRobertaForSequenceClassification,
    XLMRobertaForTokenClassification,
)

from common.run_config import RandomEncoder
from mtl.model.encoder import MultiTaskModel, load_encoder
from tasks.encoding import Special
from tests.support.packing import head_scores, pack_rows
from tests.support.small import SHAPE

SPECIAL = Special(0, 2, 1, 89, 90, (0, 1, 2, 3, 89), 2)
CONFIG = {**SHAPE, "vocab_size": 90}
# kind -> (transformers' class, where it keeps the modules of our head, number of labels)
STOCK = {
    "classify": (XLMRobertaForSequenceClassification, "classifier.", 3),
    "regress": (XLMRobertaForSequenceClassification, "classifier.", None),
    "choice": (XLMRobertaForMultipleChoice, "", None),
    "span": (XLMRobertaForQuestionAnswering, "", None),
    "tag": (XLMRobertaForTokenClassification, "", 5),
    "mlm": (XLMRobertaForMaskedLM, "lm_head.", None),
}


def build(kind):
    """A MultiTaskModel with one head, and transformers' own model with the same weights."""
    cls, prefix, labels = STOCK[kind]
    encoder = load_encoder(RandomEncoder(config=CONFIG, tokenizer="none"), seed=3)
    ours = MultiTaskModel(encoder, {"t": kind}, {"t": labels}, seed=5).eval()
    with torch.no_grad():  # fresh biases are 0: make them matter
        for parameter in ours.heads.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    config = XLMRobertaConfig(**{**encoder.config.to_dict(), "num_labels": labels or (1 if kind == "regress" else 2)})
    config._attn_implementation = "eager"
    theirs = cls(config).eval()
    state = {f"roberta.{n}": w for n, w in encoder.state_dict().items()}
    state |= {f"{prefix}{n}": w for n, w in ours.heads["t"].state_dict().items()}
    if kind == "mlm":
        state["lm_head.decoder.weight"] = encoder.get_input_embeddings().weight
        state["lm_head.decoder.bias"] = state["lm_head.bias"]
    missing, unexpected = theirs.load_state_dict(state, strict=False)
    assert all("pooler" in n for n in (*missing, *unexpected))
    # The pooler is trained where a head reads it, and else leaves as it came.
    assert all(p.requires_grad == (kind == "choice") for p in encoder.pooler.parameters())
    return ours, theirs


def sequences(seed=0, count=6):
    rng = np.random.default_rng(seed)
    return [np.r_[0, rng.integers(4, 88, size=rng.integers(3, 25)), 2] for _ in range(count)]


def padded(parts):
    longest = max(map(len, parts))
    ids = torch.ones(len(parts), longest, dtype=torch.long)
    for i, part in enumerate(parts):
        ids[i, : len(part)] = torch.from_numpy(part)
    return ids, (ids != 1).long()


def compare(ours, kind, rows, loss_sum, scores, right):
    batch = pack_rows([(0, row) for row in rows], [("t", kind)], SPECIAL)
    with torch.no_grad():
        total, stats = ours(batch)
        assert total.item() == pytest.approx(loss_sum.item(), rel=1e-5)
        assert stats[0, 0].item() == pytest.approx(loss_sum.item(), rel=1e-5)
        assert (head_scores(ours, batch, "t") - scores).abs().max().item() < 1e-5
    assert stats[0, 1].item() == right


@pytest.mark.parametrize(
    ("kind", "gold"), [("classify", [0, 2, 1, 1, 0, 2]), ("regress", [0.0, 4.25, -1.0, 5.0, 2.5, -3.75])]
)
def test_heads_of_whole_sequences(kind, gold):
    """Of one output transformers' own class makes a regression by itself."""
    ours, theirs = build(kind)
    parts, labels = sequences(), torch.tensor(gold)
    rows = [{"input_ids": s, "lengths": [len(s)], "label": y} for s, y in zip(parts, gold, strict=True)]
    ids, mask = padded(parts)
    out = theirs(ids, attention_mask=mask, labels=labels)
    assert (theirs.config.problem_type == "regression") == (kind == "regress")
    right = (out.logits.argmax(-1) == labels).sum() if kind == "classify" else 0
    compare(ours, kind, rows, out.loss * 6, out.logits, right)


def test_choice():
    """Two to four choices in one batch; transformers' own takes one example at a time, all with as many choices."""
    ours, theirs = build("choice")
    rows, total, scores, right = [], 0, [], 0
    for seed, (count, label) in enumerate([(2, 1), (4, 3), (3, 0), (4, 0)]):
        parts = sequences(seed, count)
        rows.append({"input_ids": np.concatenate(parts), "lengths": [len(p) for p in parts], "label": label})
        ids, mask = padded(parts)
        out = theirs(ids[None], attention_mask=mask[None], labels=torch.tensor([label]))
        total = total + out.loss
        scores.append(out.logits[0])
        right += int(out.logits[0].argmax() == label)
    compare(ours, "choice", rows, total, torch.cat(scores), right)


def test_span():
    """transformers' own softmax runs over the padded row with padding left in, so each window is given alone."""
    ours, theirs = build("span")
    rows, total, scores, right = [], 0, [], 0
    for part, (start, end) in zip(sequences(), [(0, 0), (1, 3), (2, 2), (0, 0), (1, 1), (3, 4)], strict=True):
        rows.append({"input_ids": part, "lengths": [len(part)], "start": start, "end": end})
        sides = {"start_positions": torch.tensor([start]), "end_positions": torch.tensor([end])}
        out = theirs(torch.from_numpy(part)[None], **sides)
        total = total + out.loss
        scores.append(torch.stack([out.start_logits[0], out.end_logits[0]], -1))
        right += int(out.start_logits.argmax() == start and out.end_logits.argmax() == end)
    compare(ours, "span", rows, total, torch.cat(scores), right)


@pytest.mark.parametrize("kind", ["tag", "mlm"])
def test_heads_of_labelled_tokens(kind):
    """Half of the tokens of each sequence are labelled: by a tag, or by what stood under <mask>."""
    ours, theirs = build(kind)
    rng = np.random.default_rng(2)
    parts, rows = sequences(), []
    ids, mask = padded(parts)
    gold = torch.full_like(ids, -100)
    for i, part in enumerate(parts):
        positions = np.sort(rng.choice(np.arange(1, len(part) - 1), size=len(part) // 2, replace=False))
        labels = part[positions] if kind == "mlm" else rng.integers(0, 5, size=len(positions))
        gold[i, positions] = torch.from_numpy(labels)
        tokens = part.copy()
        if kind == "mlm":
            tokens[positions] = SPECIAL.mask
            ids[i, positions] = SPECIAL.mask
        rows.append({"input_ids": tokens, "lengths": [len(part)], "positions": positions, "labels": labels})
    out = theirs(ids, attention_mask=mask, labels=gold)
    known = gold >= 0
    right = (out.logits[known].argmax(-1) == gold[known]).sum()
    compare(ours, kind, rows, out.loss * known.sum(), out.logits[known], right)


def test_a_label_unknown_to_training_costs_nothing_and_is_never_right():
    ours, _ = build("tag")
    part = sequences()[0]
    known = {"input_ids": part, "lengths": [len(part)], "positions": [1], "labels": [3]}
    both = {**known, "positions": [1, 2], "labels": [3, -1]}
    with torch.no_grad():
        one, first = ours(pack_rows([(0, known)], [("t", "tag")], SPECIAL))
        two, second = ours(pack_rows([(0, both)], [("t", "tag")], SPECIAL))
    assert one.item() == pytest.approx(two.item())
    assert first[0, 1] == second[0, 1]
