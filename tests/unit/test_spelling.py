"""How cells are spelled: the words of an automaton by enumeration, and the tokens that it takes against brute force."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinlake.models.automaton import Builder
from twinlake.models.spelling import MARK, Digits, Prose, Spelling


def words_of(spelling: Spelling, most: int = 5_000) -> set[bytes]:
    """All words, where they are few."""
    out, stack = set(), [(spelling.start, b"")]
    while stack and len(out) < most:
        state, word = stack.pop()
        if state == Spelling.END:
            out.add(word)
        stack += [(after, word + bytes([byte])) for byte, after in spelling.arcs(state).items()]
    return out


def signed(ranges: tuple[tuple[int, int], ...], width: int, negative: tuple[tuple[int, int], ...] = ()) -> Any:
    """The automaton of a sign and digits, as models/digits.py builds it."""
    builder = Builder(10)
    arcs = {0: builder.within(ranges, width), 1: builder.within(negative, width)}
    return builder.build(builder.state({s: a for s, a in arcs.items() if a >= 0}))


def test_whole_numbers_have_no_leading_zeros() -> None:
    words = Spelling(digits=Digits(signed(((0, 120),), 3, ((1, 12),)), 3, {}, 0, 2, b" ", b","))
    assert words_of(words) == {f" {n},".encode() for n in range(-12, 121)}


def test_decimals_have_their_places() -> None:
    digits = Digits(signed(((5, 1_234),), 4, ((90, 210),)), 4, {2: 0x2E}, 0, 1, b"", b"}")
    assert words_of(Spelling(digits=digits)) == {f"{n / 100:.2f}}}".encode() for n in [*range(5, 1_235), *range(-210, -89)]}


def test_decimals_below_one_are_filled_with_zeros() -> None:
    digits = Digits(signed(((1, 45),), 2), 2, {-2: 0x2E}, -3, -3, b"", b",")
    assert words_of(Spelling(digits=digits)) == {f"{n / 10_000:.4f},".encode() for n in range(1, 46)}


def test_dates_and_words_together() -> None:
    builder = Builder(10)
    days = builder.build(builder.state({0: builder.dates(20240227, 20240302)}))
    marks = {4: 0x2D, 6: 0x2D}
    spelling = Spelling([b" null,", b' "2024",'], Digits(days, 8, marks, 0, 0, b' "', b'",'))
    wanted = ["2024-02-27", "2024-02-28", "2024-02-29", "2024-03-01", "2024-03-02", "2024"]
    assert words_of(spelling) == {b" null,", *(f' "{d}",'.encode() for d in wanted)}


@pytest.mark.parametrize("is_json", [True, False])
@given(text=st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12))
def test_any_text_is_taken(is_json: bool, text: str) -> None:
    prose = Spelling(prose=Prose(is_json, b' "' if is_json else b'"', b","))
    told = " " + json.dumps(text, ensure_ascii=False) if is_json else '"' + text.replace('"', '""') + '"'
    assert prose.accepts(told.encode() + b",") == (MARK not in text)


def test_what_is_no_text_is_not_taken() -> None:
    prose = Spelling([b" null,"], prose=Prose(True, b' "', b","))
    assert prose.accepts(b" null,") and prose.accepts(b' "",') and prose.accepts(b' "a\\n\\"",')
    wrong = [b' "a', b' "a"', b'"a",', b' "\x01",', b' "\\x",', b' "\xff",', b' "\xc3",', b' "\xed\xa0\x80",', b' "a","']
    assert not any(prose.accepts(w) for w in wrong)


def test_a_text_that_has_to_end_finishes_its_character() -> None:
    prose = Spelling(prose=Prose(True, b' "', b","))
    state = prose.start
    for byte in b' "a' + "ü".encode()[:1]:
        state = prose.arcs(state)[byte]
    rest = set()
    stack = [(prose.ending(state), b"")]
    while stack:
        at, word = stack.pop()
        if at == Spelling.END:
            rest.add(word)
        stack += [(after, word + bytes([byte])) for byte, after in prose.arcs(at).items()]
    assert rest == {bytes([b]) + b'",' for b in range(0x80, 0xC0)}


@pytest.fixture(scope="module", params=["bytes", "pieces"])
def vocabulary(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    pytest.importorskip("transformers")
    from tiny_llm import build_llm

    from twinlake.models.vocabulary import Vocabulary

    folder = build_llm(tmp_path_factory.mktemp("llm") / request.param, request.param)
    return Vocabulary((folder / "tokenizer.json").read_text("utf-8"))


def test_tokens_spell_the_text(vocabulary: Any) -> None:
    for text in ['{"topic":', ' "card",', " Zürich\n\t€ 🙂", " 39}", "", "<s>"]:
        ids = vocabulary.encode(text.encode())
        assert b"".join(vocabulary.tokens[i] for i in ids) == text.encode()


def test_legal_tokens_against_brute_force(vocabulary: Any) -> None:
    """Each token of the vocabulary, byte by byte."""
    digits = Digits(signed(((0, 99_999),), 5), 5, {3: 0x2E}, 0, 2, b" ", b",")
    for spelling in (
        Spelling([b' "card",', b' "cart",', "\u00a0".encode()]),
        Spelling([b" null,"], digits),
        Spelling([b" null,"], prose=Prose(True, b' "', b",")),
    ):
        todo, seen = [spelling.start], set()
        while todo and len(seen) < 60:
            state = todo.pop()
            if state in seen:
                continue
            seen.add(state)
            wanted = {}
            for number, token in enumerate(vocabulary.tokens):
                at = state
                for byte in token or b"":
                    at = spelling.arcs(at).get(byte, -1) if at >= 0 else -1
                if token and at >= 0:
                    wanted[number] = (at, len(token))
            choices = vocabulary.choices(spelling, state)
            # of tokens with the same bytes one is enough
            found = {int(i): (int(s), int(n)) for i, s, n in zip(choices.ids, choices.states, choices.lengths, strict=True)}
            assert all(wanted[i] == what for i, what in found.items())
            assert {vocabulary.tokens[i] for i in wanted} == {vocabulary.tokens[i] for i in found}
            assert found or state == Spelling.END
            todo += {s for s, _ in found.values()}


def test_a_vocabulary_that_cannot_spell_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    from tokenizers import Tokenizer, models

    from twinlake.core.errors import ConfigError
    from twinlake.models.vocabulary import Vocabulary

    with pytest.raises(ConfigError, match="no token for"):
        Vocabulary(Tokenizer(models.WordLevel({"a": 0, "<unk>": 1}, unk_token="<unk>")).to_str())
    with pytest.raises(ConfigError, match="can't be read"):
        Vocabulary("{}")
