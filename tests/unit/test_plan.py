"""Plans: the decision for each column, the file that people edit, and what is refused in it."""

from __future__ import annotations

from typing import Any

import pytest

from twinlake.classify.labels import ColumnLabel, Labels
from twinlake.core.errors import PolicyError
from twinlake.profile.types import ColumnProfile, Profile
from twinlake.transform.plan import Plan, make_plan
from twinlake.transform.policy import load_policy

COLUMNS = [
    ("customer_id", "bigint", False, "key", None),
    ("email", "string", True, "key", "EMAIL_ADDRESS"),
    ("phone", "bigint", True, "number", "PHONE_NUMBER"),
    ("iban", "bigint", True, "number", "IBAN_CODE"),
    ("state", "string", True, "category", "US_STATE"),
    ("badge", "string", True, "text", "BADGE_NUMBER"),
    ("amount", "decimal(10,2)", True, "number", None),
    ("notes", "string", True, "text", None),
    ("gone", "string", True, "empty", None),
    ("blob", "binary", True, "opaque", None),
    ("tags", "array<string>", False, "opaque", None),
]


def profile(*columns: tuple[Any, ...], distinct: int = 5000) -> Profile:
    return Profile(
        9000,
        10,
        tuple(ColumnProfile(n, t, nullable, kind, 9000, distinct=distinct) for n, t, nullable, kind, _ in columns),
    )


def labels(*columns: tuple[Any, ...]) -> Labels:
    return Labels(tuple(ColumnLabel(n, t, entity, 1.0 if entity else 0.0) for n, t, _, _, entity in columns), 9000)


def plan_of(*columns: tuple[Any, ...], rules: list[dict[str, Any]] | None = None, distinct: int = 5000) -> Plan:
    policy = load_policy(None if rules is None else {"rules": rules})
    return make_plan(profile(*columns, distinct=distinct), labels(*columns), policy)


def test_each_kind_of_column_gets_its_transform_and_synthesis() -> None:
    plan = plan_of(*COLUMNS)
    assert {c.name: (c.transform, c.output_type, c.synthesis) for c in plan.columns} == {
        "customer_id": ("keep", "bigint", "key"),
        "email": ("fake", "string", "surrogate"),
        "phone": ("fake", "bigint", "surrogate"),
        "iban": ("redact", "bigint", "null"),  # an IBAN starts with letters
        "state": ("keep", "string", "model"),
        "badge": ("redact", "string", "constant"),  # a label without a rule
        "amount": ("keep", "decimal(10,2)", "model"),
        "notes": ("spans", "string", "text"),
        "gone": ("keep", "string", "null"),
        "blob": ("redact", "binary", "null"),
        "tags": ("drop", "array<string>", "none"),
    }
    assert "surrogates are no values of type bigint" in plan["iban"].reason
    assert "no rule in the policy" in plan["badge"].reason
    assert plan["badge"].constant == "<BADGE_NUMBER>"
    assert plan["email"].parameters == {"domain": "EMAIL_ADDRESS"}
    assert plan.key_names() == ("pseudonyms",)


@pytest.mark.parametrize(
    ("rule", "kind", "synthesis"),
    [
        ({"transform": "hash"}, "key", "key"),
        ({"transform": "encrypt"}, "key", "key"),
        ({"transform": "hash"}, "category", "model"),
        ({"transform": "hash"}, "number", "format"),
        ({"transform": "redact", "with": "characters"}, "category", "format"),
        ({"transform": "redact", "with": "constant", "value": "-"}, "text", "constant"),
        ({"transform": "keep"}, "constant", "model"),
        ({"transform": "keep"}, "text", "text"),
        ({"transform": "hash"}, "text", "format"),
        ({"transform": "encrypt"}, "text", "format"),
    ],
)
def test_synthesis_follows_transform_and_kind(rule: dict[str, Any], kind: str, synthesis: str) -> None:
    column = ("a", "string", True, kind, None)
    assert plan_of(column, rules=[{"column": "a", **rule}])["a"].synthesis == synthesis


def test_text_that_contains_personal_data_is_redacted_unless_a_rule_says_otherwise() -> None:
    column = ("notes", "string", True, "text", None)
    found = Labels((ColumnLabel("notes", "string", contains={"EMAIL_ADDRESS": 0.01}),), 9000)
    default = make_plan(profile(column), found, load_policy(None))["notes"]  # what is found goes, the rest of the text stays
    assert (default.transform, default.parameters["default"], default.synthesis) == ("spans", "redact", "text")
    plan = make_plan(profile(column), found, load_policy({"rules": []}))
    assert (plan["notes"].transform, "contains EMAIL_ADDRESS" in plan["notes"].reason) == ("redact", True)
    kept = make_plan(profile(column), found, load_policy({"rules": [{"kind": "text", "transform": "keep"}]}))
    assert kept["notes"].transform == "keep"


def test_a_title_or_a_country_inside_text_does_not_redact_a_column() -> None:
    column = ("education", "string", True, "category", None)
    found = Labels((ColumnLabel("education", "string", contains={"TITLE": 0.01, "COUNTRY": 0.2}),), 9000)
    assert make_plan(profile(column), found, load_policy(None))["education"].transform == "keep"


def test_kind_text_never_catches_a_labelled_column() -> None:
    columns = [("notes", "string", True, "text", None), ("email", "string", True, "text", "EMAIL_ADDRESS")]
    plan = plan_of(*columns, rules=[{"kind": "text", "transform": "keep"}])
    assert (plan["notes"].transform, plan["email"].transform) == ("keep", "redact")


def test_a_redacted_column_without_nulls_becomes_its_types_zero() -> None:
    plan = plan_of(("n", "int", False, "number", "US_SSN"), rules=[])
    assert (plan["n"].transform, plan["n"].synthesis, plan["n"].constant) == ("redact", "constant", "0")


@pytest.mark.parametrize(
    ("column", "rule", "distinct", "message"),
    [
        (("a", "string", True, "text", None), {"column": "a", "transform": "fake"}, 500, "needs `as: ENTITY`"),
        (
            ("a", "string", True, "text", None),
            {"column": "a", "transform": "fake", "as": "CITTY"},
            500,
            "did you mean 'CITY'?",
        ),
        (
            ("a", "binary", True, "opaque", None),
            {"column": "a", "transform": "hash"},
            500,
            "can't work on column 'a' of type binary",
        ),
        (
            ("a", "string", True, "key", "CITY"),
            {"entity": "CITY", "transform": "fake"},
            5000,
            "add allow_collisions: true",
        ),
        (
            ("a", "string", True, "category", "CITY"),
            {"entity": "CITY", "transform": "encrypt"},
            49,
            "allow_low_cardinality: true",
        ),
        (("a", "string", True, "category", None), {"column": "a", "transform": "drop"}, 5, "drops every column"),
    ],
)
def test_rules_that_can_not_work_are_refused(
    column: tuple[Any, ...], rule: dict[str, Any], distinct: int, message: str
) -> None:
    with pytest.raises(PolicyError) as caught:
        plan_of(column, rules=[rule], distinct=distinct)
    assert message in str(caught.value)


def test_telling_frequencies_are_said_in_the_plan() -> None:
    plan = plan_of(("a", "string", True, "category", "CITY"), rules=[{"entity": "CITY", "transform": "encrypt"}], distinct=400)
    assert "warning: 400 different values" in plan["a"].reason


HOSTILE = [
    "a.b",
    "tick`s",
    "1e6",
    "010",
    "12:30:45",
    "yes",
    "null",
    "- x",
    "#c",
    "a: b",
    "\u202egnp",
    "tab\there",
    "emoji 🦆",
    " lead",
    "{{x}}",
    "~",
    "=1",
    "'q\"",
]


def test_a_plan_survives_its_file() -> None:
    plan = plan_of(*COLUMNS, *[(name, "string", True, "category", None) for name in HOSTILE])
    text = plan.to_yaml()
    assert Plan.from_yaml(text, table=[(c.name, c.type) for c in plan.columns]) == plan
    assert Plan.from_yaml(text).to_yaml() == text


def test_one_changed_decision_is_one_changed_place_in_the_file() -> None:
    before = plan_of(*COLUMNS).to_yaml().splitlines()
    after = plan_of(*COLUMNS, rules=None).to_yaml().splitlines()
    assert before == after
    assert sum(line.startswith("- name:") for line in before) == len(COLUMNS)


def test_an_edited_transform_gets_its_type_and_synthesis() -> None:
    text = plan_of(("id", "bigint", True, "number", None)).to_yaml()
    edited = (
        text.replace("transform: keep", "transform: hash")
        .replace("  output_type: bigint\n", "")
        .replace("  synthesis: model\n", "")
    )
    column = Plan.from_yaml(edited)["id"]
    assert (column.transform, column.output_type, column.synthesis) == ("hash", "string", "model")


EMAIL = ("email", "string", True, "key", "EMAIL_ADDRESS")
AGE = ("age", "int", True, "number", None)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("transform: fake", "transform: fkae", "unknown transform 'fkae' (did you mean 'fake'?)"),
        ("transform: fake", "transform: hash", "synthesis of hash must be"),
        ("domain: EMAIL", "domian: EMAIL", "unknown parameter 'domian' of fake (did you mean 'domain'?)"),
        ("  output_type: int", "  output_type: string", "output_type of keep is int"),
        ("  synthesis: model", "  synthesis: constant", "or remove the line"),
        ("  transform: keep\n", "", "`transform` is missing"),
        ("  transform: keep", "  transfrom: keep", "unknown key 'transfrom' (did you mean 'transform'?)"),
        ("nullable: true", "nullable: sometimes", "nullable must be true or false"),
        ("- name: age", "- name: aeg", "did you mean 'age'?"),
        ("- name: age", "- name: email", "stands twice"),
        ("type: int", "type: bigint", "age is bigint in the plan and int in the table"),
        ("format: 1", "format: 0", "make the plan again"),
        ("columns:", "colums:", "unknown key 'colums'"),
    ],
)
def test_wrong_edits_are_refused(old: str, new: str, message: str) -> None:
    text = plan_of(EMAIL, AGE).to_yaml()
    assert old in text
    with pytest.raises(PolicyError) as caught:
        Plan.from_yaml(text.replace(old, new), table=[("email", "string"), ("age", "int")])
    assert message in str(caught.value)


def test_missing_and_extra_columns_are_shown() -> None:
    text = plan_of(EMAIL, AGE).to_yaml()
    with pytest.raises(PolicyError, match="city is in the table and not in the plan"):
        Plan.from_yaml(text, table=[("email", "string"), ("age", "int"), ("city", "string")])
    with pytest.raises(PolicyError, match="age is in the plan and not in the table"):
        Plan.from_yaml(text, table=[("email", "string")])
    with pytest.raises(PolicyError, match="transform: drop"):
        Plan.from_yaml(text[: text.index("- name: age")])


def test_the_notebook_table_is_inert() -> None:
    html = plan_of(("<script>", "string", True, "category", None))._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
