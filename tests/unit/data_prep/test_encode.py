"""Encoding against independent references: transformers' own calls, and round trips on awkward text."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import InputError
from data_prep.encoding import encode, tokenizer
from data_prep.examples import Choice, Classify, Span, Tag, Text

LENGTHS = (16, 23, 64, 256)

# What has broken alignments before: combining marks, full-width forms, the word mark itself, control and zero-width
# characters, emoji with joiners, right-to-left text with marks, ligatures and ellipses that normalisation expands.
AWKWARD = [
    "e\u0301te\u0301", "n\u0303", "\uff1f\uff01", "\uff21\uff22\uff11", "\u2581", "\u2581\u2581a", "\x07",
    "\x00b", "\u200d", "\u200b", "\ufeff", "\U0001f469\u200d\U0001f680", "\U0001f1e9\U0001f1ea",
    "\u05e9\u05c1\u05dc\u05d5\u05dd", "\u0627\u0644\u0643\u0644\u0628", "\u202eabc\u202c",
    "\ufb01ne", "\u2026", "\u00bd", "\u3000", "\u00a0", "\t",
    "\u0915\u094d\u0937", "\ud55c\uad6d", "\u5c0f\u72d7", "\u0e19\u0e49\u0e33", "<s>", "</s>", "<mask>", "dog", "a",
    "?",
]  # fmt: skip

awkward_text = st.lists(
    st.one_of(st.sampled_from(AWKWARD), st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=6)),
    min_size=1,
    max_size=12,
).flatmap(lambda parts: st.sampled_from([" ".join(parts), "".join(parts)]))
visible_text = awkward_text.filter(lambda text: not text.isspace())
few = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def tiny(tiny_tokenizer_dir):
    return tokenizer.load(tiny_tokenizer_dir)


@pytest.fixture(scope="module", params=["tiny", "xlmr"])
def any_tokenizer(request):
    """The tests on awkward text run with the tokenizer made here, and with XLM-R's where it is."""
    if request.param == "tiny":
        return tokenizer.load(request.getfixturevalue("tiny_tokenizer_dir"))
    return request.getfixturevalue("xlmr_tokenizer")


def words(n: int, start: int = 0) -> str:
    """A text of `n` words that differ from each other."""
    return " ".join(f"dog{i + start}" for i in range(n))


def well_formed(rows: list[dict], bos: int, eos: int, max_length: int) -> None:
    for row in rows:
        assert row["input_ids"].dtype == row["lengths"].dtype == np.int32
        assert row["length"] == len(row["input_ids"]) == row["lengths"].sum()
        for sequence in np.split(row["input_ids"], np.cumsum(row["lengths"])[:-1]):
            assert 2 <= len(sequence) <= max_length
            assert sequence[0] == bos and sequence[-1] == eos


@pytest.mark.parametrize("max_length", LENGTHS)
def test_classify_equals_transformers(tiny, max_length):
    pairs = [(words(a), words(b, 100)) for a in (1, 3, 8, 30, 31) for b in (1, 3, 8, 30, 31)] + [(words(40), None)]
    examples = [Classify("", a, b, i % 3) for i, (a, b) in enumerate(pairs)]
    truncated: Counter[str] = Counter()
    rows = encode.encode_classify(tiny, examples, max_length, truncated)
    cut = 0
    for i, ((a, b), row) in enumerate(zip(pairs, rows, strict=True)):
        expected = tiny(a, b, truncation="longest_first", max_length=max_length)["input_ids"]
        cut += len(tiny(a, b)["input_ids"]) > max_length
        assert row["input_ids"].tolist() == expected
        assert (row["label"], row["units"], row["example"], row["lengths"].tolist()) == (i % 3, 1, i, [len(expected)])
    assert truncated["text"] == cut


@few
@given(a=visible_text, b=st.none() | visible_text, max_length=st.sampled_from(LENGTHS))
def test_classify_on_awkward_text(any_tokenizer, a, b, max_length):
    (row,) = encode.encode_classify(any_tokenizer, [Classify("", a, b, 0)], max_length)
    expected = any_tokenizer(a, b, truncation="longest_first", max_length=max_length)["input_ids"]
    assert row["input_ids"].tolist() == expected


@given(a=st.integers(0, 40), b=st.integers(0, 40), room=st.integers(2, 40))
def test_longest_first_takes_one_by_one_from_the_longer(a, b, room):
    # The definition, one token at a time; which side gives first on a tie only decides who keeps an odd token.
    x, y = a, b
    while x + y > room:
        x, y = (x - 1, y) if x > y else (x, y - 1)
    kept = encode.longest_first(a, b, room)
    assert sum(kept) == min(a + b, room)
    assert sorted(kept) == sorted((x, y))
    assert kept[0] <= a and kept[1] <= b


def test_choice_keeps_the_choice_and_the_end_of_the_prompt(tiny):
    def ids(text):
        return tiny(text, add_special_tokens=False)["input_ids"]

    prompt, choices = words(20), ("dog", words(3, 50), words(30, 70))
    truncated: Counter[str] = Counter()
    (row,) = encode.encode_choice(tiny, [Choice("", prompt, choices, 1)], 40, truncated)
    assert truncated == {"prompt": 1, "choice": 1}
    assert row["label"] == 1 and row["units"] == 1
    sequences = np.split(row["input_ids"], np.cumsum(row["lengths"])[:-1])
    assert len(sequences) == 3
    for sequence, choice in zip(sequences, choices, strict=True):
        kept = ids(choice)[:36]
        rest = 36 - len(kept)
        expected = [0, *(ids(prompt)[-rest:] if rest else []), 2, 2, *kept, 2]
        assert sequence.tolist() == expected
    # Nothing cut: the same as the tokenizer's own pair.
    (row,) = encode.encode_choice(tiny, [Choice("", "the dog", ("runs", "reads a letter"), 0)], 64)
    expected = [tiny("the dog", choice)["input_ids"] for choice in ("runs", "reads a letter")]
    assert row["input_ids"].tolist() == [token for ids in expected for token in ids]
    assert row["lengths"].tolist() == [len(e) for e in expected]


@pytest.mark.parametrize(("max_length", "context_words"), [(40, 60), (64, 7), (384, 300), (512, 1000)])
def test_span_windows_equal_transformers(tiny, max_length, context_words):
    question, context = "which dog runs", words(context_words)
    room = max_length - len(tiny(question, add_special_tokens=False)["input_ids"]) - 4
    stride = min(128, room // 3)
    rows = encode.encode_span(tiny, [Span("", question, context, ())], max_length)
    reference = tiny(
        question, context, truncation="only_second", max_length=max_length, stride=stride,
        return_overflowing_tokens=True, return_offsets_mapping=True,
    )  # fmt: skip
    assert [row["input_ids"].tolist() for row in rows] == reference["input_ids"]
    for i, row in enumerate(rows):
        in_context = np.array([number == 1 for number in reference.sequence_ids(i)])
        offsets = np.where(in_context[:, None], np.array(reference["offset_mapping"][i]), -1)
        assert np.array_equal(row["offset_start"], offsets[:, 0])
        assert np.array_equal(row["offset_end"], offsets[:, 1])


def test_span_long_question_is_cut_and_counted(tiny):
    truncated: Counter[str] = Counter()
    (row,) = encode.encode_span(tiny, [Span("", words(80), "the dog runs", ())], 256, truncated)
    assert truncated == {"question": 1}
    expected = tiny(words(80), add_special_tokens=False)["input_ids"][:64]
    assert row["input_ids"][1:65].tolist() == expected and row["input_ids"][65:67].tolist() == [2, 2]


def test_every_answer_lies_in_a_window_and_only_there(tiny):
    context = words(120)
    answers = ["dog0", "dog57", "dog119", "dog50 dog51 dog52", *(f"dog{i} dog{i + 1}" for i in range(100, 119))]
    for word in answers:
        start = context.index(word)
        rows = encode.encode_span(tiny, [Span("", "which", context, ((word, start),))], 48)
        found = 0
        for row in rows:
            inside = (row["offset_start"] >= 0) & (row["offset_end"] > row["offset_start"])
            covered = set()
            for first, last in zip(row["offset_start"][inside], row["offset_end"][inside], strict=True):
                covered.update(range(first, last))
            whole = set(range(start, start + len(word))) - {i for i, c in enumerate(context) if c == " "} <= covered
            if whole:
                found += 1
                got = context[row["offset_start"][row["start"]] : row["offset_end"][row["end"]]]
                assert got.strip() == word
            else:
                assert row["start"] == row["end"] == 0
        assert found >= 1


@few
@given(before=awkward_text, answer=visible_text, after=awkward_text, gap=st.sampled_from(["", " "]))
def test_span_round_trip_on_awkward_text(any_tokenizer, before, answer, after, gap):
    context = before + gap + answer + gap + after
    start = len(before + gap)
    row = encode.encode_span(any_tokenizer, [Span("", "what", context, ((answer, start),))], 512)[0]
    inside = row["offset_start"] >= 0
    tokens = np.array(any_tokenizer.convert_ids_to_tokens(row["input_ids"].tolist()))
    bare = np.array([not token.strip("\u2581") for token in tokens])
    touching = [
        i
        for i in np.flatnonzero(inside & ~bare)
        if max(row["offset_start"][i], start) < min(row["offset_end"][i], start + len(answer))
    ]
    if not touching:  # the normaliser left nothing of the answer
        assert row["start"] == row["end"] == 0
        return
    assert (row["start"], row["end"]) == (touching[0], touching[-1])
    # Every character of the answer that any token covers is covered by the predicted characters.
    predicted = set(range(row["offset_start"][row["start"]], row["offset_end"][row["end"]]))
    covered = {c for i in np.flatnonzero(inside & ~bare) for c in range(row["offset_start"][i], row["offset_end"][i])}
    assert covered & set(range(start, start + len(answer))) <= predicted


def test_tag_positions_are_first_subwords(tiny):
    sentence = ("the", "smallest", "dog", "unbelievably", "\u200b", "runs")
    tags = ("D", "A", "N", "R", "X", "V")
    (row,) = encode.encode_tag(tiny, [Tag("", sentence, tags)], 64, ["A", "D", "N", "R", "V"])
    # The reference: each word by itself.
    expected, positions = [0], []
    for word in sentence:
        positions.append(len(expected))
        expected += tiny(word, add_special_tokens=False)["input_ids"] or [tiny.unk_token_id]
    assert row["input_ids"].tolist() == [*expected, 2]
    assert row["positions"].tolist() == positions
    assert row["labels"].tolist() == [1, 0, 2, 3, -1, 4]
    assert row["units"] == 5


def test_tag_equals_is_split_into_words(xlmr_tokenizer):
    sentence = ["Tom", "'s", "1,200", "dogs", "\u2026", "run", "-", "away", "\u5c0f\u72d7", "!"]
    (row,) = encode.encode_tag(xlmr_tokenizer, [Tag("", tuple(sentence), ("T",) * len(sentence))], 64, ["T"])
    reference = xlmr_tokenizer(sentence, is_split_into_words=True)
    assert row["input_ids"].tolist() == reference["input_ids"]
    of_word = reference.word_ids()
    assert row["positions"].tolist() == [of_word.index(i) for i in range(len(sentence))]


def check_tags(some_tokenizer, sentence, max_length):
    """No word lost: every word's tokens stand in the rows, in order, its label on the first of them."""
    names = [f"T{i % 7}" for i in range(len(sentence))]
    rows = encode.encode_tag(some_tokenizer, [Tag("", tuple(sentence), tuple(names))], max_length, sorted(set(names)))
    well_formed(rows, 0, 2, max_length)
    labels = [sorted(set(names))[n] for row in rows for n in row["labels"]]
    assert labels == names
    assert sum(row["units"] for row in rows) == len(sentence)
    number = 0
    for row in rows:
        ends = [*row["positions"][1:], row["length"] - 1]
        assert row["positions"][0] == 1
        for first, last in zip(row["positions"], ends, strict=True):
            alone = some_tokenizer(sentence[number], add_special_tokens=False)["input_ids"] or [3]
            assert row["input_ids"][first:last].tolist() == alone[: max_length - 2]
            number += 1
    return rows


@few
@given(
    sentence=st.lists(visible_text.map(lambda t: t.strip() or "x"), min_size=1, max_size=20),
    max_length=st.sampled_from((12, 16, 64)),
)
def test_tag_loses_no_word_on_awkward_text(any_tokenizer, sentence, max_length):
    check_tags(any_tokenizer, sentence, max_length)


def test_long_sentences_are_split_and_long_words_cut(tiny):
    assert len(check_tags(tiny, [f"dog{i}" for i in range(50)], 20)) > 3
    truncated: Counter[str] = Counter()
    rows = encode.encode_tag(tiny, [Tag("", ("a", "dog" * 40, "b"), ("X",) * 3)], 16, ["X"], truncated)
    assert truncated == {"word": 1}
    assert sum(len(row["positions"]) for row in rows) == 3


@few
@given(text=visible_text, copies=st.integers(1, 8), max_length=st.sampled_from((12, 32)))
def test_mlm_keeps_every_token(any_tokenizer, text, copies, max_length):
    text = " ".join([text] * copies)
    rows = encode.encode_mlm(any_tokenizer, [Text("", text)], max_length)
    well_formed(rows, 0, 2, max_length)
    joined = [token for row in rows for token in row["input_ids"][1:-1].tolist()]
    assert joined == any_tokenizer(text, add_special_tokens=False)["input_ids"]
    assert all(row["length"] == max_length for row in rows[:-1])
    assert [row["units"] for row in rows] == [max(1, round(0.15 * (row["length"] - 2))) for row in rows]


def test_rows_name_their_example_and_truncation_state_does_not_leak(tiny):
    tiny("a b c d e f", truncation=True, max_length=4, padding="max_length")  # leaves its settings in the backend
    rows = encode.encode_span(
        tiny, [Span("", "q", "dog", ()), Span("", "q", words(60), ()), Span("", "q", "dog", ())], 40
    )
    assert [row["example"] for row in rows] == [0] + [1] * (len(rows) - 2) + [2]
    assert all(row["units"] == 1 for row in rows)


def test_too_short_a_length_is_refused(tiny):
    with pytest.raises(InputError, match="max_length 5"):
        encode.encode_mlm(tiny, [Text("", "dog")], 5)


def test_fingerprint_follows_the_content_not_the_folder(tiny, tiny_tokenizer_dir, tmp_path):
    first = tokenizer.fingerprint(tiny)
    tiny.save_pretrained(tmp_path / "copy")
    copy = tokenizer.load(tmp_path / "copy")
    copy("dog", truncation=True, max_length=3)
    assert tokenizer.fingerprint(copy) == first
    copy.add_tokens(["newword"])
    assert tokenizer.fingerprint(copy) != first


def test_unsuitable_tokenizers_are_refused_in_one_line(tmp_path):
    with pytest.raises(InputError, match="cannot be loaded") as caught:
        tokenizer.load(tmp_path / "nowhere")
    assert "\n" not in str(caught.value)
    (tmp_path / "bert").mkdir()
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1, "b": 2}, unk_token="[UNK]"))
    PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]").save_pretrained(tmp_path / "bert")
    with pytest.raises(InputError, match="bos_token"):
        tokenizer.load(tmp_path / "bert")


def squad_rows(shared):
    import pyarrow.parquet as pq

    for name in ("squad/plain_text", "squad_v2/squad_v2"):
        for split in ("train", "validation"):
            file = shared / "data" / "hub" / "rajpurkar" / name / f"{split}-00000-of-00001.parquet"
            yield from pq.read_table(file).to_pylist()


@pytest.mark.real
def test_every_real_squad_answer_comes_back(shared, xlmr_tokenizer):
    examples = [
        Span(row["id"], row["question"], row["context"], tuple(zip(*row["answers"].values(), strict=True)))
        for row in squad_rows(shared)
    ]
    recovered: dict[int, set[str]] = {}
    exact = 0
    for row in encode.encode_span(xlmr_tokenizer, examples, 384):
        if not row["start"]:
            continue
        first, last = row["start"], row["end"]
        context, (answer, begin) = examples[row["example"]].context, examples[row["example"]].answers[0]
        got = context[row["offset_start"][first] : row["offset_end"][last]]
        recovered.setdefault(row["example"], set()).add(got)
        if got == answer.strip():
            exact += 1
        else:
            # A token may reach over the end of the answer ("2014," is one piece): wider by part of a token, no more.
            assert answer.strip() in got
            assert row["offset_end"][first] > begin and row["offset_start"][last] < begin + len(answer)
    answered = {i for i, example in enumerate(examples) if example.answers}
    assert len(answered) > 3000 and set(recovered) == answered
    assert all(len(texts) == 1 for texts in recovered.values())  # the same from every window that holds the answer
    assert exact / len(answered) > 0.97
