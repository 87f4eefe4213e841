"""What variants forgot of the languages: the MLM loss before and after training (`"also": ["mlm_loss"]`)."""

from typing import Any

from common.run_config import read_json
from eval.metrics.aggregate import interval
from eval.mlm_loss import NAME
from eval.report.compare import Value
from eval.report.tables import Table, row
from studies.report.results import Results


def forgetting_table(results: Results) -> Table | None:
    """Rows: languages; columns: variants, an encoder that is not trained first, from which the others differ."""
    found: dict[str, list[dict[str, Any]]] = {}
    for run in results.runs:
        path = run.evaluation / NAME
        if run.identity and path.is_file():
            found.setdefault(run.variant.name, []).append(read_json(path)["encoders"][0])
    if not found:
        return None
    about = results.study.variants
    names = sorted(found, key=lambda name: (about[name].trained, about[name].baseline != name))
    caption = f"MLM loss in nats a masked token, and its difference from {names[0]}; lower is better"
    table = Table(caption, row("language", *names), style="long", decimals=3, low=True)
    each = [set(one["languages"]) for some in found.values() for one in some]
    codes = sorted(set.intersection(*each))
    for label, some in (*((code, [code]) for code in codes), (f"mean of {len(codes)}", codes)):
        means = [[sum(e["languages"][c]["loss"] for c in some) / len(some) for e in found[name]] for name in names]
        table.rows.append(row(label, *table.cells([Value(**interval(each)) for each in means])))
    table.foot = 1
    for name in names:
        table.note(f"{name}: LM head {', '.join(dict.fromkeys(str(one['head']) for one in found[name]))}")
    return table
