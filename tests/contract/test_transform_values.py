"""What each transform writes, worked out by hand or from published documents, never from our own output."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from stdnum import iban as iban_check
from stdnum import luhn

from twinlake.core.errors import DataError, PolicyError
from twinlake.core.keys import Keyring, make_key
from twinlake.transform.transforms import TRANSFORMS, Context
from twinlake.transform.transforms.ff1 import FF1
from twinlake.transform.transforms.generalize import SPARSE_2000
from twinlake.transform.transforms.locales import first_names, gender_lists
from twinlake.transform.transforms.values import arrow_type

KEYS = Keyring((make_key("pseudonyms", bytes(range(32))), make_key("older", bytes(range(1, 33)))))


def apply(
    name: str,
    values: list[Any],
    parameters: dict[str, Any],
    spark_type: str = "string",
    entity: str | None = None,
    kind: pa.DataType | None = None,
    **others: list[Any],
) -> list[Any]:
    transform = TRANSFORMS[name]
    near = {column: pa.array(cells) for column, cells in others.items()}
    context = Context("c", spark_type, entity=entity, others=near)
    out = transform.apply(pa.array(values, kind or arrow_type(spark_type)), transform.check(parameters, "t"), KEYS, context)
    return out.to_pylist()  # type: ignore[no-any-return]


# ---- FF1: the nine samples of NIST (csrc.nist.gov, "FF1samples.pdf" to SP 800-38G)

AES = "2B7E151628AED2A6ABF7158809CF4F3C" + "EF4359D8D580AA4F" + "7F036D6F04FC6A94"
LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"
SAMPLES = [
    (16, 10, "", "0123456789", "2433477484"),
    (16, 10, "39383736353433323130", "0123456789", "6124200773"),
    (16, 36, "3737373770717273373737", "0123456789abcdefghi", "a9tv40mll9kdu509eum"),
    (24, 10, "", "0123456789", "2830668132"),
    (24, 10, "39383736353433323130", "0123456789", "2496655549"),
    (24, 36, "3737373770717273373737", "0123456789abcdefghi", "xbj3kv35jrawxv32ysr"),
    (32, 10, "", "0123456789", "6657667009"),
    (32, 10, "39383736353433323130", "0123456789", "1001623463"),
    (32, 36, "3737373770717273373737", "0123456789abcdefghi", "xs8a0azh2avyalyzuwd"),
]


@pytest.mark.parametrize(("size", "radix", "tweak", "plain", "hidden"), SAMPLES)
def test_ff1_gives_the_samples_of_nist(size: int, radix: int, tweak: str, plain: str, hidden: str) -> None:
    cipher = FF1(bytes.fromhex(AES)[:size], radix, bytes.fromhex(tweak))
    assert "".join(LETTERS[n] for n in cipher.encrypt([LETTERS.index(c) for c in plain])) == hidden
    assert "".join(LETTERS[n] for n in cipher.decrypt([LETTERS.index(c) for c in hidden])) == plain


@pytest.mark.parametrize("length", [6, 7, 15, 16, 33, 60, 200])
def test_ff1_comes_back_at_every_length(length: int) -> None:
    cipher = FF1(bytes(range(32)), 10, b"tweak of more than sixteen bytes")
    plain = [(7 * place) % 10 for place in range(length)]
    assert cipher.decrypt(cipher.encrypt(plain)) == plain != cipher.encrypt(plain)


def test_ff1_refuses_a_domain_under_a_million() -> None:
    assert FF1(bytes(32), 10).encrypt([1] * 6)
    with pytest.raises(ValueError, match="fewer than 1,000,000"):
        FF1(bytes(32), 10).encrypt([1] * 5)
    with pytest.raises(DataError, match="fewer than 1,000,000") as caught:
        apply("encrypt", ["12-345"], {"cipher": "ff1"})
    assert "345" not in str(caught.value)
    assert apply("encrypt", ["12-345", None, ""], {"cipher": "ff1", "short": "null"}) == [None, None, ""]


@pytest.mark.parametrize("cipher", ["ff3", "ff3-1", "aes-cbc"])
def test_withdrawn_ciphers_are_refused(cipher: str) -> None:
    with pytest.raises(PolicyError, match="withdraws FF3 and FF3-1"):
        TRANSFORMS["encrypt"].check({"cipher": cipher}, "t")


@pytest.mark.parametrize(
    ("values", "parameters", "spark_type"),
    [
        (["4111-1111-1111-1111", None, "", "Kd. 900 800 7"], {}, "string"),
        (["AB12-xy99-Zz00", None], {"alphabet": "letters_digits"}, "string"),
        ([1000000, 2147483647, -2147483647, 1234567], {}, "int"),
        ([9223372036854775807, -1000000, 12345678901], {}, "bigint"),
    ],
)
def test_ff1_keeps_format_and_comes_back(values: list[Any], parameters: dict[str, Any], spark_type: str) -> None:
    parameters = {"cipher": "ff1", **parameters}
    array = pa.array(values, arrow_type(spark_type))
    hidden = TRANSFORMS["encrypt"].apply(array, parameters, KEYS, Context("c", spark_type))
    assert hidden.type == array.type
    for before, after in zip(values, hidden.to_pylist(), strict=True):
        if not before:
            assert after == before
            continue
        assert after != before
        assert [c if not c.isalnum() else "" for c in str(after)] == [c if not c.isalnum() else "" for c in str(before)] or (
            "alphabet" not in parameters
        )
        assert len(str(after)) == len(str(before))
    assert TRANSFORMS["encrypt"].restore is not None
    assert TRANSFORMS["encrypt"].restore(hidden, parameters, KEYS, Context("c", spark_type)).equals(array)


# ---- fakes


@pytest.mark.parametrize(
    ("entity", "value", "shape"),
    [
        ("PHONE_NUMBER", "240-783-7630", "000-000-0000"),
        ("PHONE_NUMBER", "(240) 783.7630", "(000) 000.0000"),
        ("PHONE_NUMBER", "+44 20 7946 0958", "+00 00 0000 0000"),
        ("CREDIT_CARD", "4111 1111 1111 1111", "0000 0000 0000 0000"),
        ("CREDIT_CARD", "378282246310005", "000000000000000"),
        ("US_SSN", "078051120", "000000000"),
        ("US_SSN", "078-05-1120", "000-00-0000"),
        ("POSTAL_CODE", "02139-4307", "00000-0000"),
        ("POSTAL_CODE", "SW1A 1AA", "AA0A 0AA"),
        ("POSTAL_CODE", "k1a 0b1", "a0a 0a0"),
        ("IBAN_CODE", "GB82 WEST 1234 5698 7654 32", "AA00 AAAA 0000 0000 0000 00"),
        ("BIRTH_DATE", "3/8/1971", None),
        ("BIRTH_DATE", "08.03.1971", "00.00.0000"),
        ("BIRTH_DATE", "1971-03-08", "0000-00-00"),
        ("BIRTH_DATE", "19710308", "00000000"),
        ("MAC_ADDRESS", "00-1B-44-11-3A-B7", None),
        ("PERSON", "LEE, ANN", None),
    ],
)
def test_a_fake_is_written_as_the_value_is(entity: str, value: str, shape: str | None) -> None:
    [fake] = apply("fake", [value], {}, entity=entity)
    assert fake != value
    classes = "".join("0" if c.isdigit() else "A" if c.isupper() else "a" if c.islower() else c for c in fake)
    if shape is not None:
        assert classes == shape
    elif entity == "PERSON":
        assert fake == fake.upper() and fake.count(", ") == 1
    elif entity == "MAC_ADDRESS":
        assert fake.count("-") == 5 and fake == fake.upper()
    else:
        month, day, year = fake.split("/")
        assert dt.date(int(year), int(month), int(day)) and not month.startswith("0") and not day.startswith("0")
    assert apply("fake", [value], {"format": "plain"}, entity=entity) == apply(
        "fake", [value], {"format": "plain"}, entity=entity
    )


def test_faked_cards_and_ibans_pass_their_checks_at_every_length() -> None:
    cards = [f"{4 * 10**15 + n * 7_919}" for n in range(300)] + ["378282246310005", "6304000000000000", "4222222222222"]
    assert all(luhn.is_valid(card) for card in apply("fake", cards, {}, entity="CREDIT_CARD"))
    ibans = ["GB82WEST12345698765432", "DE89370400440532013000", "FR1420041010050500013M02606", "NL91ABNA0417164300"]
    for before, after in zip(ibans, apply("fake", ibans, {}, entity="IBAN_CODE"), strict=True):
        assert iban_check.is_valid(after, check_country=False)
        assert (after[:2], len(after)) == (before[:2], len(before))


def test_a_womans_name_stays_a_womans() -> None:
    women, men = gender_lists()
    out = apply("fake", ["Anna Smith", "Dr. Maria Silva", "Smith, Anna", "James Smith", "Smith, Peter"], {}, entity="PERSON")
    first = [name.split(", ")[1] if ", " in name else name.split()[0] for name in out]
    shipped_female = {word.lower() for word in women.to_pylist()}
    shipped_male = {word.lower() for word in men.to_pylist()}
    assert not {name.lower() for name in first[:3]} & shipped_male
    assert not {name.lower() for name in first[3:]} & shipped_female


def test_names_of_a_locale_come_from_its_list() -> None:
    [german] = apply("fake", ["Anna"], {"locale": "de_DE"}, entity="FIRST_NAME")
    assert german in first_names("de_DE")[0]
    with pytest.raises(PolicyError, match="no locale 'xx_XX'"):
        apply("fake", ["Anna"], {"locale": "xx_XX"}, entity="FIRST_NAME")
    with pytest.raises(PolicyError, match="have no locale"):
        apply("fake", ["x"], {"locale": "de_DE"}, entity="URL")


# ---- shifts


def test_a_persons_dates_keep_order_and_gaps_exactly() -> None:
    days = [dt.date(2024, 2, 28), dt.date(2024, 3, 1), None, dt.date(1900, 1, 1), dt.date(2024, 3, 1)]
    people = ["a", "a", "a", "a", "b"]
    out = apply("date_shift", days, {"within": 365, "per": "p"}, "date", p=people)
    by = (out[0] - days[0]).days
    assert 1 <= abs(by) <= 365
    assert [(o - d).days for o, d in zip(out[:4], days[:4], strict=True) if d] == [by] * 3
    assert out[2] is None
    moments = apply(
        "date_shift", [dt.datetime(2024, 2, 28, 23, 59, 59, 1)], {"within": 365, "per": "p"}, "timestamp_ntz", p=["a"]
    )
    assert moments == [dt.datetime(2024, 2, 28, 23, 59, 59, 1) + dt.timedelta(days=by)]


def test_every_shift_of_the_range_occurs_but_none_at_all() -> None:
    people = [f"p{n}" for n in range(2_000)]
    start = dt.date(2000, 1, 1)
    shifts = {(o - start).days for o in apply("date_shift", [start] * 2_000, {"within": 3, "per": "p"}, "date", p=people)}
    assert shifts == {-3, -2, -1, 1, 2, 3}
    out = apply("date_shift", [start] * 2_000, {"min": 2, "max": 5, "per": "p"}, "date", p=people)
    shifts = {(o - start).days for o in out}
    assert shifts == {2, 3, 4, 5}


def test_dates_in_text_keep_their_format_and_what_is_no_date_goes() -> None:
    out = apply("date_shift", ["3/8/1971", "1971-03-08", "08.03.1971 10:30", "Mar 8, 1971", "unknown"], {"min": 1, "max": 2})
    by = (dt.date.fromisoformat(out[1]) - dt.date(1971, 3, 8)).days
    there = dt.date(1971, 3, 8) + dt.timedelta(days=by)
    assert out == [
        f"{there.month}/{there.day}/1971",
        there.isoformat(),
        f"{there.day:02d}.{there.month:02d}.1971 10:30",
        f"{there:%b} {there.day}, 1971",
        None,
    ]


@pytest.mark.parametrize(
    ("values", "by", "spark_type", "expected"),
    [
        ([1, -1, None, 127, 126], 3, "tinyint", [4, 2, None, 124, 123]),
        ([2**63 - 1, 0], 5, "bigint", [2**63 - 6, 5]),
        ([1.5, None], 0.25, "double", [1.75, None]),
        ([Decimal("99.99"), Decimal("1.00")], 0.5, "decimal(4,2)", [Decimal("99.49"), Decimal("1.50")]),
    ],
)
def test_a_fixed_shift_turns_round_at_the_end_of_the_type(
    values: list[Any], by: float, spark_type: str, expected: list[Any]
) -> None:
    assert apply("number_shift", values, {"by": by}, spark_type) == expected


def test_noise_has_the_scale_asked_for_and_is_the_same_for_the_same_value() -> None:
    import statistics

    values = [float(n) for n in range(20_000)]
    for shape in ("normal", "laplace", "uniform"):
        out = apply("noise", values, {"scale": 2, "shape": shape}, "double")
        drawn = [o - v for o, v in zip(out, values, strict=True)]
        assert abs(statistics.fmean(drawn)) < 0.06  # four standard errors of 2 / sqrt(20,000)
        assert abs(statistics.pstdev(drawn) - 2) < 0.1
        assert apply("noise", values[:5], {"scale": 2, "shape": shape}, "double") == out[:5]


# ---- coarser values


@pytest.mark.parametrize(
    ("name", "values", "parameters", "spark_type", "expected"),
    [
        ("bucket", [17, 18, 64, 65, None], {"edges": [18, 65]}, "int", ["< 18", "[18, 65)", "[18, 65)", ">= 65", None]),
        ("bucket", [1.5, 0.5], {"edges": [1, 2], "labels": ["mid"], "below": "low"}, "double", ["mid", "low"]),
        ("bucket", [-1, 0, 9, 10], {"width": 10}, "int", ["[-10, 0)", "[0, 10)", "[0, 10)", "[10, 20)"]),
        ("bucket", [float("nan"), 7.5], {"width": 5, "start": 2.5}, "double", ["NaN", "[7.5, 12.5)"]),
        ("round", [12, 13, -12, -13, None], {"to": 5}, "int", [10, 15, -10, -15, None]),
        ("round", [127, -128, 126], {"to": 10}, "tinyint", [120, -120, 120]),
        ("round", [0.36, 1234.5], {"to": 0.1}, "double", [0.4, 1234.5]),
        ("round", [Decimal("0.05"), Decimal("99.99")], {"to": 0.1}, "decimal(4,2)", [Decimal("0.10"), Decimal("99.90")]),
        ("clip", [89, 90, 104, None], {"top": 90}, "int", [89, 90, 90, None]),
        ("clip", [-5.0, 5.0], {"bottom": 0, "top": 1}, "double", [0.0, 1.0]),
        ("generalize", ["02139", "02139-4307", "021394307", "SW1A 1AA", "1234", None], {"to": "zip3"}, "string",
         ["021", "021", "021", "000", "000", None]),
        ("generalize", [2139, 94103], {"to": "zip3"}, "int", ["021", "941"]),
        ("generalize", [dt.date(2024, 5, 17)], {"to": "month"}, "date", [dt.date(2024, 5, 1)]),
        ("generalize", [dt.date(1, 1, 1)], {"to": "month"}, "date", [dt.date(1, 1, 1)]),
        ("generalize", [dt.date(2024, 5, 17)], {"to": "quarter"}, "date", [dt.date(2024, 4, 1)]),
        ("generalize", [dt.date(2024, 5, 19)], {"to": "week"}, "date", [dt.date(2024, 5, 13)]),
        ("generalize", [dt.datetime(2024, 5, 17, 3)], {"to": "year"}, "timestamp_ntz", [dt.datetime(2024, 1, 1)]),
        ("generalize", ["17.05.2024 08:15", "?"], {"to": "month"}, "string", ["01.05.2024", None]),
        ("generalize", [48.8566, -0.004, 1e9], {"to": "grid", "degrees": 0.01}, "double", [48.85, -0.01, None]),
        ("generalize", ["48.8566", "north"], {"to": "grid", "degrees": 0.5}, "string", ["48.5", None]),
    ],
)  # fmt: skip
def test_coarser_values(name: str, values: list[Any], parameters: dict[str, Any], spark_type: str, expected: list[Any]) -> None:
    assert apply(name, values, parameters, spark_type) == expected


def test_the_seventeen_sparse_prefixes_of_the_rule_become_000() -> None:
    """The list of the Department of Health and Human Services, from the Census of 2000."""
    listed = ["036", "059", "063", "102", "203", "556", "692", "790", "821"]
    listed += ["823", "830", "831", "878", "879", "884", "890", "893"]
    assert sorted(SPARSE_2000) == listed
    assert apply("generalize", [f"{prefix}01" for prefix in listed], {"to": "zip3"}) == ["000"] * 17
    assert apply("generalize", ["20501", "06301"], {"to": "zip3", "census": "2000"}) == ["205", "000"]
    assert apply("generalize", ["20501", "06301"], {"to": "zip3", "census": "2010"}) == ["000", "063"]


# ---- other columns


def test_when_sends_each_row_through_its_branch() -> None:
    parameters = {"condition": "x > 1", "then": "redact", "otherwise": {"transform": "redact", "with": "characters"}}
    out = apply("when", ["ab", "cd", "ef", None], parameters, **{"sql:x > 1": [True, False, None, True]})
    assert out == ["<REDACTED>", "xx", "xx", None]


def test_combine_uses_the_other_columns_alone() -> None:
    parameters = {"of": ["a", "b"], "separator": "/", "then": "keep"}
    assert apply("combine", ["x", "y", None], parameters, a=["p", "q", "r"], b=[1, None, 3]) == ["p/1", None, None]


# ---- text and nested values


def test_spans_change_and_the_rest_of_the_text_stays() -> None:
    text = "Write to ann.lee@corp.com or bob@corp.com, not later."
    [out] = apply("spans", [text], {})
    assert out == "Write to <EMAIL_ADDRESS> or <EMAIL_ADDRESS>, not later."
    [hashed] = apply("spans", [text], {"entities": {"EMAIL_ADDRESS": "hash"}})
    [alone] = apply("hash", ["ann.lee@corp.com"], {}, entity="EMAIL_ADDRESS")
    assert alone in hashed and hashed.startswith("Write to ") and hashed.endswith(", not later.")
    assert apply("spans", ["no one", None, ""], {}) == ["no one", None, ""]


def test_groups_stand_for_their_entities_inside_text_and_a_name_goes_before_its_group() -> None:
    text = "Ann, aged 34, writes from ann.lee@corp.com on 03/02/2020"
    [out] = apply("spans", [text], {"entities": {"demographic/*": "keep", "time/*": "keep"}})
    assert out == "Ann, aged 34, writes from <EMAIL_ADDRESS> on 03/02/2020"
    [out] = apply("spans", [text], {"entities": {"demographic/*": "keep", "AGE": "redact"}, "default": "keep"})
    assert out == "Ann, aged <AGE>, writes from ann.lee@corp.com on 03/02/2020"


def test_ciphertexts_inside_text_are_restored_and_those_of_a_column_agree() -> None:
    parameters = {"entities": {"EMAIL_ADDRESS": "encrypt"}}
    texts = ["Write to ann.lee@corp.com, please", "nothing here", None]
    hidden = apply("spans", texts, parameters)
    [token] = apply("encrypt", ["ann.lee@corp.com"], {}, entity="EMAIL_ADDRESS")
    assert hidden[0] == f"Write to <EMAIL_ADDRESS:{token}>, please"
    restore = TRANSFORMS["spans"].restore
    assert restore is not None
    assert restore(pa.array(hidden), parameters, KEYS, Context("c", "string")).to_pylist() == texts
    with pytest.raises(DataError, match="not among the keys given"):
        restore(pa.array(hidden), parameters, Keyring(KEYS.keys[1:]), Context("c", "string"))


NESTED = pa.struct(
    [
        ("email", pa.string()),
        ("orders", pa.list_(pa.struct([("note", pa.string()), ("sum", pa.int32())]))),
        ("tags", pa.map_(pa.string(), pa.string())),
    ]
)
ROWS = [
    {
        "email": "a@b.org",
        "orders": [{"note": "x", "sum": 1}, None, {"note": None, "sum": 2}],
        "tags": [("k", "v"), ("l", None)],
    },
    None,
    {"email": None, "orders": [], "tags": []},
    {"email": "c@d.org", "orders": None, "tags": None},
]


def test_leaves_change_by_path_and_null_empty_and_absent_stay_apart() -> None:
    parameters = {"paths": {".email": "redact", ".orders[].note": "redact", ".tags{values}": "redact"}}
    array = pa.array(ROWS, NESTED)
    for start in (0, 1):  # a slice has offsets of its own
        out = TRANSFORMS["paths"].apply(array.slice(start), parameters, KEYS, Context("c", "struct<>"))
        assert out.type == NESTED
        assert (
            out.to_pylist()
            == [
                {
                    "email": "<REDACTED>",
                    "orders": [{"note": "<REDACTED>", "sum": 1}, None, {"note": None, "sum": 2}],
                    "tags": [("k", "<REDACTED>"), ("l", None)],
                },
                None,
                {"email": None, "orders": [], "tags": []},
                {"email": "<REDACTED>", "orders": None, "tags": None},
            ][start:]
        )


def test_all_leaves_that_are_not_named_can_be_redacted() -> None:
    out = TRANSFORMS["paths"].apply(
        pa.array(ROWS, NESTED), {"paths": {".email": "keep"}, "rest": "redact"}, KEYS, Context("c", "struct<>")
    )
    assert out.to_pylist()[0]["email"] == "a@b.org"
    assert out.to_pylist()[0]["orders"][0] == {"note": "<REDACTED>", "sum": None}


def test_depth_twenty_is_walked() -> None:
    kind: pa.DataType = pa.string()
    value: Any = "deep"
    path = ""
    for level in range(20):
        kind, value = (pa.list_(kind), [value]) if level % 2 else (pa.struct([("a", kind)]), {"a": value})
        path = ("[]" if level % 2 else ".a") + path
    out = TRANSFORMS["paths"].apply(pa.array([value], kind), {"paths": {path: "redact"}}, KEYS, Context("c", "x"))
    assert "deep" not in str(out.to_pylist()) and "<REDACTED>" in str(out.to_pylist())


def test_json_text_changes_by_path_and_keeps_numbers_as_written() -> None:
    text = '{"user": {"email": "ann@corp.com", "age": 41}, "sum": 1.10, "big": 12345678901234567890, "l": ["x", null, true]}'
    parameters = {"paths": {".user.email": "redact", ".l[]": "redact", ".user.age": {"transform": "clip", "top": 40}}}
    [out] = apply("paths", [text], parameters)
    assert out == (
        '{"user": {"email": "<REDACTED>", "age": 40.0}, "sum": 1.10, "big": 12345678901234567890, '
        '"l": ["<REDACTED>", null, true]}'
    )
    assert apply("paths", ["not json", None, "[]", '"x"'], parameters) == ["<REDACTED>", None, "[]", '"x"']
