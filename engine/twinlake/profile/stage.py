"""The profile stage of a run: source -> profile.json."""

from __future__ import annotations

import json
from dataclasses import replace

from twinlake.core.config import Config
from twinlake.core.privacy_config import NOT_FOR_RELEASE
from twinlake.core.progress import Progress
from twinlake.core.seeds import derive
from twinlake.profile.profile import profile_table
from twinlake.profile.types import ColumnProfile, Profile
from twinlake.tables.parts import write_text
from twinlake.tables.people import LEAST_ROWS, rows_of_people, unit_of
from twinlake.tables.run_folder import RunFolder
from twinlake.tables.source import Source
from twinlake.tables.split import Split, split_of

MANY_COLUMNS, MANY_REPEATED = 8, 0.1
"""In narrow tables many rows are equal by chance."""


def profile_run(folder: RunFolder, source: Source, config: Config, progress: Progress) -> str:
    """Writes the statistics of the train rows, rare values left out; returns a line about them."""
    unit = unit_of(config)
    budgeted = config.privacy.epsilon is not None
    # with a budget nothing of the profile is learned from, and rows of one person are cut to a number that is known
    least = config.privacy.min_people if budgeted else rows_of_people(source.df, unit, config.privacy.min_people)
    found = profile_table(source.df, split_in(config), least)
    if unit is not None:  # whoever a row is about, its twin is about nobody
        found = replace(found, columns=tuple(_nobodys(c) if c.name == unit else c for c in found.columns))
        least_people = config.privacy.min_people
    if unit is not None and not budgeted:
        progress.say(f"values are told from {least:,} rows up: fewer may be of less than {least_people} people")
        if found.rows and 20 * least > found.rows:
            progress.say(
                f"warning: privacy.unit: {least_people - 1} people have {least - 1:,} of all rows, so that little can be told "
                "of any value; leave out some of their rows by source.where"
            )
    folder.update(**{LEAST_ROWS: least})
    marked = {"release": NOT_FOR_RELEASE} if budgeted else {}
    write_text(folder / "profile.json", json.dumps({**marked, **json.loads(found.to_json())}, ensure_ascii=False, indent=1))
    if found.repeated is not None and len(found.columns) >= MANY_COLUMNS and found.repeated > MANY_REPEATED * found.rows:
        progress.say(
            f"warning: {found.repeated:,} rows are equal to another row in all {len(found.columns)} columns; if they are of "
            "the same people, leave the copies out: held-out rows are known to the model then, and values count people twice"
        )
    if not found.rows:
        progress.say("warning: there are no rows; the twin has the columns alone, and nothing can be measured")
    return f"{found.rows:,} train rows, {len(found.columns)} columns"


def _nobodys(column: ColumnProfile) -> ColumnProfile:
    """The profile of the column that tells people apart: a key, and nothing of its values."""
    return replace(column, kind="key", minimum=None, maximum=None, mean=None, std=None, quantiles=(), top=())


def read_profile(folder: RunFolder) -> Profile:
    """The profile that the stage wrote."""
    return Profile.from_json((folder / "profile.json").read_text(encoding="utf-8"))


def split_in(config: Config) -> Split:
    """How a run tells train and holdout rows apart."""
    return split_of(config.holdout, derive(config.run.seed, "split"), unit_of(config))
