"""The head of masked language modelling."""

from typing import Self

from transformers import PretrainedConfig

from tasks import head
from tasks.head import Bodies


class Head(head.Head):
    """[m, H] masked tokens -> [m, vocabulary]: the LM head that the encoder was trained with."""

    auto_class = "AutoModelForMaskedLM"

    @classmethod
    def of(cls, config: PretrainedConfig, labels: int | None, bodies: Bodies) -> Self:
        return cls(bodies.lm, config, config.vocab_size)
