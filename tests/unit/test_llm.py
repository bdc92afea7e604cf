"""Rows as text and back, and rows drawn from a language model with random weights: valid, whatever the weights say."""

from __future__ import annotations

import copy
import csv
import datetime as dt
import importlib.util
import io
import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinlake.core.seeds import generator
from twinlake.models.automaton import of_words
from twinlake.models.codec import Codec, encode_column
from twinlake.models.column import ColumnCodec
from twinlake.models.digits import in_digits, legal_cells
from twinlake.models.rows_as_text import ROOM, Prosaic, RowScript
from twinlake.models.sampler import Known, Style
from twinlake.models.script import Script, Text
from twinlake.models.spelling import MARK
from twinlake.models.writing import Allowed

TOPICS = ("card", 'the "gold" one', "a, b\nc", "Zürich €", "", "null", "?")
FIRST, LAST = dt.date(2023, 12, 30), dt.date(2024, 3, 1)
DAYS = ((FIRST - dt.date(1970, 1, 1)).days, (LAST - dt.date(1970, 1, 1)).days)
SECONDS = 1_700_000_000
BOUND = 24 + ROOM
PLAIN = ("help", "me", "my", "card", "ü", ",", "€")
WORDS = (*PLAIN, *(f" {w}" for w in PLAIN))


def number(name: str, type_: str, low: int, high: int, **more: Any) -> ColumnCodec:
    return in_digits(ColumnCodec(name, type_, "number", bin_start=(0,), low=(low,), high=(high,), **more))


COLUMNS = (
    ColumnCodec("topic", "string", "category", values=TOPICS, states=("null",)),
    ColumnCodec('a "flag"', "boolean", "category", values=("true", "false")),
    number("age", "int", -12, 130, states=("null",), atoms=(999,)),
    number("price", "decimal(9,2)", 5, 12_345, scale=2),
    number("share", "double", 0, 45, scale=4, states=("null", "nan")),
    number("opened", "date", *DAYS),
    number("seen", "timestamp_ntz", SECONDS, SECONDS + 86_400 * 40, step=1_000_000),
    number("code", "string", 0, 60, text="integer", texts=("N/A",)),
    ColumnCodec("score", "double", "number", bin_start=(0, 2), low=(0.0, 1.5, 2.25), high=(1.5, 2.25, 9.0), domain="float"),
    ColumnCodec(
        "mail", "string", "key", states=("present", "null"), recipe={"kind": "integers", "room": 10_000, "sign": 1, "start": 0}
    ),
    ColumnCodec("note", "string", "text"),
)
SCHEMA = pa.schema(
    [
        ("topic", pa.string()),
        ('a "flag"', pa.bool_()),
        ("age", pa.int32()),
        ("price", pa.decimal128(9, 2)),
        ("share", pa.float64()),
        ("opened", pa.date32()),
        ("seen", pa.timestamp("us")),
        ("code", pa.string()),
        ("score", pa.float64()),
        ("mail", pa.string()),
        ("note", pa.string()),
    ]
)
NOTE = len(COLUMNS) - 1


def script_of(format_: str) -> RowScript:
    tokenizer: Any = Prosaic(frozenset(WORDS), 3)
    text = (Text(NOTE, BOUND, BOUND, True),)
    return RowScript(Codec(COLUMNS, SCHEMA), text, tokenizer, False, format_, "One row:", 400, "", "")


SCRIPTS = {name: script_of(name) for name in ("json", "csv")}


@pytest.fixture(params=list(SCRIPTS))
def script(request: Any) -> RowScript:
    return SCRIPTS[request.param]


def row_text(script: RowScript, tokens: npt.NDArray[Any], order: tuple[int, ...] | None = None) -> bytes:
    order = script.columns if order is None else order
    cells = [
        script.key(c, at == 0) + script.cell(c, tokens[script.places(c)], at + 1 == len(order)) for at, c in enumerate(order)
    ]
    return b"".join(cells)


values = st.fixed_dictionaries(
    {
        "topic": st.sampled_from([*TOPICS, None]),
        'a "flag"': st.booleans(),
        "age": st.one_of(st.none(), st.integers(-12, 130), st.just(999)),
        "price": st.integers(5, 12_345).map(lambda n: Decimal(n).scaleb(-2)),
        "share": st.one_of(st.none(), st.integers(0, 45).map(lambda n: n / 10_000)),
        "opened": st.dates(FIRST, LAST),
        "seen": st.integers(0, 86_400 * 40).map(lambda n: dt.datetime(1970, 1, 1) + dt.timedelta(seconds=SECONDS + n)),
        "code": st.one_of(st.integers(0, 60).map(str), st.just("N/A")),
        "score": st.floats(0, 9),
        "mail": st.one_of(st.none(), st.just("x")),
        "note": st.one_of(st.none(), st.lists(st.sampled_from(PLAIN), max_size=5).map(" ".join)),
    }
)


@settings(max_examples=20, deadline=None)
@given(st.lists(values, min_size=1, max_size=3), st.sampled_from(list(SCRIPTS)))
def test_rows_are_told_and_read(rows: list[dict[str, Any]], format_: str) -> None:
    script = SCRIPTS[format_]
    tokens = script.encode(pa.RecordBatch.from_pylist(rows, SCHEMA))
    for row, own in zip(rows, tokens, strict=True):
        text = row_text(script, own)
        for column in script.columns:
            cell = script.cell(column, own[script.places(column)], False)
            assert (script.read(column, cell) == own[script.places(column)]).all()
            assert len(cell) <= script.longest(column)
            automaton = script.automata.get(column, of_words(np.zeros((1, 1)), 1))
            assert script.spelling(column, automaton, False).accepts(cell), cell
        if format_ == "json":
            found = json.loads(text)
            assert list(found) == list(SCHEMA.names)
            assert found["age"] == row["age"] and found["topic"] == row["topic"] and found['a "flag"'] == row['a "flag"']
            assert found["share"] == row["share"] and Decimal(str(found["price"])) == row["price"]
            assert found["opened"] == str(row["opened"]) and found["seen"] == str(row["seen"]) and found["code"] == row["code"]
            assert found["mail"] == (True if row["mail"] else None) and found["note"] == row["note"]
        else:
            [found] = list(csv.reader(io.StringIO(text.decode(), newline=""), strict=True))
            assert len(found) == len(COLUMNS) and found[0] == (row["topic"] or "")
            assert found[2] == ("" if row["age"] is None else str(row["age"])) and Decimal(found[3]) == row["price"]


def test_a_row_in_another_order() -> None:
    script = SCRIPTS["json"]
    row = {"topic": "card", "age": 40, "opened": FIRST, "code": "7", "price": Decimal("1.20"), "score": 1.0}
    [tokens] = script.encode(pa.RecordBatch.from_pylist([row | {'a "flag"': True, "seen": dt.datetime(2023, 12, 1)}], SCHEMA))
    assert row_text(script, tokens, (2, 0, 5)) == b'{"age": 40, "topic": "card", "opened": "2023-12-30"}'


def test_what_is_rare_is_a_mark_that_is_never_legal(script: RowScript) -> None:
    """A category that is not kept, words of too few people, and their numbers."""
    rows = pa.RecordBatch.from_pylist([{"topic": "a secret", "note": "help my Qwyjibo 8675309, \x1b"}], SCHEMA)
    [tokens] = script.encode(rows)
    cell = script.cell(0, tokens[script.places(0)], False)
    assert MARK.encode() in cell and not script.spelling(0, script.automata[0], False).accepts(cell)
    note = script.cell(NOTE, tokens[script.places(NOTE)], False).decode()
    assert "Qwyjibo" not in note and "8675309" not in note and note.count(MARK) >= 2
    assert not script.spelling(NOTE, script.automata[0], False).accepts(note.encode())


def test_a_long_text_is_cut_between_characters(script: RowScript) -> None:
    rows = pa.RecordBatch.from_pylist([{"note": "ü " * 60}], SCHEMA)
    tokens = script.encode(rows)
    assert script.with_texts(script.codec.decode(tokens[:, : script.layout.closed], *_no_draws(1)), tokens)[
        "note"
    ].to_pylist() == ["ü " * 8]


def _no_draws(rows: int) -> tuple[Any, Any, int]:
    return np.full((rows, len(COLUMNS)), 0.5), np.arange(rows, dtype=np.uint64), 0


def test_the_script_travels_as_json(script: RowScript, tmp_path: Path) -> None:
    script.save(tmp_path)
    again = RowScript.load(tmp_path)
    assert again == script
    assert Script.load(tmp_path).codec == script.codec


@pytest.fixture(scope="module", params=["bytes", "pieces"])
def language_model(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    pytest.importorskip("transformers")
    pytest.importorskip("peft")
    import torch
    from tiny_llm import build_llm

    from twinlake.models.base_model import base_hash, load_base, vocabulary_of

    torch.set_num_threads(1)

    folder = str(build_llm(tmp_path_factory.mktemp("llm") / request.param, request.param))
    return load_base(folder, base_hash(folder)), vocabulary_of(folder)


def sampler_of(language_model: tuple[Any, Any], script: RowScript) -> Any:
    from twinlake.models.llm import LlmSampler

    model, vocabulary = language_model
    return LlmSampler(script, vocabulary, model, vocabulary.prompt(script.prompt), 32)


def uniforms(sampler: Any, rows: int, seed: int = 1) -> npt.NDArray[np.float32]:
    return generator(seed).random((sampler.numbers, rows), dtype=np.float32)


def test_every_row_is_valid(language_model: tuple[Any, Any], script: RowScript) -> None:
    sampler = sampler_of(language_model, script)
    tokens = sampler.draw_rows(uniforms(sampler, 48))
    for column, automaton in script.automata.items():
        assert automaton.run(tokens[:, script.places(column)]).all(), column
    rows = script.decode(tokens, *_no_draws(48)).to_pylist()
    for row, own in zip(rows, tokens, strict=True):
        assert row["topic"] in (*TOPICS, None) and FIRST <= row["opened"] <= LAST
        assert row["age"] is None or -12 <= row["age"] <= 130 or row["age"] == 999
        assert Decimal("0.05") <= row["price"] <= Decimal("123.45") and (row["code"] == "N/A" or 0 <= int(row["code"]) <= 60)
        assert row["note"] is None or (len(row["note"].encode()) <= BOUND and MARK not in row["note"])
        if script.format == "json":
            assert set(json.loads(row_text(script, own))) == set(SCHEMA.names)
        else:
            assert len(next(csv.reader(io.StringIO(row_text(script, own).decode(), newline="")))) == len(COLUMNS)
    assert len({str(r) for r in rows}) == 48 and any(r["note"] for r in rows)
    plain = replace(script, texts=(Text(NOTE, BOUND, BOUND, False),))
    told = script.decode(sampler_of(language_model, plain).draw_rows(uniforms(sampler, 40)), *_no_draws(40))
    assert told["note"].null_count == 0
    assert (sampler.draw_rows(uniforms(sampler, 20), style=Style(0.5, 0.9))[:, 0] < script.codec.sizes[0] - 1).all()


def test_rows_do_not_depend_on_their_neighbours(language_model: tuple[Any, Any], script: RowScript) -> None:
    sampler = sampler_of(language_model, script)
    drawn = uniforms(sampler, 70)
    whole = sampler.draw_rows(drawn)
    some = np.array([0, 1, 31, 32, 69])
    assert (sampler.draw_rows(drawn[:, some]) == whole[some]).all()
    assert (sampler.draw_rows(drawn[:, ::-1])[::-1] == whole).all()


def test_conditions_are_met(language_model: tuple[Any, Any], script: RowScript) -> None:
    sampler = sampler_of(language_model, script)
    age, price = COLUMNS[2], COLUMNS[3]
    forty, cheap = of_words(encode_column(age, pa.array([40], pa.int32())), 10), legal_cells(price, [(100, 110)], ())
    assert cheap is not None
    rows = script.decode(sampler.draw_rows(uniforms(sampler, 40), {3: Allowed([cheap]), 2: Allowed([forty])}), *_no_draws(40))
    assert set(rows["age"].to_pylist()) == {40}
    assert all(Decimal("1.00") <= p <= Decimal("1.10") for p in rows["price"].to_pylist())
    groups = np.arange(40) % 2
    halves = Allowed([of_words(np.array([[0]]), len(TOPICS) + 2), of_words(np.array([[3]]), len(TOPICS) + 2)], groups)
    rows = script.decode(sampler.draw_rows(uniforms(sampler, 40), {0: halves}), *_no_draws(40))
    assert rows["topic"].to_pylist() == [TOPICS[0], TOPICS[3]] * 20


def test_known_cells_stay_and_are_seen(language_model: tuple[Any, Any], script: RowScript) -> None:
    sampler = sampler_of(language_model, script)
    drawn = uniforms(sampler, 60)
    seeds = script.encode(pa.RecordBatch.from_pylist([{"topic": "card", "age": 7 + i % 5} for i in range(60)], SCHEMA))
    mask = np.zeros((60, script.layout.closed), np.bool_)
    mask[::3, script.places(0)] = True
    mask[1::3, script.places(2)] = True
    out = sampler.draw_rows(drawn, None, Known(seeds, mask))
    assert (out[::3, script.places(0)] == seeds[::3, script.places(0)]).all()
    assert (out[1::3, script.places(2)] == seeds[1::3, script.places(2)]).all()
    assert (out[2::3] == sampler.draw_rows(drawn)[2::3]).all()
    everything = np.ones(mask.shape, np.bool_)
    rows = sampler.draw_rows(drawn, None, Known(seeds, everything), nulls=False)
    assert (rows[:, : script.layout.closed] == seeds[:, : script.layout.closed]).all()


def test_the_cache_changes_nothing(language_model: tuple[Any, Any]) -> None:
    """Token by token, with rows of different lengths, against whole sequences."""
    import torch

    from twinlake.models.llm import RowCache, feed

    model, _ = language_model
    draw = generator(4)
    rows = [draw.integers(3, 300, n).tolist() for n in (9, 4, 7)]
    cache = RowCache(3, [])
    with torch.inference_mode():
        feed(model, cache, [r[:2] for r in rows])
        feed(model, cache, [r[2:3] for r in rows])
        logits = feed(model, cache, [r[3:] for r in rows])
        for row, own in zip(rows, logits, strict=True):
            torch.testing.assert_close(own, model(input_ids=torch.tensor([row])).logits[0, -1], atol=1e-4, rtol=1e-4)


def test_frequencies_are_those_of_the_model(language_model: tuple[Any, Any]) -> None:
    """The first token of the first cell against the softmax over the legal ones."""
    import torch

    script = replace(SCRIPTS["json"], codec=Codec(COLUMNS[:2], pa.schema(list(SCHEMA)[:2])), texts=(), tokenizer=None)
    sampler = sampler_of(language_model, script)
    rows = sampler.draw_rows(uniforms(sampler, 600), {0: Allowed([of_words(np.array([[0], [7]]), 9)])})
    ids = [*sampler.prompt, *sampler.vocabulary.encode(b'{"topic":')]
    spelling = script.spelling(0, of_words(np.array([[0], [7]]), 9), False)
    share = 0.0
    with torch.inference_mode():  # all ways to spell each of both cells
        stack = [(ids, spelling.start, 1.0, b"")]
        while stack:
            before, state, weight, text = stack.pop()
            if text:
                share += weight * (text == b" null,") if state == 0 else 0.0
            if state == 0 or weight < 1e-4:
                continue
            choices = sampler.vocabulary.choices(spelling, state)
            chances = sampler.model(input_ids=torch.tensor([before])).logits[0, -1][choices.ids].softmax(0).tolist()
            for token, after, chance in zip(choices.ids.tolist(), choices.states.tolist(), chances, strict=True):
                stack.append(([*before, token], after, weight * chance, text + sampler.vocabulary.tokens[token]))
    assert (rows[:, 0] == 7).mean() == pytest.approx(share, abs=4 * 0.5 / 600**0.5)


def test_training_sees_what_drawing_sees(language_model: tuple[Any, Any]) -> None:
    """The loss of a row is that of its cells' tokens, and only the adapter has gradients."""
    import torch

    from twinlake.models.base_model import with_adapter
    from twinlake.models.llm_shards import FORCED, PAD, row_tokens
    from twinlake.train.llm import AdaptedNetwork, LlmLearner
    from twinlake.train.loop import Place

    model, vocabulary = language_model
    script = SCRIPTS["json"]
    rows = [{"topic": "card", "age": 40, "note": "help me"}, {"topic": None, "age": 7}]
    told = row_tokens(script, vocabulary, pa.RecordBatch.from_pylist(rows, SCHEMA))
    shard = np.full((2, max(map(len, told)) + 3), PAD, np.uint32)
    for own, ids in zip(shard, told, strict=True):
        own[: len(ids)] = ids
    prompt = vocabulary.prompt("One row:")
    network = AdaptedNetwork(with_adapter(copy.deepcopy(model), 4, 8, 5), prompt)
    assert all(".lora_" in name.replace("/", ".") for name, _ in network.named_parameters())
    parts = list(LlmLearner(network, 1).checks(shard, 0, Place(0, 1, torch.device("cpu"))))
    losses = torch.cat([network(*part) for part in parts])
    wanted = []
    for ids in told:
        plain = [*prompt, *(ids & ~FORCED).astype(int).tolist()]
        assert b"".join(vocabulary.tokens[i] for i in plain[len(prompt) :]).startswith(b'{"topic": ')
        with torch.no_grad():
            logp = model(input_ids=torch.tensor([plain])).logits[0].log_softmax(1)  # the adapter does nothing yet
        at = [len(prompt) + i for i in np.flatnonzero((ids & FORCED) == 0)]
        wanted.append(-sum(float(logp[i - 1, plain[i]]) for i in at))
    assert sorted(losses.tolist()) == pytest.approx(sorted(wanted), abs=1e-2)
    losses.sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_the_extra_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from twinlake.core.errors import ConfigError
    from twinlake.models.base_model import check_base

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "peft" else found(name, *more))
    with pytest.raises(ConfigError, match=r"twinlake\[llm\]"):
        check_base("/anywhere")
