"""LAReQA's passages: an answer's sentence with its paragraph, as one text.

XTREME-R puts a candidate together as sentence + paragraph with nothing between them and without line breaks
(`third_party/evaluate_retrieval.py` and `third_party/processors/lareqa.py`); in training and in evaluation alike.
"""


def passage_text(sentence: str, paragraph: str) -> str:
    return (sentence + paragraph).replace("\n", "")
