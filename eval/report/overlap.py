"""Whether training data hold rows of a target's test: what data preparation checked, from the run.json of runs."""

from collections.abc import Sequence

from data_prep.datasets import TEST_SETS
from eval.report.load import Run
from eval.suites import Target
from tasks.registry import TASK_TYPES

SAME_QUESTIONS = {"lareqa": "xquad", "mlqar": "mlqa"}  # XQuAD-R and MLQA-R


def overlap_notes(runs: Sequence[Run], target: Target) -> list[str]:
    """A sentence for each way in which datasets of the target's task type were trained on; none for other targets."""
    name = SAME_QUESTIONS.get(target.name, target.name)
    if name not in TEST_SETS or TEST_SETS[name].kind not in TASK_TYPES:
        return []
    notes: dict[str, list[str]] = {}  # what was done -> runs
    for run in runs:
        if target.name in run.targets:
            data = {d: about for d, about in run.overlap.items() if about["kind"] == TEST_SETS[name].kind}
            unchecked = [dataset for dataset, about in data.items() if name not in about["against"]]
            texts = [f"trained on {', '.join(unchecked)}, not checked for rows of this test (data_prep --against)"]
            texts = texts if unchecked else []
            for dataset, about in data.items():
                if count := about["left_out"].get(name, 0):
                    texts.append(f"trained without {count:,} rows of {dataset} that this test has too")
            for text in texts:
                notes.setdefault(text, []).append(run.name)
    return [f"{', '.join(names)}: {text}" for text, names in notes.items()]
