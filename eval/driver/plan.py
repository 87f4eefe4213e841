"""What an evaluation will do: the test data of every target, and per encoder and target a `TargetRun`.

loaded, absent = read_all("xtreme", targets, sources, options)
runs, not_run = plan(encoder, targets, loaded, absent, options, folder)
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from common.errors import InputError
from common.files import json_sha256
from eval.driver import results
from eval.inference import artifacts
from eval.inference.artifacts import Options
from eval.inference.encoder import EvaluatedEncoder, head_fingerprint
from eval.metrics import score_target
from eval.read import read
from eval.rows import Loaded, NoData, joined
from eval.suites import Source, Target, groups
from mtl.model.saved_heads import LoadedHead

if TYPE_CHECKING:
    from eval.driver.target_training import Stage

VERSION = 4  # of the protocols: increase it with any change to a score or a submission


@dataclass
class TargetRun:
    """One target for one encoder, ready to run.

    stages: its training; head: name of the task that predicts, None for vectors; names: head label -> target label;
    setup: digest of encoder, training and protocol; fingerprint: of the data as well, or of an earlier record that
    includes these data; perturb: noise -> digest of what it depends on.
    """

    encoder: EvaluatedEncoder
    target: Target
    loaded: Loaded
    protocol: dict[str, Any]
    stages: "list[Stage]" = field(default_factory=list)
    head: str | None = None
    names: dict[str, str] = field(default_factory=dict)
    setup: str = ""
    fingerprint: str = ""
    perturb: dict[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Texts to embed or examples to predict."""
        if self.target.retrieval:
            return sum(map(len, artifacts.texts(self.loaded).values()))
        return sum(len(rows) for _, _, rows in self.loaded.artifacts())

    def finished(self, result: Mapping[str, Any]) -> bool:
        """Whether `result`, an object of scores.json, has the scores of this run, or says that there are none."""
        old = result["targets"].get(self.target.name, {"fingerprint": result["unscored"].get(self.target.name)})
        noisy = {name: one["setup"] for name, one in old.get("perturbed", {}).items()}
        return bool(old["fingerprint"] == self.fingerprint) and self.perturb.items() <= noisy.items()


def read_all(
    suite: str, targets: list[Target], data: Sequence[Source], options: Options
) -> tuple[dict[str, Loaded], dict[str, str]]:
    """(data of the targets that can be read, reasons for the others)."""
    loaded: dict[str, Loaded] = {}
    absent: dict[str, str] = {}
    for target in targets:
        if options.direct and target.training and not target.direct and not target.retrieval:
            absent[target.name] = "--direct: no intermediate task predicts it; it needs target training"
            continue
        reasons: list[str] = []
        parts = [
            some
            for codes, places in groups(data, target, target.of_suite(suite))
            if (some := _first_test(target, codes, places, options, reasons)) is not None
        ]
        if parts:
            loaded[target.name] = joined(parts)
        else:
            absent[target.name] = "; ".join(reasons)
    return loaded, absent


def _first_test(
    target: Target, codes: Sequence[str], places: Sequence[str], options: Options, reasons: list[str]
) -> Loaded | None:
    """The first of `places` with a labelled test set, else the first with dev, else None; appends to `reasons`.

    The first with dev, if that is asked for.
    """
    fallback: Loaded | None = None
    for place in places:
        try:
            some = read(target, codes, place, dev=options.dev)
        except NoData as error:
            reasons.append(str(error))
            continue
        for _, _, rows in some.artifacts() if target.kind != "mining" else ():  # which needs both sides whole
            del rows[options.examples or len(rows) :]
        some.data = place
        if place != places[0]:
            some.supplied.append(f"test data of {place}, as {places[0]} lacks them")
        if some.unsubmitted:
            some.supplied.append(f"no submission: {some.unsubmitted}")
        if some.rows and (options.dev or not some.dev):
            return some
        fallback = fallback or some
    if fallback is not None and fallback.dev:
        fallback.supplied.append(
            f"dev, not test, in {len(fallback.dev)} languages, as {fallback.data} has no labelled tests of them: in no"
            " average and no submission"
        )
    return fallback


def plan(
    encoder: EvaluatedEncoder,
    targets: Sequence[Target],
    loaded: Mapping[str, Loaded],
    absent: Mapping[str, str],
    options: Options,
    folder: Path,
) -> tuple[list[TargetRun], dict[str, str]]:
    """(runs of the targets that `encoder` can do, reasons for the others); `InputError` for an unsuitable head."""
    runs, not_run = [], dict(absent)
    trained = (folder.parent if options.dev else folder) / "targets"
    for target in targets:
        if target.name not in loaded:
            continue
        rows = loaded[target.name]
        protocol = {"split": rows.split, "precision": "float32"}
        protocol["n"] = f"first {options.examples}" if options.examples and target.kind != "mining" else "all"
        if target.retrieval:
            prefixes = {"query_prefix": options.query_prefix, "passage_prefix": options.passage_prefix}
            protocol |= {name: prefix for name, prefix in prefixes.items() if prefix}
        run = TargetRun(encoder, target, rows, protocol)
        basis: list[Any] = [VERSION, encoder.fingerprint]
        if target.training and options.direct and not target.retrieval:
            run.head = next((task for task in target.direct if task in encoder.heads), None)
            if run.head is None:
                not_run[target.name] = f"no head of {' or '.join(target.direct)} beside the encoder (heads/)"
                continue
            head, run.names = encoder.heads[run.head], target.direct[run.head]
            check_head(encoder, head, target, run.names)
            basis.append(head_fingerprint(head))
            protocol |= {"head": run.head, "training_on_target": "none"}
            protocol |= score_target.protocol(target, head.max_length)
        elif target.training and not options.direct:
            from eval.driver.target_training import chain

            run.stages = chain(target.training, encoder, trained, options)
            (run.head,) = run.stages[-1].tasks()
            basis.append([stage.request() for stage in run.stages])
            protocol |= {"head": run.head, "training_on_target": "English"}
        else:
            from eval.retrieval.score_vectors import protocol as protocol_of_vectors

            protocol |= {"training_on_target": "none"} if target.training else {}
            layer = encoder.depth if target.protocol else options.layer
            protocol |= protocol_of_vectors(target, encoder.depth, layer, options.pooling, options.centre)
        run.setup = json_sha256([basis, protocol])
        if options.perturb and target.retrieval and rows.rows:
            from eval.perturb import queries

            run.perturb = queries.setups(target, rows, options.perturb, options.lexicons)
        own = json_sha256([run.setup, rows.files])
        earlier = results.wider(folder, target.name, run.setup, rows.files)
        run.fingerprint = own if earlier is None else earlier["fingerprint"]
        if earlier and run.fingerprint != own and not run.finished({"targets": {target.name: earlier}, "unscored": {}}):
            fewer = f"{len(rows.files)} languages, not {len(earlier['languages'])}"
            text = f"{target.name}: scored again for --perturb, over {fewer}; the earlier --suite keeps them"
            tqdm.write(f"{encoder.name}: {text}", file=sys.stderr)
            run.fingerprint = own
        runs.append(run)
        if not rows.rows:
            not_run[target.name] = f"the tests of {rows.data} have no labels: predicted for the submission only"
    return runs, not_run


def check_head(encoder: EvaluatedEncoder, head: LoadedHead, target: Target, names: Mapping[str, str]) -> None:
    """`InputError` if the head cannot predict the target; `names`: head label -> target label."""
    where = f"{encoder.spec}: its head {head.task}"
    kind = "pair" if target.retrieval else target.kind
    if head.kind != kind:
        raise InputError(f"{where} is of task type {head.kind}; {target.name} needs {kind}")
    if target.kind == "classify":
        wanted = score_target.labels_of(target)
        if {names.get(label) for label in head.labels or ()} != set(wanted):
            raise InputError(
                f"{where}: its labels are {', '.join(head.labels or ('none',))}; {target.name} has {', '.join(wanted)}"
            )
