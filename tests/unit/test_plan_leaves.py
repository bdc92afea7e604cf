"""Plans of nested and JSON columns, fallback chains, tags, and the diff of a dry run."""

from __future__ import annotations

from typing import Any

import pytest

from twinlake.classify.labels import ColumnLabel, Labels, PathLabel
from twinlake.core.errors import PolicyError
from twinlake.profile.types import ColumnProfile, Profile
from twinlake.transform.decide import leaf_types
from twinlake.transform.plan import Plan, make_plan, plan_diff, tags_of
from twinlake.transform.policy import load_policy

STRUCT = "struct<email:string,age:int,orders:array<struct<note:string,sum:decimal(10,2)>>>"


def plan_of(
    labels: list[ColumnLabel],
    rules: list[dict[str, Any]],
    kinds: dict[str, str] | None = None,
    tags: dict[str, list[str]] | None = None,
    **policy: Any,
) -> Plan:
    kind_of = kinds or {}
    profile = Profile(
        9000,
        10,
        tuple(ColumnProfile(c.name, c.type, True, kind_of.get(c.name, "opaque"), 9000, distinct=5000) for c in labels),
    )
    made = make_plan(profile, Labels(tuple(labels), 9000), load_policy({"rules": rules, **policy}), tags=tags)
    assert Plan.from_yaml(made.to_yaml()) == made
    return made


NESTED = ColumnLabel(
    "s",
    STRUCT,
    sampled=9000,
    non_null=9000,
    paths=(
        PathLabel(".email", "EMAIL_ADDRESS", 1.0),
        PathLabel(".orders[].note", contains={"PERSON": 0.1}),
        PathLabel(".age", "AGE", 1.0),
    ),
)


def test_leaves_follow_the_rules_of_their_entities_and_close_without_one() -> None:
    plan = plan_of([NESTED], [{"entity": "EMAIL_ADDRESS", "transform": "fake"}])
    assert plan["s"].transform == "paths"
    assert plan["s"].parameters == {
        "paths": {
            ".email": {"transform": "fake", "domain": "EMAIL_ADDRESS", "entity": "EMAIL_ADDRESS"},
            ".orders[].note": {"transform": "redact"},
            ".age": {"transform": "redact", "entity": "AGE"},
        }
    }
    assert plan.key_names() == ("pseudonyms",)


def test_a_leafs_transform_must_give_its_own_type() -> None:
    rules = [{"entity": "AGE", "transform": [{"transform": "bucket", "width": 10}, {"transform": "clip", "top": 90}]}]
    plan = plan_of([NESTED], [*rules, {"entity": "EMAIL_ADDRESS", "transform": "hash"}])
    assert plan["s"].parameters["paths"][".age"] == {"transform": "clip", "top": 90, "entity": "AGE"}


def test_a_path_rule_reaches_a_leaf_without_a_label_and_a_column_rule_takes_all() -> None:
    rules = [{"path": "s.orders[].sum", "transform": "redact"}, {"entity": ["EMAIL_ADDRESS", "AGE"], "transform": "redact"}]
    plan = plan_of([NESTED], rules)
    assert plan["s"].parameters["paths"][".orders[].sum"] == {"transform": "redact"}
    whole = plan_of([NESTED, ColumnLabel("n", "int")], [{"column": "s", "transform": "drop"}], {"n": "number"})
    assert whole["s"].transform == "drop"


def test_json_text_is_planned_by_path_and_not_as_free_text() -> None:
    label = ColumnLabel("j", "string", sampled=9000, non_null=9000, paths=(PathLabel(".mail", "EMAIL_ADDRESS", 1.0),))
    other = ColumnLabel("t", "string", sampled=9000, non_null=9000)
    rules = [{"kind": "text", "transform": "spans"}, {"entity": "EMAIL_ADDRESS", "transform": "hash"}]
    plan = plan_of([label, other], rules, {"j": "text", "t": "text"})
    assert (plan["j"].transform, plan["t"].transform) == ("paths", "spans")


def test_a_nested_column_that_was_looked_into_stays_and_one_that_was_not_closes() -> None:
    seen = ColumnLabel("a", "array<string>", sampled=9000, non_null=9000)
    unseen = ColumnLabel("b", "array<string>", evidence={"not_looked_into": {"nested_or_binary": True}})
    plan = plan_of([seen, unseen], [])
    assert (plan["a"].transform, plan["b"].transform) == ("keep", "redact")
    assert (plan["a"].synthesis, plan["b"].synthesis) == ("model", "null")
    assert plan["a"].reason.endswith("modelled by its leaves") and plan["a"].leaves == {}


def test_a_leaf_is_made_as_its_transform_asks() -> None:
    """Fakes are drawn, not modelled; all other leaves are as their values are. A map has no leaves to model."""
    found = (PathLabel(".email", "EMAIL_ADDRESS", 1.0), PathLabel(".orders[].note", "PHONE_NUMBER", 1.0))
    label = ColumnLabel("s", STRUCT, sampled=9000, non_null=9000, paths=found)
    map_ = ColumnLabel("m", "map<string,string>", sampled=9000, non_null=9000)
    rules = [{"entity": "EMAIL_ADDRESS", "transform": "fake"}, {"entity": "PHONE_NUMBER", "transform": "hash"}]
    plan = plan_of([label, map_], rules)
    assert plan["s"].synthesis == "model" and plan["m"].synthesis == "null"
    assert plan["s"].leaves == {
        ".email": {"synthesis": "surrogate", "entity": "EMAIL_ADDRESS"},
        ".orders[].note": {"synthesis": "leaf", "entity": "PHONE_NUMBER"},
    }


@pytest.mark.parametrize(
    ("column_type", "chain", "expected"),
    [
        ("string", ["fake", "hash"], 0),
        ("bigint", ["fake", "hash"], 1),  # an IBAN starts with letters
        ("bigint", [{"transform": "generalize", "to": "month"}, "redact"], 1),
        ("date", [{"transform": "generalize", "to": "month"}, "redact"], 0),
        ("double", [{"transform": "encrypt", "cipher": "ff1"}, "encrypt"], 1),
    ],
)
def test_the_first_transform_of_a_chain_that_works_is_taken(column_type: str, chain: list[Any], expected: int) -> None:
    label = ColumnLabel("a", column_type, "IBAN_CODE", 1.0)
    plan = plan_of([label], [{"entity": "IBAN_CODE", "transform": chain}], {"a": "number"})
    assert plan["a"].transform == (chain[expected] if isinstance(chain[expected], str) else chain[expected]["transform"])
    assert ("can't work here" in plan["a"].reason) == (expected == 1)


def test_tags_come_from_the_policy_the_caller_and_the_columns_metadata() -> None:
    columns = [ColumnLabel("pay", "int"), ColumnLabel("id", "int")]
    kinds = {"pay": "number", "id": "number"}
    rule = [{"tag": "secret", "transform": "redact"}]
    assert plan_of(columns, rule, kinds, tags={"pay": ["secret"]})["pay"].transform == "redact"
    made = make_plan(
        Profile(9000, 10, tuple(ColumnProfile(c.name, c.type, True, "number", 9000, distinct=50) for c in columns)),
        Labels(tuple(columns), 9000),
        load_policy({"tags": {"secret": ["id"]}, "rules": rule}),
    )
    assert (made["pay"].transform, made["id"].transform) == ("keep", "redact")
    metadata: dict[str, dict[str, Any]] = {"a": {"tags": ["x"]}, "b": {"tags": {"y": "1"}}, "c": {"comment": "z"}}
    assert tags_of(metadata) == {"a": ("x",), "b": ("y",)}


def test_a_column_that_a_rule_looks_at_must_be_there() -> None:
    rules = [{"column": "day", "transform": "date_shift", "per": "persn", "within": 3}]
    with pytest.raises(PolicyError, match=r"looks at column 'persn', which the table has not \(did you mean 'person'\?\)"):
        plan_of([ColumnLabel("day", "date"), ColumnLabel("person", "int")], rules, {"day": "datetime", "person": "key"})


def test_the_diff_names_what_changes_and_escapes_names() -> None:
    columns = [ColumnLabel("a", "string"), ColumnLabel("b\n2026-01-01 ERROR fake", "int")]
    kinds = {"a": "category", columns[1].name: "number"}
    old = plan_of(columns, [{"column": "a", "transform": "redact"}], kinds)
    new = plan_of(columns, [{"column": "a", "transform": "hash"}], kinds)
    first = plan_diff(None, old).splitlines()
    assert first[:4] == ["--- the table as it is", "+++ policy", "- a: string, keep", "+ a: string, redact"]
    lines = plan_diff(old, new).splitlines()
    assert lines[2:4] == ["- a: string, redact", '+ a: string, hash {"domain": "a"}']
    assert lines[-1] == "  b\\n2026-01-01 ERROR fake: int, keep"
    assert not [line for line in lines if line.startswith("2026")]


def test_leaves_of_a_type() -> None:
    assert list(leaf_types("map<string,array<struct<a:int,b:decimal(10,2)>>>")) == [
        ("{keys}", "string"),
        ("{values}[].a", "int"),
        ("{values}[].b", "decimal(10,2)"),
    ]
