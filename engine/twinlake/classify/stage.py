"""The classify stage of a run: source and profile.json -> labels.json and labels.sql."""

from __future__ import annotations

from collections.abc import Mapping

from twinlake.classify.catalog import catalog_script
from twinlake.classify.classify import classify_table
from twinlake.classify.custom import with_custom
from twinlake.classify.detector import Detector
from twinlake.classify.labels import Labels
from twinlake.core.config import Config
from twinlake.core.seeds import derive
from twinlake.profile.stage import read_profile
from twinlake.tables.parts import write_text
from twinlake.tables.run_folder import RunFolder
from twinlake.tables.source import Source

SHOWN = 4


def classify_run(folder: RunFolder, source: Source, config: Config, detectors: Mapping[str, Detector] | None) -> str:
    """Writes which personal data each column holds, and tags and masks to review; returns a line about them."""
    kinds: dict[str, str] = {c.name: c.kind for c in read_profile(folder).columns}
    chosen, seed = config.classify, derive(config.run.seed, "classify")
    known = with_custom(chosen.detectors, detectors)
    labels = classify_table(source.df, chosen.sample_rows, seed, kinds, known, chosen.full_scan, chosen.ner)
    write_text(folder / "labels.json", labels.to_json())
    write_text(folder / "labels.sql", catalog_script(labels, config.source.table))
    found = [f"{c.name}: {c.entity}" for c in labels.columns if c.entity]
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(found[:SHOWN]) + more or "no personal data found"


def read_labels(folder: RunFolder) -> Labels:
    """The labels that the stage wrote."""
    return Labels.from_json((folder / "labels.json").read_text(encoding="utf-8"))
