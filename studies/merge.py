"""Changes of a run config: nested keys are merged, `tasks+` and `tasks-` change a list, anything else is replaced.

merged({"steps": 100, "optimizer": {"lr": 1e-5, "warmup": 0.1}, "tasks": ["mnli"]},
       {"epochs": 2, "optimizer": {"lr": 2e-5}, "tasks+": ["qqp"], "tasks-": ["mnli"]})
{"epochs": 2, "optimizer": {"lr": 2e-5, "warmup": 0.1}, "tasks": ["qqp"]}
"""

from typing import Any

from common.errors import InputError

# Of each pair a config has one: giving it takes the other out.
_EXCLUSIVE = {"steps": "epochs", "epochs": "steps", "tokens": "examples", "examples": "tokens"}


def merged(values: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """`values` with `change`; neither is altered. `InputError` for what `KEY-` does not find, or no list."""
    result = dict(values)
    for key, value in change.items():
        name, sign = (key[:-1], key[-1]) if key[-1:] in ("+", "-") else (key, "")
        old = result.get(name)
        if not sign:
            if value is not None:
                result.pop(_EXCLUSIVE.get(key, ""), None)
            result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
        elif not isinstance(value, list) or not isinstance(old, list):
            raise InputError(f"`{key}`: both `{name}` and what is to change in it must be lists")
        elif sign == "+":
            result[name] = [*old, *value]
        else:
            there = [_name(item) for item in old]
            if absent := [item for item in value if item not in there]:
                raise InputError(f"`{key}`: there is no {absent[0]!r} in {', '.join(map(str, there))}")
            result[name] = [item for item in old if _name(item) not in value]
    return result


def _name(item: Any) -> Any:
    return item.get("name") or item.get("task") if isinstance(item, dict) else item
