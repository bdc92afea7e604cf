"""Codecs from noisy counts: cells, thresholds, public values; what the config refuses beside a budget."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from twinlake.core.config import load_config, parse_config
from twinlake.core.errors import ConfigError
from twinlake.core.privacy_config import PrivacyConfig
from twinlake.models.codec import decode_column, encode_column
from twinlake.profile.statistics import Column
from twinlake.train.accounting import Release, spent
from twinlake.train.ledger import Budget
from twinlake.train.private_cells import category, finished, number_domain, public_cells, refined, shares_of, threshold
from twinlake.train.private_codec import OF_DELTA, PREPARATION, _Columns, preparation_sigma, unlearned


def column(type_: str, nullable: bool = True, name: str = "x", **extra: Any) -> Column:
    return Column(name, type_, nullable, extra)


def counted(codec: Any, values: pa.Array) -> np.ndarray[Any, Any]:
    return np.bincount(encode_column(codec, values)[:, 0], minlength=codec.sizes[0]).astype(np.float64)


NUMBERS = [
    ("int", None, [-(2**31), -5, -1, 0, 1, 7, 8, 2**31 - 1]),
    ("bigint", None, [-(2**61), -1, 0, 3, 10**12]),
    ("tinyint", None, [-127, -1, 0, 1, 127]),
    ("double", 2, [-3.25, 0.0, 0.01, 19.99]),
    ("double", None, [-1e-3, 0.0, 1e-12, 3.7e8]),
    ("decimal(7,2)", None, ["-3.25", "0.00", "0.01", "19.99"]),
]


@pytest.mark.parametrize(("type_", "decimals", "values"), NUMBERS)
def test_public_cells_hold_every_number_of_the_type(type_: str, decimals: int | None, values: list[Any]) -> None:
    kinds = {"int": pa.int32(), "bigint": pa.int64(), "tinyint": pa.int8(), "double": pa.float64()}
    domain = number_domain(column(type_), decimals)
    assert domain is not None
    codec = public_cells(domain, None)
    array = pa.array(values, pa.string()).cast(pa.decimal128(7, 2)) if "decimal" in type_ else pa.array(values, kinds[type_])
    tokens = encode_column(codec, array)
    assert (tokens[:, 0] < codec.sizes[0] - 1).all()
    back = decode_column(codec, tokens, np.zeros(len(values)), np.arange(len(values), dtype=np.uint64), 1, array.type)
    low = np.array([float(v) for v in back.to_pylist()])
    exact = np.array([float(v) for v in array.to_pylist()])
    near = 2 * np.abs(exact) + 2.0**-29
    assert (np.abs(low - exact)[exact > -(2**31)] <= near[exact > -(2**31)]).all()  # a cell reaches to twice its start


def test_two_rounds_find_where_numbers_lie() -> None:
    values = pa.array(np.random.Generator(np.random.PCG64(3)).normal(40, 10, 50_000).round().astype(np.int32))
    domain = number_domain(column("int", nullable=False), None)
    assert domain is not None
    first = public_cells(domain, None)
    second = refined(first, counted(first, values), 20.0, 20.0, [40.0])
    assert second.low[0] == 1 or second.low[0] >= 2  # not far below zero
    codec, shares = finished(second, counted(second, values), 20.0, 10)
    assert codec.atoms == (40,) and shares.sum() == pytest.approx(1.0)
    assert len(codec.low) > 15 and codec.low[0] >= 0 and codec.high[-1] <= 127
    tokens = encode_column(codec, values)
    seen = np.bincount(tokens[:, 0], minlength=codec.sizes[0]) / len(values)
    assert np.abs(seen - shares).sum() < 0.02
    uniform = np.random.Generator(np.random.PCG64(4)).random(len(values))
    back = decode_column(codec, tokens, uniform, np.arange(len(values), dtype=np.uint64), 1, pa.int32()).to_numpy()
    assert back.mean() == pytest.approx(40, abs=0.3) and back.std() == pytest.approx(10, abs=0.5)


def test_noise_alone_gives_a_codec_that_works() -> None:
    for type_ in ("int", "double", "date", "timestamp"):
        domain = number_domain(column(type_), None)
        assert domain is not None
        first = public_cells(domain, None)
        noise = np.zeros(first.sizes[0])
        second = refined(first, noise, 20.0, 20.0, [])
        codec, shares = finished(second, np.zeros(second.sizes[0]), 20.0, 10)
        assert codec.sizes[0] == len(shares) >= 2


def test_an_outlier_moves_no_cell() -> None:
    """The ends are public powers of two, and one row is less than the noise."""
    values = [30] * 5_000 + [33] * 5_000
    made = []
    for last in (33, 2**30):
        domain = number_domain(column("int", nullable=False), None)
        assert domain is not None
        first = public_cells(domain, None)
        array = pa.array([*values, last], pa.int32())
        second = refined(first, counted(first, array), 20.0, 20.0, [])
        made.append(finished(second, counted(second, array), 20.0, 10)[0])
    assert (made[0].low, made[0].high, made[0].states) == (made[1].low, made[1].high, made[1].states)


def test_declared_limits_are_the_ends() -> None:
    domain = number_domain(column("double"), 1)
    assert domain is not None
    codec = public_cells(domain, (-2.0, 10.5))
    assert codec.low[0] == -20 and codec.high[-1] == 105
    whole = number_domain(column("int"), None)
    assert whole is not None
    assert public_cells(whole, (0, 3)).low == (0, 1, 2, 3) == public_cells(whole, (0, 3)).high


def test_a_value_of_one_person_hardly_ever_passes() -> None:
    least = threshold(25.0, 2, 10, 1e-6)
    assert 10 * stats.norm.sf((least - 2) / 25.0) == pytest.approx(1e-6, rel=1e-3)


def test_categories_are_in_order_of_noisy_counts() -> None:
    domain = unlearned(column("string", synthesis="model"))
    codec, shares = category(domain, {"b": 60.0, "a": 80.0, "c": -3.0}, 0.0, 200, 40.0)
    assert codec.method == "format" and shares_of(np.array([-1.0, 0.0])).tolist() == [0.5, 0.5]
    own = _Columns((column("string"),), {}, PrivacyConfig()).codecs[0]
    codec, shares = category(own, {"b": 60.0, "a": 80.0}, 45.0, 200, 40.0)
    assert codec.values == ("a", "b") and codec.states == ("null",)
    assert shares == pytest.approx(np.array([80, 60, 45, 15]) / 200)
    assert category(own, {"b": 60.0, "a": 80.0}, 30.0, 200, 40.0)[0].states == ()


def test_the_preparation_has_its_share_of_the_precision() -> None:
    budget = Budget(1.0, 1e-6, "row", 1, 10_000)
    sigma = preparation_sigma(budget) * PREPARATION**0.5
    assert 0.99 < spent([Release("whole", sigma, delta=OF_DELTA * 1e-6)], 1e-6) <= 1.0


def test_nested_columns_and_unknown_names_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"can't be learned within a budget; leave it out by source\.columns"):
        _Columns((column("array<int>"),), {}, PrivacyConfig())
    told = PrivacyConfig(epsilon=1, unit="row", public={"agee": {"min": 0, "max": 9}})
    with pytest.raises(ConfigError, match=r"no column 'agee' .did you mean 'age'"):
        _Columns((column("int", name="age"),), {}, told)


def test_declared_values_need_no_threshold() -> None:
    told = PrivacyConfig(epsilon=1, unit="row", public={"x": ["a", True, 3]})
    own = _Columns((column("string"), column("boolean", name="y")), {}, told)
    assert own.known == {0: ["a", "true", "3"], 1: ["false", "true"]} and own.categories == [0, 1]


# -- config ------------------------------------------------------------------------------------------------------------

BUDGET: dict[str, Any] = {"epsilon": 1, "unit": "row"}
REFUSED = [
    ({"privacy": {"epsilon": 1}}, r"privacy: epsilon needs privacy\.unit"),
    ({"privacy": {"epsilon": 0, "unit": "row"}}, r"privacy\.epsilon: must be greater than 0"),
    ({"privacy": {"epsilon": True, "unit": "row"}}, r"privacy\.epsilon: must be a number"),
    ({"privacy": {**BUDGET, "delta": 1}}, r"privacy\.delta: must be less than 1"),
    ({"privacy": {**BUDGET, "delta": "none"}}, r"privacy\.delta: must be a valid number or 'auto'"),
    ({"privacy": {**BUDGET, "max_rows_per_unit": 3}}, r"max_rows_per_unit must be 1 where unit is row"),
    ({"privacy": {"delta": 1e-5}}, r"delta says nothing without privacy\.epsilon"),
    ({"privacy": {"public": {"x": ["a"]}}}, r"public says nothing without privacy\.epsilon"),
    ({"privacy": {**BUDGET, "public": {"x": []}}}, r"privacy\.public.*x: must be a list of values"),
    ({"privacy": {**BUDGET, "public": {"x": {"min": 3, "max": 1}}}}, r"min must be below max"),
    ({"privacy": {**BUDGET, "seed": 1}}, r"unknown key privacy\.seed"),
    (
        {"privacy": BUDGET, "model": {"family": "llm", "llm": {"path": "llm"}}},
        r"family: llm can't be used with privacy\.epsilon: use tabular, marginal or language",
    ),
    ({"privacy": BUDGET, "model": {"start_from": "runs/x"}}, r"start_from can't be used"),
    ({"privacy": BUDGET, "train": {"loss_limits": [[0.5, 3.0]]}}, r"loss_limits can't be used"),
    ({"privacy": BUDGET, "generate": {"replace_copies": True}}, r"replace_copies: true can't be used"),
    ({"privacy": BUDGET, "generate": {"augment": True}}, r"augment can't be used"),
    ({"privacy": BUDGET, "generate": {"balance": "sex"}}, r"balance can't be used"),
]


@pytest.mark.parametrize(("values", "message"), REFUSED)
def test_what_reads_private_rows_without_accounting_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config(values)


def test_a_budget_as_it_is_written() -> None:
    config = load_config(overrides=["privacy.epsilon=3", "privacy.unit=customer", "privacy.public={age: {min: 0, max: 120}}"])
    assert config.privacy.rows_per_unit == 4 and config.privacy.person == "customer"
    row = load_config(overrides=["privacy.epsilon=0.5", "privacy.unit=row"]).privacy
    assert (row.rows_per_unit, row.person, row.delta) == (1, None, "auto")
