"""What each number means: a plain sentence and one of four tones. The bounds are judgements, stated only here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from twinlake.evaluate.evidence import Result

Tone = Literal["good", "fair", "poor", "none"]
NEAR, FAR = 1.15, 2.0


@dataclass(frozen=True)
class Verdict:
    """A tone and a sentence."""

    tone: Tone
    text: str


def verdict(name: str, result: Result, better: str) -> Verdict:
    """The verdict on metric `name`, for which `better` is "lower" or "higher"."""
    value, reference = result.comparable(), result.reference
    if value is None:
        return Verdict("none", f"Not computed: {result.reason}.")
    if name in _SPECIAL:
        return _SPECIAL[name](result)
    if reference is None:
        return Verdict("none", "Without a holdout there is nothing to hold this number against.")
    if better == "higher":
        loss = reference - value
        tone: Tone = "good" if loss <= 0.3 else "fair" if loss <= 1.5 else "poor"
        words = {
            "good": "As good as real rows that were held out.",
            "fair": f"{loss:.1f} of 10 points below held-out real rows.",
            "poor": f"{loss:.1f} of 10 points below held-out real rows: look at the worst columns.",
        }
        return Verdict(tone, words[tone])
    if value <= reference * NEAR + 0.002:
        return Verdict("good", "As close to the train rows as other real rows are.")
    times = value / reference if reference > 0 else float("inf")
    much = f"{times:.1f} times as far" if times < 100 else "much farther"
    if value <= reference * FAR + 0.01:
        return Verdict("fair", f"{much.capitalize()} from the train rows as other real rows.")
    return Verdict("poor", f"{much.capitalize()} from the train rows as other real rows: look at the worst ones.")


def _gap(result: Result) -> Verdict:
    value = result.value or 0.0
    if value <= 0.01:
        return Verdict("good", "A model learns about as well from the twin as from the real rows.")
    if value <= 0.05:
        return Verdict("fair", "A model learns a little less from the twin than from the real rows.")
    return Verdict("poor", "A model learns clearly less from the twin than from the real rows.")


def _gain(result: Result) -> Verdict:
    low, high = result.interval or (0.0, 0.0)
    if low > 0:
        return Verdict("good", "Models get better when they learn from real rows and twin together.")
    if high < 0:
        return Verdict("poor", "Models get worse when the twin is added to the real rows.")
    return Verdict("fair", "Adding the twin to the real rows changes models by no more than chance does.")


def _fairness(result: Result) -> Verdict:
    change, low, _ = result.detail.get("change", [None, None, None])
    if change is None:
        return Verdict("none", "Trained on real rows, this gap can't be computed: there is nothing to hold it against.")
    if change <= 0.01 or low is None or low <= 0:
        return Verdict("good", "Groups are treated no less alike than by models that learned from the real rows.")
    tone: Tone = "fair" if change <= 0.05 else "poor"
    return Verdict(tone, "Groups are treated less alike than by models that learned from the real rows.")


def _detection(result: Result) -> Verdict:
    value = result.value or 0.5
    if value <= 0.55:
        return Verdict("good", "A classifier can hardly tell the twin from real rows.")
    if value <= 0.7:
        return Verdict("fair", "A classifier tells some twin rows from real rows.")
    return Verdict("poor", "A classifier tells most twin rows from real rows.")


def _copies(result: Result) -> Verdict:
    value = result.value or 0.0
    if result.reference is None:
        tone: Tone = "good" if value == 0 else "fair"
        return Verdict(tone, "No twin row is a copy." if value == 0 else "Without a holdout, coincidence can't be ruled out.")
    low = result.interval[0] if result.interval else value
    high = result.detail.get("reference_interval", [0.0, result.reference])[1]
    if low <= high:
        return Verdict("good", "No more copies than unseen real rows show by coincidence.")
    return Verdict("poor", "More copies than unseen real rows show by coincidence: the model may repeat its train rows.")


def _text_copies(result: Result) -> Verdict:
    value, high = result.value or 0.0, result.detail.get("reference_interval", [0.0, 0.0])[1]
    if value == 0:
        return Verdict("good", "No longer text is one that only a few train rows have.")
    if result.reference is None:
        return Verdict("fair", "Without a holdout, coincidence can't be ruled out.")
    if (result.interval or (value, value))[0] <= high:
        return Verdict("good", "No more longer texts of train rows than unseen real rows share by coincidence.")
    return Verdict("poor", "More longer texts of train rows than unseen real rows share: the model may repeat them.")


def _closest(result: Result) -> Verdict:
    value, reference = result.value or 0.0, result.reference
    if reference is None:
        return Verdict("none", "Without a holdout there is nothing to hold this number against.")
    if value >= 0.95 * reference:
        return Verdict("good", "Twin rows keep at least the distance that unseen real rows keep.")
    if value >= 0.8 * reference:
        return Verdict("fair", "Twin rows come a little closer to train rows than unseen real rows do.")
    return Verdict("poor", "Twin rows come closer to train rows than unseen real rows do.")


def _closer(result: Result) -> Verdict:
    value, low = result.value or 0.5, result.interval[0] if result.interval else 0.0
    if value <= 0.52 or low <= 0.5:
        return Verdict("good", "Twin rows lie as near to unseen people as to the people trained on.")
    tone: Tone = "fair" if value <= 0.56 else "poor"
    return Verdict(tone, "Twin rows lean towards the people trained on.")


def _lift(result: Result) -> Verdict:
    value, low = result.value or 1.0, result.interval[0] if result.interval else 0.0
    if low <= 1.0:
        return Verdict("good", "The nearest real row is a train row no more often than chance says.")
    tone: Tone = "fair" if value <= 1.05 else "poor"
    return Verdict(tone, "The nearest real row is a train row more often than chance says.")


def _risk(result: Result) -> Verdict:
    low = result.interval[0] if result.interval else 0.0
    if low <= 0:
        if result.value:
            return Verdict("good", "No sure gain on people trained on: the interval begins at people never seen.")
        return Verdict("good", "People trained on are hit no more often than people never seen.")
    tone: Tone = "fair" if low <= 0.05 else "poor"
    return Verdict(tone, f"Succeeds with {low:.1%} or more of the people trained on, beyond its success with others.")


def _strongest(result: Result) -> Verdict:
    tones: dict[str, Tone] = {"Poor": "poor", "Normal": "poor", "Good": "fair", "Very Good": "good", "Excellent": "good"}
    level = str(result.detail.get("level"))
    return Verdict(tones.get(level, "none"), f"Protection: {level}. {result.detail.get('why', '')}")


def _ratio(result: Result) -> Verdict:
    reference, high = result.reference or 0.0, result.interval[1] if result.interval else 0.0
    if high >= reference:
        return Verdict("good", "Twin rows sit on single train rows no more than on rows never seen.")
    return Verdict("fair" if (result.value or 0.0) >= 0.8 * reference else "poor", "Some twin rows sit on single train rows.")


def _validity(result: Result) -> Verdict:
    failed = [c for c in result.detail.get("checks", []) if not c["passed"]]
    if not failed:
        return Verdict("good", "Every row passes every check.")
    rows, n = max(c["rows"] for c in failed), result.detail.get("n") or 1
    told = f"{len(failed)} of {len(result.detail['checks'])} checks fail, the worst for {rows:,} rows."
    return Verdict("fair" if rows <= 0.01 * n else "poor", told)


def _skill(result: Result) -> Verdict:
    share = (result.value or 0.0) / (result.reference or 1.0)
    if share >= 0.95:
        return Verdict("good", "As good as other real rows, or nearly so.")
    if share >= 0.8:
        return Verdict("fair", "Most of what other real rows show is there.")
    return Verdict("poor", "Much of what other real rows show is missing: look at the worst columns and pairs.")


_SPECIAL = {
    "validity": _validity,
    "strict_score": _skill,
    "column_skill": _skill,
    "pair_skill": _skill,
    "triple_skill": _skill,
    "auc_gap": _gap,
    "accuracy_gap": _gap,
    "r2_gap": _gap,
    "augmented_gain": _gain,
    "demographic_parity_gap": _fairness,
    "equalized_odds_gap": _fairness,
    "detection": _detection,
    "exact_copies": _copies,
    "near_copies": _copies,
    "neighbour_ratio": _ratio,
    "copies": _risk,
    "singling_out": _risk,
    "linkability": _risk,
    "attribute_inference": _risk,
    "membership_inference": _risk,
    "model_membership": _risk,
    "privacy_risk": _strongest,
    "text_copies": _text_copies,
    "closest_record": _closest,
    "closer_to_train": _closer,
    "nearest_in_train_lift": _lift,
}
