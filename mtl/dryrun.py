"""What `--dry-run` prints: the plan of a run, before anything is spent on it.

Sizes, the mixture with expected examples and epochs, steps, tokens, parameters, and memory per GPU under the chosen
ZeRO stage. Needs prepared data, the tokenizer and the encoder's config, no weights and no GPU.
"""

from typing import Any

import torch
from transformers import AutoModel, PretrainedConfig

from mtl.heads import make_head
from mtl.setup import Setup

GIB = 2**30


def parameters(made: Setup) -> tuple[int, int]:
    """(encoder, heads) parameters, counted on the meta device."""
    with torch.device("meta"):
        encoder = AutoModel.from_config(made.source)
        heads = [make_head(t.task.kind, made.source, len(t.labels) if t.labels else None) for t in made.tasks]
    return sum(p.numel() for p in encoder.parameters()), sum(p.numel() for h in heads for p in h.parameters())


def memory(total: int, ds: dict[str, Any], config: PretrainedConfig, micro_tokens: int, ranks: int) -> dict[str, float]:
    """Estimated GiB per rank: weights, gradients, optimizer (master copy and two moments), activations.

    Rajbhandari et al. 2020 (ZeRO, section 3): stage 1 divides the optimizer states by the ranks, stage 2 the gradients
    too. Activations: 34 bytes per token, hidden unit and block in half precision (Korthikanti et al. 2022, equation 1
    without the attention matrix, which no back-end here keeps), twice that in float32.
    """
    half = ds.get("bf16", {}).get("enabled", False) or ds.get("fp16", {}).get("enabled", False)
    stage = ds.get("zero_optimization", {}).get("stage", 0)
    offload = "offload_optimizer" in ds.get("zero_optimization", {})
    states = 12 if stage or half else 8  # float32 without ZeRO needs no master copy
    width = 2 if half else 4
    parts = {
        "weights": total * width,
        "gradients": total * 4 / (ranks if stage == 2 else 1),
        "optimizer": 0 if offload else total * states / (ranks if stage else 1),
        "activations": 17 * width * micro_tokens * config.hidden_size * config.num_hidden_layers,
    }
    return {name: size / GIB for name, size in parts.items()}


def report(made: Setup, ranks: int) -> str:
    """The whole text."""
    config, plan, ds = made.run, made.plan, made.ds
    rows = plan.expected()
    width = max(len(row["task"]) for row in rows)
    lines = [
        f"run {config.name}: {plan.steps} steps of {plan.batch_examples} examples, "
        f"mixture {config.mixture.kind}, batches {config.mixture.batches}, seed {config.seed}",
        f"an epoch of the mixture is {plan.epoch_examples} examples",
        "",
        f"{'task':<{width}}      rows    capped  probability   examples  epochs  tokens/example",
    ]
    for row in rows:
        lines.append(
            f"{row['task']:<{width}} {row['rows']:>9} {row['capped']:>9} {row['probability']:>12.4f} "
            f"{row['examples']:>10.0f} {row['epochs']:>7.2f} {row['mean_length']:>15.1f}"
        )
    sampled = [plan.step(number) for number in range(0, plan.steps, max(1, plan.steps // 20))]
    tokens = sum(step.tokens for step in sampled) / len(sampled)
    micro = max(len(step.divide(ranks, config.micro_tokens)) for step in sampled)
    encoder, heads = parameters(made)
    stage = ds.get("zero_optimization", {}).get("stage", 0)
    lines += [
        "",
        f"about {tokens:,.0f} tokens a step, {tokens * plan.steps / 1e6:,.1f} million in all; "
        f"on {ranks} rank(s) up to {micro} micro-step(s) of at most {config.micro_tokens} tokens",
        f"parameters: {encoder:,} encoder, {heads:,} heads",
        "",
        f"GiB per GPU, ZeRO stage {stage} ({config.deepspeed}), estimated:",
        "GPUs   weights  gradients  optimizer  activations   sum",
    ]
    for count in sorted({1, 8, 64, ranks}):
        m = memory(encoder + heads, ds, made.source, config.micro_tokens, count)
        lines.append(
            f"{count:>4} {m['weights']:>9.2f} {m['gradients']:>10.2f} {m['optimizer']:>10.2f} "
            f"{m['activations']:>12.2f} {sum(m.values()):>5.1f}"
        )
    if tokens / ranks < config.micro_tokens:
        lines += [
            "",
            f"warning: a rank gets about {tokens / ranks:,.0f} tokens a step, less than micro_tokens "
            f"({config.micro_tokens}): fewer ranks or a larger batch would use the hardware better",
        ]
    return "\n".join(lines)
