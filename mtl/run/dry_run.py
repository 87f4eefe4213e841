"""What `--dry-run` prints: the plan of a run, before anything is spent on it.

Sizes, the mixture with expected examples and epochs, steps, tokens, parameters, and memory per GPU under the chosen
ZeRO stage. Needs prepared data, the tokenizer and the encoder's config, no weights and no GPU.
"""

from typing import Any

from mtl.run.memory_estimate import masked_logits, memory, parameters
from mtl.run.setup import Setup


def report(setup: Setup, ranks: int) -> str:
    """The report as text."""
    config, plan, ds = setup.run, setup.plan, setup.ds
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
        parts = [part for part in row["languages"] if not part["passages"]]
        named = [(row["task"], row), *((f"  {part['language']}", {"capped": "", **part}) for part in parts)]
        lines += [
            f"{name:<{width}} {part['rows']:>9} {part['capped']:>9} {part['probability']:>12.4f} "
            f"{part['examples']:>10.0f} {part['epochs']:>7.2f} {part['mean_length']:>15.1f}"
            for name, part in named
        ]
    for row, task in zip(rows, setup.tasks, strict=True):
        if task.entry.hybrid is not None:
            lines += ["", *_hybrid(row, task.entry.hybrid)]
    count = min(20, max(2, 200_000 // plan.batch_examples))  # a batch of a million examples takes seconds to draw
    sampled = [plan.step(number) for number in range(0, plan.steps, max(1, plan.steps // count))]
    tokens = sum(row["examples"] * row["mean_length"] for row in rows) / plan.steps
    micro = max(len(step.divide(ranks, config.micro_tokens)) for step in sampled)
    encoder, heads = parameters(setup)
    stage = ds.get("zero_optimization", {}).get("stage", 0)
    lines += [
        "",
        f"about {tokens:,.0f} tokens a step, {tokens * plan.steps / 1e6:,.1f} million in all; "
        f"on {ranks} rank(s) up to {micro} micro-step(s) of at most {config.micro_tokens} tokens",
        f"parameters: {encoder:,} encoder, {heads:,} heads",
        setup.vocabulary.describe(),
        *(["blocks: what follows attention is compiled (compile)"] if setup.compiled else []),
        "",
        f"GiB per GPU, ZeRO stage {stage} ({config.deepspeed}, fast_zero2 {'on' if config.fast_zero2 else 'off'}), "
        "estimated without gradient_checkpointing:",
        "GPUs   weights  gradients  optimizer  buckets  activations   sum",
    ]
    logits = masked_logits(setup)
    for count in sorted({1, 8, 64, ranks}):
        m = memory(encoder + heads, ds, setup.source, config.micro_tokens, count, config.fast_zero2, logits)
        lines.append(
            f"{count:>4} {m['weights']:>9.2f} {m['gradients']:>10.2f} {m['optimizer']:>10.2f} "
            f"{m['buckets']:>8.2f} {m['activations']:>12.2f} {sum(m.values()):>5.1f}"
        )
    if 1.1 * tokens / ranks < config.micro_tokens:  # micro_tokens leave room for steps above the mean
        lines += [
            "",
            f"warning: a rank gets about {tokens / ranks:,.0f} tokens a step, less than micro_tokens "
            f"({config.micro_tokens}): fewer ranks or a larger batch would use the hardware better",
        ]
    return "\n".join(lines)


def _hybrid(row: dict[str, Any], alpha: float) -> list[str]:
    """What hybrid batches draw, as shares of the steps that have pairs of the task."""
    one = {part["language"]: part for part in row["languages"] if not part["passages"]}
    two = [part for part in row["languages"] if part["passages"]]
    shares = ", ".join(f"{name} {part['probability'] / (row['probability'] or 1):.3f}" for name, part in one.items())
    lines = [f"{row['task']}: steps with pairs of one language {alpha:.3f} ({shares})"]
    if two:
        each = f"{len(two)} of query and passage, {(1 - alpha) / len(two):.4f} each"
        lines.append(f"{row['task']}: steps with pairs of two languages {1 - alpha:.3f} ({each})")
    missing = {f"{p['language']} > {p['passages']}": one[p["language"]]["rows"] - p["rows"] for p in two}
    if any(missing.values()):
        pairs = ", ".join(f"{name} {count:,}" for name, count in missing.items() if count)
        lines.append(f"{row['task']}: rows not drawn, as their group has none in the passage's language: {pairs}")
    return lines
