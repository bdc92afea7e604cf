"""Policies: what is read, and what is refused with which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from twinlake.classify.detectors import DETECTORS
from twinlake.core.errors import PolicyError
from twinlake.transform.policy import Rule, check_policy, default_policy_text, load_policy, read_policy

CONF = Path(__file__).parents[2] / "conf" / "policies"


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


def test_the_built_in_policy_is_the_one_in_conf() -> None:
    assert default_policy_text() == (CONF / "default.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["default", "strict", "reversible"])
def test_shipped_policies_name_known_entities_only(name: str) -> None:
    check_policy(load_policy(CONF / f"{name}.yaml"), ["a"], DETECTORS)


def test_every_entity_has_a_rule_in_the_built_in_policy() -> None:
    ruled = {entity for rule in load_policy(None).rules for entity in rule.values}
    assert ruled == set(DETECTORS)


def test_inline_rules_read_like_a_file() -> None:
    assert load_policy({"rules": [{"column": "a", "transform": "keep"}]}).rules == (Rule("column", ("a",), "keep"),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rule: []", "unknown key 'rule' (did you mean 'rules'?)"),
        ("rules: {}", "must be a list"),
        ("rules: [keep]", "rule 1 (line 1): must be a mapping"),
        ("rules: [{transform: keep}]", "exactly one of entity, column, pattern, kind; got none"),
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
        ([{"entity": "EMAIL_ADRESS", "transform": "keep"}], "did you mean 'EMAIL_ADDRESS' or"),
        (
            [{"pattern": "e.*", "transform": "keep"}, {"column": "email", "transform": "drop"}],
            "column 'email' is never reached",
        ),
        (
            [{"pattern": "[en].*", "transform": "keep"}, {"kind": "text", "transform": "drop"}],
            "kind text is never reached",
        ),
    ],
)
def test_rules_that_do_not_fit_the_table_are_refused(rules: list[dict[str, str]], message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        check_policy(load_policy({"rules": rules}), ["email", "notes"], DETECTORS)
    assert message in str(caught.value)


def test_optional_rules_may_match_nothing() -> None:
    rules = [
        {"column": "gone", "transform": "keep", "optional": True},
        {"pattern": "x_.*", "transform": "keep", "optional": True},
    ]
    check_policy(load_policy({"rules": rules}), ["email"], DETECTORS)


def test_a_missing_policy_file_is_named() -> None:
    with pytest.raises(PolicyError, match="no-such-policy"):
        load_policy("no-such-policy.yaml")
