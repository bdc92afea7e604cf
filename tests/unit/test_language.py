"""The language network and its sampler: the loss against a plain calculation, and rows that keep what they must."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from twinlake.core.seeds import generator
from twinlake.models.automaton import of_sets, of_words
from twinlake.models.cores import LanguageSettings, steps_of
from twinlake.models.language import LanguageNetwork
from twinlake.models.layout import Layout, sequences
from twinlake.models.sampler import Known, Style
from twinlake.models.tokenizer import END, NULL
from twinlake.models.writing import Allowed, LanguageSampler

SIZES = (3, 4, 10, 10)
SLOTS = ((0,), (1, 2, 3), ())
TEXT = 6
PIECES = 9
LAYOUT = Layout(SIZES, SLOTS, (0, 2, 3), ((2, TEXT),), PIECES)  # place 1, a sign, is forced
SETTINGS = {
    "lstm": LanguageSettings("lstm", 32, 24, 2, 0.0),
    "transformer": LanguageSettings("transformer", 64, 0, 2, 0.0),
}
WORDS = np.array([[0, a, b] for a in range(3) for b in range(10)])


@pytest.fixture(params=list(SETTINGS))
def settings(request: Any) -> LanguageSettings:
    return SETTINGS[request.param]


def network_of(settings: LanguageSettings, layout: Layout = LAYOUT) -> LanguageNetwork:
    draw = generator(8)
    shares = [draw.normal(0, 1, size).astype(np.float32) for size in layout.sizes]
    shares += [draw.normal(0, 1, layout.pieces).astype(np.float32)] if layout.texts else []
    return LanguageNetwork(layout, settings, shares, 5)


def sampler_of(network: LanguageNetwork, **more: Any) -> LanguageSampler:
    weights = {n: p.detach() for n, p in network.named_parameters()}
    automata = {0: of_sets(np.array([True, True, False])), 1: of_words(WORDS, 10)}
    drawable = np.ones(network.layout.pieces, np.bool_)
    drawable[2] = False
    return LanguageSampler(
        network.layout, network.settings, weights, automata, drawable, more.pop("nulls", frozenset({2})), **more
    )


def uniforms(rows: int, seed: int = 1) -> npt.NDArray[np.float32]:
    return generator(seed).random((LAYOUT.places, rows), dtype=np.float32)


def test_sequences_by_hand() -> None:
    tokens = np.zeros((3, LAYOUT.places), np.uint16)
    tokens[0, 4:] = [5, 6, END, END, END, END]
    tokens[1, 4:] = [NULL, END, END, END, END, END]
    tokens[2, 4:] = [5] * 6
    order, lengths = sequences(LAYOUT, tokens, None)
    assert lengths.tolist() == [6, 4, 9]
    assert order[0].tolist() == [0, 2, 3, 4, 5, 6, 0, 0, 0]
    assert order[1, :4].tolist() == [0, 2, 3, 4]
    assert order[2].tolist() == [0, 2, 3, 4, 5, 6, 7, 8, 9]
    order, lengths = sequences(LAYOUT, tokens, np.array([[0.9, 0.5, 0.1]] * 3))
    assert lengths.tolist() == [6, 4, 9]
    assert order[0, :6].tolist() == [4, 5, 6, 2, 3, 0]
    assert order[2].tolist() == [4, 5, 6, 7, 8, 9, 2, 3, 0]


def test_layout_ids_do_not_overlap() -> None:
    assert LAYOUT.offsets.tolist() == [0, 3, 7, 17, *[27] * TEXT] and LAYOUT.ids == 36
    assert len(set(LAYOUT.where[:4])) == 4 and LAYOUT.where[4:].min() >= 4 and LAYOUT.where.max() < LAYOUT.kinds
    wide = replace(LAYOUT, texts=((2, 300), (5, 40)))
    assert wide.where.max() < wide.kinds and not set(wide.where[4:304]) & set(wide.where[304:])


def test_the_loss_is_the_sum_of_the_steps(settings: LanguageSettings) -> None:
    """What training sees in whole sequences, and what drawing sees step by step, are the same probabilities."""
    network = network_of(settings)
    tokens = sampler_of(network).draw_rows(uniforms(40))
    tokens[0, 4:] = [NULL, 0, 0, 0, 0, 0]
    keys = generator(2).random((40, 3))
    order, lengths = sequences(LAYOUT, tokens, keys)
    whole = [torch.from_numpy(a.astype(np.int64)) for a in (tokens, order, lengths)]
    with torch.no_grad():
        losses = network(*whole, None, None)
    weights = {n: p.detach() for n, p in network.named_parameters()}
    core = {n.removeprefix("core."): w for n, w in weights.items() if n.startswith("core.")}
    head = weights["embed"] @ weights["out"]
    for row in range(40):
        steps = steps_of(settings, core, 1, int(lengths[row]))
        before, memory, loss = LAYOUT.ids, torch.zeros(settings.embedding_dim), 0.0
        for place in order[row, : lengths[row]]:
            x = weights["embed"][before] + weights["place"][LAYOUT.where[place]] + memory
            h = steps.step(x[None, :], None)[0]
            start = int(LAYOUT.offsets[place])
            ids = slice(start, start + (SIZES[place] if place < 4 else PIECES))
            logits = head[ids] @ h + weights["bias"][ids]
            token = int(tokens[row, place])
            loss -= float(logits.log_softmax(0)[token])
            before = start + token
            if place < 4:
                memory = memory + weights["memory"][before]
        assert float(losses[row]) == pytest.approx(loss, abs=2e-4)


def test_every_row_is_legal(settings: LanguageSettings) -> None:
    sampler = sampler_of(network_of(settings))
    tokens = sampler.draw_rows(uniforms(2_000))
    assert sampler.automata[0].run(tokens[:, :1]).all() and sampler.automata[1].run(tokens[:, 1:4]).all()
    texts = tokens[:, 4:].astype(int)
    assert not (texts == 2).any() and not (texts[:, 1:] == NULL).any() and (texts[:, 0] == NULL).any()
    ended = np.cumsum(texts <= NULL, axis=1)
    assert (texts[:, 1:][ended[:, :-1] > 0] == 0).all()  # nothing is told behind the end
    assert not (sampler_of(network_of(settings), nulls=frozenset()).draw_rows(uniforms(2_000))[:, 4] == NULL).any()


def test_what_comes_before_the_texts_does_not_depend_on_them(settings: LanguageSettings) -> None:
    network = network_of(settings)
    whole, alone = (sampler_of(network, texts=texts).draw_rows(uniforms(2_000)) for texts in (True, False))
    assert (alone[:, :4] == whole[:, :4]).all() and whole[:, 4:].any() and not alone[:, 4:].any()


def test_rows_do_not_depend_on_their_neighbours(settings: LanguageSettings) -> None:
    sampler, drawn = sampler_of(network_of(settings)), uniforms(3_000)
    whole = sampler.draw_rows(drawn)
    some = np.array([0, 1, 130, 1_023, 1_024, 2_999])
    assert (sampler.draw_rows(drawn[:, some]) == whole[some]).all()
    assert (sampler.draw_rows(drawn[:, ::-1])[::-1] == whole).all()


def test_the_frequencies_are_those_of_the_network(settings: LanguageSettings) -> None:
    """The first column against its softmax without the value that is never drawn."""
    network = network_of(settings)
    tokens = sampler_of(network).draw_rows(uniforms(10_000))
    order = torch.tensor([[0]])
    rows = torch.tensor([[v, 0, 0, 0, *[0] * TEXT] for v in range(3)])
    with torch.no_grad():
        losses = network(rows, order.expand(3, -1), torch.ones(3, dtype=torch.int64), None, None).numpy()
    wanted = np.exp(losses.min() - losses[:2])
    share = (tokens[:, 0] == 1).mean()
    assert share == pytest.approx(wanted[1] / wanted.sum(), abs=4 * 0.5 / 100)


def test_conditions_are_met_and_inform_the_rest(settings: LanguageSettings) -> None:
    sampler = sampler_of(network_of(settings))
    wanted = {1: Allowed([of_words(np.array([[0, 2, 7]]), 10)])}
    tokens = sampler.draw_rows(uniforms(4_000), wanted)
    assert (tokens[:, 1:4] == [0, 2, 7]).all()
    groups = np.arange(4_000) % 2
    halves = Allowed([of_sets(np.array([True, False, False])), of_sets(np.array([False, True, False]))], groups)
    assert (sampler.draw_rows(uniforms(4_000), {0: halves})[:, 0] == groups).all()


def test_known_cells_stay_and_are_seen(settings: LanguageSettings) -> None:
    """Rows with different known columns in one call; each as if all rows knew the same."""
    sampler, drawn = sampler_of(network_of(settings)), uniforms(600)
    tokens, mask = np.zeros((600, 4), np.uint16), np.zeros((600, 4), np.bool_)
    tokens[:, 0], tokens[:, 1:] = 1, [0, 1, 4]
    mask[::3, 0], mask[1::3, 1:] = True, True
    out = sampler.draw_rows(drawn, None, Known(tokens, mask))
    assert (out[::3, 0] == 1).all() and (out[1::3, 1:4] == [0, 1, 4]).all()
    assert (out[2::3] == sampler.draw_rows(drawn)[2::3]).all()
    mask[:, 0], mask[:, 1:] = True, False
    assert (out[::3] == sampler.draw_rows(drawn, None, Known(tokens, mask))[::3]).all()


def test_texts_follow_from_what_is_given(settings: LanguageSettings) -> None:
    layout = replace(LAYOUT, given=True)
    sampler, drawn = sampler_of(network_of(settings, layout)), uniforms(800)
    tokens = np.stack([generator(3).integers(0, size, 800) for size in SIZES], axis=1).astype(np.uint16)
    every = np.ones(tokens.shape, np.bool_)
    out = sampler.draw_rows(drawn, None, Known(tokens, every))
    assert (out[:, :4] == tokens).all()
    other = tokens.copy()
    other[:400, 0] = (other[:400, 0] + 1) % 3
    again = sampler.draw_rows(drawn, None, Known(other, every))
    changed = (again[:, 4:] != out[:, 4:]).any(axis=1)
    assert changed[:400].any() and not changed[400:].any()


def test_guided_texts_follow_the_formula(settings: LanguageSettings) -> None:
    """l + g (l - l0) step by step, l0 of a row of which nothing is known; NULL and END are as likely as without guidance."""
    layout = replace(LAYOUT, given=True)
    network, rows, strength = network_of(settings, layout), 48, 1.5
    sampler, drawn = sampler_of(network), uniforms(rows)
    tokens = np.stack([generator(3).integers(0, size, rows) for size in SIZES], axis=1).astype(np.uint16)
    known = Known(tokens, np.ones(tokens.shape, np.bool_))
    out = sampler.draw_rows(drawn, None, known, Style(guidance=strength))
    order = torch.arange(4, 4 + TEXT)[None, :]
    pieces = torch.arange(PIECES)

    def logits(row: int, seen: bool, length: int) -> torch.Tensor:
        """Of the step behind `length` pieces, from losses of every piece that could come."""
        whole = torch.from_numpy(np.repeat(out[row : row + 1].astype(np.int64), PIECES, axis=0))
        whole[:, 4 + length] = pieces
        mask = torch.full((PIECES, 4), seen)
        with torch.no_grad():
            longer, shorter = (
                network(whole, order.expand(PIECES, -1), torch.full((PIECES,), n), mask, None) for n in (length + 1, length)
            )
        return shorter - longer

    for row in range(rows):
        for at in range(TEXT):
            learned, nothing = logits(row, True, at), logits(row, False, at)
            guided = learned + strength * (learned - nothing)
            allowed = ((pieces != 2) & ((pieces != NULL) | (at == 0))).float()
            plain = (learned.exp() * allowed) / (learned.exp() * allowed).sum()
            marks = (pieces == NULL) | (pieces == END)
            words = guided.exp() * allowed * ~marks
            chance = torch.where(marks, plain, words / words.sum() * (1 - plain[marks].sum()))
            ends = chance.cumsum(0)
            token, u = int(out[row, 4 + at]), float(drawn[4 + at, row])
            assert float(ends[token]) + 1e-4 >= u >= float(ends[token] - chance[token]) - 1e-4
            if token in (NULL, END):
                break
    assert (out[:, 4:] != sampler.draw_rows(drawn, None, known, Style(guidance=0.0))[:, 4:]).any()


def test_style_makes_texts_likelier(settings: LanguageSettings) -> None:
    sampler = sampler_of(network_of(settings))
    plain, bold = (sampler.draw_rows(uniforms(3_000), style=Style(t))[:, 4:] for t in (1.0, 0.3))
    assert np.bincount(bold[:, 0]).max() > np.bincount(plain[:, 0]).max()
