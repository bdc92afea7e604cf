"""The profile stage of a run: source -> profile.json."""

from __future__ import annotations

import json

from twinlake.core.config import Config
from twinlake.core.privacy_config import NOT_FOR_RELEASE
from twinlake.core.progress import Progress
from twinlake.core.seeds import derive
from twinlake.profile.profile import profile_table
from twinlake.profile.types import Profile
from twinlake.tables.parts import write_text
from twinlake.tables.run_folder import RunFolder
from twinlake.tables.source import Source
from twinlake.tables.split import Split, split_of


def profile_run(folder: RunFolder, source: Source, config: Config, progress: Progress) -> str:
    """Writes the statistics of the train rows, rare values left out; returns a line about them."""
    found = profile_table(source.df, split_in(config), config.privacy.min_people)
    marked = {"release": NOT_FOR_RELEASE} if config.privacy.epsilon is not None else {}
    write_text(folder / "profile.json", json.dumps({**marked, **json.loads(found.to_json())}, ensure_ascii=False, indent=1))
    if not found.rows:
        progress.say("warning: there are no rows; the twin has the columns alone, and nothing can be measured")
    return f"{found.rows:,} train rows, {len(found.columns)} columns"


def read_profile(folder: RunFolder) -> Profile:
    """The profile that the stage wrote."""
    return Profile.from_json((folder / "profile.json").read_text(encoding="utf-8"))


def split_in(config: Config) -> Split:
    """How a run tells train and holdout rows apart."""
    return split_of(config.holdout, derive(config.run.seed, "split"))
