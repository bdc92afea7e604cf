"""The registered metrics: one file for each group, one line for each metric."""

from __future__ import annotations

from twinlake.evaluate.evidence import Evidence, Metric, Result, not_computed
from twinlake.evaluate.metrics.attacks import ATTACKED
from twinlake.evaluate.metrics.correlation import CORRELATION
from twinlake.evaluate.metrics.detection import DETECTION
from twinlake.evaluate.metrics.fairness import FAIRNESS
from twinlake.evaluate.metrics.fidelity import FIDELITY
from twinlake.evaluate.metrics.privacy import PRIVACY
from twinlake.evaluate.metrics.score import SCORE
from twinlake.evaluate.metrics.segments import SEGMENTS
from twinlake.evaluate.metrics.skill import SKILL
from twinlake.evaluate.metrics.texts import TEXT
from twinlake.evaluate.metrics.times import TIMES
from twinlake.evaluate.metrics.utility import UTILITY
from twinlake.evaluate.metrics.validity import VALIDITY

METRICS: dict[str, Metric] = {
    **VALIDITY,  # validity
    **FIDELITY,  # univariate_tv, bivariate_tv
    **SEGMENTS,  # segment_tv
    **SKILL,  # strict_score, column_skill, pair_skill, triple_skill
    **TIMES,  # time_shape
    **TEXT,  # text_structure, text_semantics, text_copies
    **SCORE,  # field_distribution, field_correlation, deep_structure
    **CORRELATION,  # association, pearson
    **UTILITY,  # auc_gap, accuracy_gap, r2_gap, augmented_gain
    **DETECTION,  # detection
    **FAIRNESS,  # demographic_parity_gap, equalized_odds_gap
    **ATTACKED,  # copies, singling_out, linkability, attribute_inference, membership_inference, model_membership, privacy_risk
    **PRIVACY,  # exact_copies, near_copies, closest_record, closer_to_train, nearest_in_train_lift, neighbour_ratio
}

__all__ = ["METRICS", "Evidence", "Metric", "Result", "not_computed"]
