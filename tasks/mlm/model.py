"""The head of masked language modelling."""

from tasks import head


class Head(head.Head):
    """[m, H] masked tokens -> [m, vocabulary]: the LM head that the encoder was trained with."""

    auto_class = "AutoModelForMaskedLM"
    reads = "lm"
