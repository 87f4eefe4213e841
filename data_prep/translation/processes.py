"""The processes that `accelerate launch` starts, by the environment that it sets; without it there is one."""

import os
from datetime import timedelta
from typing import Any

RANK, COUNT = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def state() -> Any:
    """accelerate's `PartialState`, of which one a process is made; the slowest is waited for up to a day."""
    import torch
    from accelerate import PartialState

    return PartialState(cpu=not torch.cuda.is_available(), timeout=timedelta(days=1))


def wait() -> None:
    """Until all processes have come here; they no longer need one another then."""
    if COUNT > 1:
        state().wait_for_everyone()
        state().destroy_process_group()
