"""Pieces of text: nothing is lost, and nothing that few people wrote is learned."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from twinlake.core.errors import ModelError
from twinlake.models.codec import Codec
from twinlake.models.column import ColumnCodec
from twinlake.models.script import Script, Text
from twinlake.models.tokenizer import END, NULL, RARE, Tokenizer, count_units, train_tokenizer, units_of
from twinlake.models.transcribe import longest_of

TEXTS = [f"My card {'has not' if i % 3 else 'still has not'} arrived, after {i % 7} weeks!" for i in range(60)]
SECRET = "Zyxwvutsky"


def counted(texts: list[str], people: int = 10) -> dict[str, int]:
    counts: dict[str, int] = {}
    count_units([[t] for t in texts], counts)
    return {unit: n for unit, n in counts.items() if n >= people}


MODEL = train_tokenizer(counted(TEXTS))


@given(st.text(max_size=80))
@settings(max_examples=200, deadline=None)
def test_units_are_the_whole_text(text: str) -> None:
    assert "".join(units_of(text)) == text


def test_units_are_counted_once_a_row() -> None:
    counts: dict[str, int] = {}
    count_units([["a a b", "a"], ["b", None]], counts)
    assert counts == {"a": 1, " a": 1, " b": 1, "b": 1}


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=0, max_size=60))
@settings(max_examples=200, deadline=None)
def test_what_is_common_comes_back_exactly(text: str) -> None:
    """Also characters that the vocabulary has never seen: they are told by their bytes."""
    tokenizer = Tokenizer(MODEL, frozenset(units_of(text)))
    ids = tokenizer.encode(pa.array([text, None, ""]), 400)
    assert tokenizer.decode(ids).to_pylist() == [text, None, ""]
    assert ids[1, 0] == NULL and (ids[2] == END).all()


def test_breaks_within_a_text_come_back() -> None:
    texts = [f"line one\nline two\tend {i % 2}" for i in range(30)]
    words = counted(texts)
    assert {"\n", "\t"} <= set(words)
    tokenizer = Tokenizer(train_tokenizer(words), frozenset(words))
    ids = tokenizer.encode(pa.array(texts), 60)
    assert tokenizer.decode(ids).to_pylist() == texts
    assert tokenizer.drawable()[np.unique(ids)].all()


def test_a_rare_word_is_told_to_nobody() -> None:
    texts = [*TEXTS, f"My card is with {SECRET} now, call 5551234"]
    words = counted(texts)
    model = train_tokenizer(words)
    assert SECRET.encode() not in model and b"5551234" not in model
    tokenizer = Tokenizer(model, frozenset(words), seed=3)
    ids = tokenizer.encode(pa.array(texts[-1:]), 60)
    assert (ids == RARE).sum() >= 1
    [back] = tokenizer.decode(ids).to_pylist()
    assert "5551234" not in back and not any(SECRET[i : i + 4] in back for i in range(len(SECRET) - 3))
    digits = [c for c in back if c.isdigit()]
    assert len(digits) == 7  # the shape stays
    assert not tokenizer.drawable()[RARE]


def test_digits_are_single_pieces() -> None:
    words = {" 2024": 50, " 2025": 40, " in": 90}
    processor = sentencepiece.SentencePieceProcessor(model_proto=train_tokenizer(words))
    assert [p for p in processor.EncodeAsPieces(" 2024") if p != "\u2581"] == ["2", "0", "2", "4"]


def test_a_vocabulary_of_characters() -> None:
    words = counted(TEXTS)
    processor = sentencepiece.SentencePieceProcessor(model_proto=train_tokenizer(words, 0))
    assert processor.EncodeAsPieces("card") == list("card")


def test_no_byte_may_be_drawn() -> None:
    tokenizer = Tokenizer(train_tokenizer(counted(TEXTS)), frozenset())
    drawable = np.flatnonzero(tokenizer.drawable())
    told = tokenizer.decode(np.array([[piece, END] for piece in drawable], np.uint16)).to_pylist()
    assert all(text is None or "\ufffd" not in text for text in told)
    assert (~tokenizer.drawable()).sum() >= 257  # 256 bytes and the rare piece


def test_texts_are_cut_at_their_bound() -> None:
    words = counted(TEXTS)
    tokenizer = Tokenizer(train_tokenizer(words), frozenset(words))
    whole = tokenizer.encode(pa.array(TEXTS[:5]), 100)
    assert (tokenizer.encode(pa.array(TEXTS[:5]), 4) == whole[:, :4]).all()


def test_nothing_to_learn_and_damage_are_told() -> None:
    with pytest.raises(ModelError, match="no word is held by"):
        train_tokenizer({})
    with pytest.raises(ModelError, match="damaged"):
        Tokenizer(b"no model", frozenset())


def test_a_text_that_was_cut_ends_with_the_unknown_and_no_longer_one_is_written() -> None:
    tokenizer = Tokenizer(MODEL, frozenset(counted(TEXTS)))
    [whole, cut] = tokenizer.encode(pa.array(["My card", "My card has not"]), 40, cut=15)
    assert whole[list(whole).index(END) - 1] != RARE and cut[list(cut).index(END) - 1] == RARE
    schema = pa.schema([("note", pa.string())])
    script = Script(Codec((ColumnCodec("note", "string", "text"),), schema), (Text(0, 40, 9, False, True),), tokenizer)
    empty = pa.RecordBatch.from_arrays([pa.array([None, None], pa.string())], schema=schema)
    assert script.with_texts(empty, np.stack([whole, cut])).column(0).to_pylist() == ["My card", "My card h"]


@pytest.mark.parametrize(
    ("lengths", "found"),
    [
        ([], (0, False)),
        ([5, 9], (5, False)),  # fewer than ten people: what all reach
        ([*range(1, 101)], (91, False)),  # ten reach 91
        ([*range(1, 91), *[128] * 10], (128, True)),
        ([*range(1, 91), *[128] * 10, 200], (128, True)),  # one got longer later
        ([*range(1, 91), *[128] * 10, *range(130, 150)], (140, False)),  # 20 are longer: no cut
        ([*range(1, 2_001), *[3_000] * 12], (3_000, False)),  # ten of 2,012 are too few to be a cut
    ],
)
def test_the_greatest_length_is_one_that_people_share(lengths: list[int], found: tuple[int, bool]) -> None:
    assert longest_of(lengths, 10) == found
