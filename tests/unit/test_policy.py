"""Policies: what is read, and what is refused with which words."""

from __future__ import annotations

from typing import Any

import pytest

from twinlake.classify.entities import ENTITIES
from twinlake.core.errors import PolicyError
from twinlake.transform.policy import (
    SHIPPED,
    Rule,
    Target,
    check_policy,
    load_policy,
    policy_text,
    read_policy,
    shipped_text,
)
from twinlake.transform.transforms import Inner

KNOWN = {*ENTITIES, "NATIONAL_ID", "TAX_ID", "EMAIL_ADDRESS", "CITY"}


def test_a_rule_reads_into_selector_transform_and_parameters() -> None:
    policy = read_policy(
        """
rules:
  - entity: [EMAIL_ADDRESS, UUID]
    transform: hash
    length: 32
  - pattern: ".*_raw"
    transform: drop
    optional: true
"""
    )
    assert policy.rules == (
        Rule("entity", ("EMAIL_ADDRESS", "UUID"), "hash", {"length": 32}),
        Rule("pattern", (".*_raw",), "drop", {}, optional=True),
    )


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_policies_are_loaded_by_name_and_name_known_entities_only(name: str) -> None:
    policy = load_policy(name)
    assert policy_text(name) == shipped_text(name)
    strict = [Rule(**{**vars(rule), "optional": False}) for rule in policy.rules if rule.selector == "entity"]
    targets = [Target(entity, entity) for entity in sorted(KNOWN)]
    for rule in strict:
        check_policy(type(policy)((rule,)), targets, KNOWN)


def test_without_a_policy_the_default_one_is_used() -> None:
    assert load_policy(None).rules == load_policy("default").rules


@pytest.mark.parametrize(("name", "unruled"), [("gdpr", set()), ("hipaa_safe_harbor", {"SEXUALITY", "POLITICAL_VIEW"})])
def test_the_policies_by_law_name_every_entity_but_those_left_to_be_redacted(name: str, unruled: set[str]) -> None:
    rules = load_policy(name).rules
    assert {e for e in ENTITIES if not any(rule.selects(Target("c", e)) for rule in rules)} == unruled


SAFE_HARBOR = {
    "names": ["PERSON", "FIRST_NAME", "LAST_NAME"],
    "places below a state": ["STREET_ADDRESS", "CITY", "COUNTY", "COORDINATES", "LATITUDE", "LONGITUDE"],
    "telephone": ["PHONE_NUMBER"],
    "fax": ["FAX_NUMBER"],
    "e-mail": ["EMAIL_ADDRESS"],
    "social security": ["US_SSN"],
    "medical record": ["MEDICAL_RECORD_NUMBER"],
    "health plan": ["HEALTH_PLAN_NUMBER", "US_MBI"],
    "account": ["BANK_ACCOUNT", "IBAN_CODE", "CREDIT_CARD"],
    "license": ["DRIVER_LICENSE", "LICENSE_NUMBER", "PASSPORT"],
    "vehicle": ["VIN", "LICENSE_PLATE"],
    "device": ["DEVICE_ID", "IMEI", "MAC_ADDRESS"],
    "url": ["URL"],
    "ip": ["IP_ADDRESS"],
    "biometric": ["BIOMETRIC_ID"],
    "any other number": ["CUSTOMER_ID", "USER_ID", "UUID"],
}


@pytest.mark.parametrize("entity", [entity for group in SAFE_HARBOR.values() for entity in group])
def test_safe_harbor_removes_each_identifier_of_the_rule(entity: str) -> None:
    """45 CFR 164.514(b)(2)(i) (A) to (R), but for dates and ZIP codes, which become coarse."""
    rule = next(r for r in load_policy("hipaa_safe_harbor").rules if r.selects(Target("c", entity, type="string")))
    assert {step.transform for step in rule.chain} == {"redact"}


def test_a_general_entity_and_a_group_mean_their_cases() -> None:
    general, group = (Rule("entity", (value,), "redact") for value in ("NATIONAL_ID", "vehicle/*"))
    assert [general.selects(Target("c", e)) for e in ("US_SSN", "PL_PESEL", "NATIONAL_ID", "VIN", None)] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert [group.selects(Target("c", e)) for e in ("VIN", "LICENSE_PLATE", "US_SSN")] == [True, True, False]


@pytest.mark.parametrize(
    ("rule", "target", "selected"),
    [
        (("type", "date"), Target("c", type="date"), True),
        (("type", "decimal"), Target("c", type="decimal(10,2)"), True),
        (("type", "decimal(10,2)"), Target("c", type="decimal(38,2)"), False),
        (("type", "number"), Target("c", type="bigint"), True),
        (("type", "nested"), Target("c", type="array<string>"), True),
        (("type", "number"), Target("c", type="string"), False),
        (("tag", "pii"), Target("c", tags=("pii", "x")), True),
        (("tag", "pii"), Target("c"), False),
        (("path", "c.a[].b"), Target("c", path=".a[].b"), True),
        (("path", "c.a"), Target("c"), False),
        (("column", "c"), Target("c", path=".a"), False),
        (("pattern", "c.*"), Target("c1"), True),
        (("kind", "text"), Target("c", "PERSON", "text"), False),
    ],
)
def test_selectors(rule: tuple[Any, str], target: Target, selected: bool) -> None:
    assert Rule(rule[0], (rule[1],), "redact").selects(target) is selected


def test_a_list_of_transforms_is_a_chain_and_shares_parameters() -> None:
    [rule] = load_policy(
        {"rules": [{"column": "a", "transform": ["fake", {"transform": "hash", "length": 32}, "redact"], "domain": "d"}]}
    ).rules
    assert rule.chain == (
        Inner("", "fake", {"domain": "d"}),
        Inner("", "hash", {"domain": "d", "length": 32}),
        Inner("", "redact", {}),
    )


def test_tags_of_a_policy_are_by_column() -> None:
    policy = load_policy({"tags": {"secret": ["pay", "notes"], "x": ["pay"]}, "rules": []})
    assert policy.tags == {"pay": ("secret", "x"), "notes": ("secret",)}


TABLE = [
    Target("email", None, "category", "string"),
    Target("notes", None, "text", "string"),
    Target("notes", "EMAIL_ADDRESS", "leaf", path=".email"),
]


def test_inline_rules_read_like_a_file() -> None:
    assert load_policy({"rules": [{"column": "a", "transform": "keep"}]}).rules == (Rule("column", ("a",), "keep"),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rule: []", "unknown key 'rule' (did you mean 'rules'?)"),
        ("rules: {}", "must be a list"),
        ("rules: [keep]", "rule 1 (line 1): must be a mapping"),
        ("rules: [{transform: keep}]", "exactly one of entity, column, pattern, type, path, tag, kind; got none"),
        ("rules: [{entty: A, transform: keep}]", "did you mean 'entity'?"),
        ("rules: [{entity: A, column: b, transform: keep}]", "got entity and column"),
        ("rules: [{column: a}]", "unknown transform 'None'"),
        ("rules: [{column: a, transform: fke}]", "did you mean 'fake'?"),
        ("rules: [{column: a, transform: keep, optional: maybe}]", "optional must be true or false"),
        ("rules: [{column: a, transform: hash, lenght: 32}]", "did you mean 'length'?"),
        ("rules: [{column: a, transform: hash, length: 8}]", "hash.length must be a number from 16 to 64, got 8"),
        ("rules: [{column: a, transform: hash, length: yes}]", "hash.length must be a whole number, got True (bool)"),
        ("rules: [{column: a, transform: redact, char: xx}]", "redact.char must be a length from 1 to 1, got 2"),
        ("rules: [{column: a, transform: redact, with: lable}]", "did you mean 'label'?"),
        ("rules: [{column: a, transform: encrypt, cipher: ff3-1}]", "NIST SP 800-38G r1"),
        ("rules: [{entity: [], transform: keep}]", "entity must be text or a list of texts"),
        ("rules: [{entity: [A, A], transform: keep}]", "stands twice"),
        ("rules: [{kind: number, transform: keep}]", "kind must be text, got 'number'"),
        ("rules: [{pattern: '(', transform: keep}]", "is no regular expression"),
        (
            "rules: [{column: a, transform: keep}, {column: a, transform: drop}]",
            "stands in policy, rule 1 (line 1) already",
        ),
        (
            "rules: [{entity: [A, B], transform: keep}, {entity: [C, B], transform: drop}]",
            "entity B stands in policy, rule 1",
        ),
        ("rules: [{pattern: '.*', transform: keep}, {entity: A, transform: drop}]", "is never reached"),
        ("rules: []\nrules: []", "line 2: duplicate key rules"),
        ("", "the file is empty"),
        ("tags: [a]\nrules: []", "tags must map a tag to a list of columns"),
        ("rules: [{column: a, transform: []}]", "transform is an empty list"),
        (
            "rules: [{column: a, transform: [hash, redact], lenght: 3}]",
            "no transform of the list has a parameter 'lenght'",
        ),
        ("rules: [{column: a, transform: [hash, {transform: rdact}]}]", "did you mean 'redact'?"),
        ("rules: [{column: a, transform: encrypt, cipher: ff3}]", "NIST SP 800-38G r1"),
        ("rules: [{column: a, transform: redact, keep_last: 4}]", "with: characters"),
        ("rules: [{column: a, transform: date_shift}]", "give `within`, or `min` and `max`"),
        ("rules: [{column: a, transform: date_shift, min: 3}]", "min and max belong together"),
        ("rules: [{column: a, transform: number_shift, by: 3, per: b}]", "per don't go with it"),
        ("rules: [{column: a, transform: noise}]", "give `scale` or `percent`"),
        ("rules: [{column: a, transform: noise, scale: .inf}]", "must be a finite number"),
        ("rules: [{column: a, transform: bucket, edges: [3, 2]}]", "edges must rise"),
        (
            "rules: [{column: a, transform: bucket, edges: [1, 2, 3], labels: [x]}]",
            "3 edges make 2 ranges, got 1 labels",
        ),
        ("rules: [{column: a, transform: round}]", "`to` is missing"),
        ("rules: [{column: a, transform: clip, top: 1, bottom: 2}]", "bottom must be below top"),
        ("rules: [{column: a, transform: generalize, to: zip5}]", "did you mean 'zip3'?"),
        ("rules: [{column: a, transform: generalize, to: month, degrees: 1}]", "degrees goes with `to: grid` only"),
        ("rules: [{column: a, transform: when, condition: x}]", "then and otherwise missing"),
        ("rules: [{column: a, transform: when, condition: x, then: drop, otherwise: keep}]", "can't stand inside"),
        ("rules: [{column: a, transform: when, condition: x, then: hsh, otherwise: keep}]", "did you mean 'hash'?"),
        ("rules: [{column: a, transform: combine}]", "`of` must list the columns"),
        ("rules: [{column: a, transform: sql}]", "`expression` is missing"),
        (
            "rules: [{column: a, transform: spans, entities: {PERSON: {transform: hash, length: 3}}}]",
            "from 16 to 64, got 3",
        ),
        ("rules: [{column: a, transform: paths}]", "`paths` is missing"),
        ("rules: [{column: a, transform: paths, paths: {.x: drop}}]", "can't work on a leaf"),
    ],
)
def test_wrong_policies_are_refused(text: str, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        read_policy(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([{"column": "emial", "transform": "keep"}], "no column 'emial' (did you mean 'email'?)"),
        ([{"pattern": "x_.*", "transform": "keep"}], "matches no column"),
        ([{"entity": "EMAIL_ADRESS", "transform": "keep"}], "did you mean 'EMAIL_ADDRESS'"),
        ([{"entity": "vehicles/*", "transform": "keep"}], "did you mean 'vehicle'?"),
        ([{"entity": "CITY", "transform": "keep"}], "no column is labelled CITY"),
        ([{"tag": "secret", "transform": "keep"}], "no column is tagged secret"),
        ([{"type": "date", "transform": "keep"}], "no column is of type date"),
        ([{"path": "notes.emial", "transform": "keep"}], "no leaf 'notes.emial' (did you mean 'notes.email'?)"),
        (
            [
                {"column": "email", "transform": "keep"},
                {"type": "string", "transform": "drop"},
                {"column": ["email", "notes"], "transform": "drop"},
            ],
            "stands in",
        ),
        (
            [{"pattern": "e.*", "transform": "keep"}, {"column": "email", "transform": "drop"}],
            "column 'email' is never reached",
        ),
        (
            [{"pattern": "[en].*", "transform": "keep"}, {"kind": "text", "transform": "drop"}],
            "kind 'text' is never reached",
        ),
    ],
)
def test_rules_that_do_not_fit_the_table_are_refused(rules: list[dict[str, str]], message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        check_policy(load_policy({"rules": rules}), TABLE, KNOWN)
    assert message in str(caught.value)


def test_optional_rules_may_match_nothing() -> None:
    rules = [
        {"column": "gone", "transform": "keep", "optional": True},
        {"pattern": "x_.*", "transform": "keep", "optional": True},
    ]
    check_policy(load_policy({"rules": rules}), TABLE, KNOWN)
    plain = [{key: value for key, value in rule.items() if key != "optional"} for rule in rules]
    check_policy(load_policy({"optional": True, "rules": plain}), TABLE, KNOWN)


def test_a_misspelled_ready_policy_is_named_with_the_nearest() -> None:
    with pytest.raises(PolicyError, match=r"did you mean 'gdpr'.*one of default, gdpr, hipaa_safe_harbor, pci"):
        load_policy("gpdr")


def test_a_missing_policy_file_is_named() -> None:
    with pytest.raises(PolicyError, match="no-such-policy"):
        load_policy("no-such-policy.yaml")
