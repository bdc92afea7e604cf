"""The configuration: YAML read as plain data into frozen, typed values. Every key has a default.

`load_config` merges, in this order: the defaults, one YAML file, `--set dotted.key=value` pairs. An unknown key, a
wrong type, a duplicate key, an alias, a tag or a tab is refused with the path into the file, its line and the nearest
known key. The JSON Schema for editors is `Config.model_json_schema()`; `conf/warehouse.yaml` lists every key.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, Field, ValidationError, field_validator, model_validator

from twinlake.core.errors import ConfigError, escaped, nearest
from twinlake.core.generate_config import GenerateConfig
from twinlake.core.llm_config import LlmConfig
from twinlake.core.privacy_config import PrivacyConfig, check_budgeted
from twinlake.core.section import Count, Section, Share, Text
from twinlake.core.strict_yaml import MAX_BYTES, read_yaml
from twinlake.core.sweep_config import SweepConfig

RUN_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}\Z")
KEY_REFERENCE = re.compile(r"(env:[A-Za-z_][A-Za-z0-9_]*|file:.+|secret://[^/]+/.+)\Z")


Places = dict[tuple[str, ...], str]
Names = Annotated[list[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]


class RunConfig(Section):
    """Where the run keeps its artifacts, and its seed."""

    name: str | None = Field(None, description="Name of the run; default: the source's own name followed by -twin.")
    dir: str | None = Field(None, description="Run folder, writable by Spark and Ray alike; default: runs/<name>.")
    seed: Count = Field(7, ge=0, lt=2**63, description="Every random choice of the run follows from this number.")
    resume: bool = Field(True, description="Go on from finished stages of an earlier run in the same folder.")
    keep_private: bool = Field(False, description="Keep <dir>/private (encoded rows, holdout) after success.")

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str | None) -> str | None:
        if name is not None and not RUN_NAME.match(name):
            raise ValueError("must be 1 to 64 of a-z, 0-9 and '-', starting with a letter or digit")
        return name


class SourceConfig(Section):
    """The table to make a twin of: a path or a catalog table."""

    path: str | None = Field(None, description="File or folder: Parquet, CSV, JSON or ORC.")
    table: str | None = Field(None, description="Catalog table, 1 to 3 parts: main.sales.customers. Instead of path.")
    format: Literal["parquet", "csv", "json", "orc"] | None = Field(None, description="Default: from the file suffix.")
    options: dict[str, Text] = Field({}, description="Reader options of Spark, such as sep or multiLine.")
    columns: list[str] | None = Field(None, description="Columns to read; default: all.")
    where: str | None = Field(None, description="Row filter in Spark SQL, such as: country = 'FR'.")


class HoldoutConfig(Section):
    """Real rows that the model never sees: the yardstick of every quality and privacy number."""

    fraction: Share = Field(0.1, ge=0.0, le=0.5, description="Share of rows (or of entities) held out; 0 turns it off.")
    by: list[str] | str | None = Field(None, description="Entity key: all rows of one entity fall on one side.")
    source: str | None = Field(None, description="Path of the caller's own holdout rows; turns the split off.")


class DetectorConfig(Section):
    """A detector of the user's own."""

    entity: str = Field(description="Name of the entity in upper snake case; that of a built-in one replaces it.")
    pattern: str | None = Field(None, description="RE2 of the whole value; also looked for inside text.")
    score: Share = Field(0.8, gt=0.0, le=1.0, description="Worth of a find in text; below 0.5 a header must speak too.")
    phrases: list[str] = Field([], description="Words and phrases, compared without case and accents.")
    headers: list[str] = Field([], description="Words of column names that speak for the entity.")
    alone: bool = Field(False, description="Decide a column without a header.")
    ignore_case: bool = Field(True, description="Match letters of either case.")


class ClassifyConfig(Section):
    """The search for personal data."""

    sample_rows: Count = Field(10_000, ge=100, description="Rows looked at for each column.")
    full_scan: bool = Field(False, description="Look at all rows: nothing is sampled away.")
    ner: bool = Field(False, description="Names and places inside text by a model: needs twinlake[ner].")
    detectors: list[DetectorConfig] = Field([], description="Own detectors: entity, pattern, score, phrases, headers.")
    python_detectors: list[str] = Field([], description="Names of detectors given to run(detectors=...), which sets this.")


class LanguageConfig(Section):
    """Of the language family, and of the texts of the tabular one."""

    core: Literal["lstm", "transformer"] = Field("lstm", description="Network: lstm, or a small transformer.")
    rnn_units: Annotated[Count, Field(ge=8)] | Literal["auto"] = Field("auto", description="Width of the LSTM.")
    layers: Annotated[Count, Field(ge=1)] | Literal["auto"] = Field("auto", description="Layers of the network.")
    embedding_dim: Annotated[Count, Field(ge=32, multiple_of=32)] | Literal["auto"] = Field(
        "auto", description="Width of embeddings (and of the transformer): a multiple of 32."
    )
    dropout_rate: Annotated[Share, Field(ge=0.0, lt=1.0)] | Literal["auto"] = Field(
        "auto", description="Dropout, the same for all steps of a row."
    )
    vocab_size: Annotated[Count, Field(ge=0, le=65_000)] | Literal["auto"] = Field(
        "auto", description="Pieces of the SentencePiece model, at most 65,000; 0: characters."
    )
    learning_rate: Annotated[Share, Field(gt=0)] | Literal["auto"] = Field("auto", description="Highest learning rate.")
    batch_size: Annotated[Count, Field(ge=1)] | Literal["auto"] = Field("auto", description="Rows of a training step.")
    max_pieces: Count = Field(256, ge=1, le=4_096, description="Pieces of a text at most; longer ones are cut.")

    def script(self) -> tuple[int | str, int]:
        """What decides how texts are told, before any training."""
        return self.vocab_size, self.max_pieces


class MarginalConfig(Section):
    """How a marginal model measures within a budget."""

    selection: Literal["tree", "adaptive"] = Field(
        "tree", description="Pairs to measure: tree: a spanning tree at once; adaptive: in rounds, after AIM."
    )


class ModelConfig(Section):
    """The generative model."""

    family: Literal["tabular", "marginal", "language", "llm"] = Field(
        "tabular",
        description="tabular: fast, for any table; marginal: from counts alone, the fastest; language: written token by token, "
        "free text above all; llm: your own LLM.",
    )
    language: LanguageConfig = Field(LanguageConfig(), description="Of the language family, and of texts in any family.")
    marginal: MarginalConfig = Field(MarginalConfig(), description="Of the marginal family within a budget (privacy.epsilon).")
    llm: LlmConfig = Field(LlmConfig(), description="Of the llm family: a language model of your own, fine-tuned.")
    size: Literal["auto", "s", "m", "l"] = Field("auto", description="Width of the network; auto follows the data.")
    start_from: str | None = Field(None, description="Model folder, or run, to go on from: weights of columns that agree.")

    @model_validator(mode="after")
    def _check_start(self) -> ModelConfig:
        if self.start_from is not None and self.family != "tabular":
            raise ValueError(f"start_from: family {self.family} can't go on from an earlier model; leave it out")
        return self


class TrainConfig(Section):
    """Training with Ray Train."""

    workers: Annotated[Count, Field(ge=1)] | Literal["auto"] = Field(
        "auto", description="Training processes; auto: one a core, or one a GPU."
    )
    use_gpu: bool | Literal["auto"] = Field("auto", description="auto: use GPUs if Ray has any.")
    epochs: Annotated[Share, Field(gt=0)] | Literal["auto"] = Field(
        "auto", description="Passes over the rows; auto follows the table's size."
    )
    max_minutes: Share | None = Field(
        None, gt=0, description="Stop training then and keep the best weights; of a table with texts each of two networks."
    )
    loss_limits: list[Annotated[list[Share], Field(min_length=2, max_length=2)]] = Field(
        [], description="Give up if the validation loss at a share of the training is higher: [[0.25, 41.5]]; a sweep sets it."
    )
    max_failures: Count = Field(2, ge=0, description="Worker failures to recover from before giving up.")
    ray_address: str | None = Field(None, description="Join this Ray cluster instead of starting a local one.")


class EvaluateConfig(Section):
    """What the report measures besides fidelity and privacy."""

    target: str | None = Field(None, description="Column that models trained on the twin should predict.")
    protected: Names = Field([], description="Columns whose groups models should treat alike; one name or a list.")
    positive: Text | None = Field(None, description="The favoured class of a target of two; default: the rarer one.")
    secrets: Names = Field([], description="Columns that attackers try to guess; default: target, protected, first ones.")
    fail_under: dict[str, Share] = Field({}, description="Metric -> least value; a lower one ends with exit code 3.")


class OutputConfig(Section):
    """Where the twin goes besides the run folder."""

    path: str | None = Field(None, description="Folder for the twin; default: <run.dir>/synthetic.")
    table: str | None = Field(None, description="Also save as this catalog table.")
    format: Literal["parquet", "json", "csv"] = Field("parquet", description="Of the files in path; json: one object a line.")
    mode: Literal["error", "overwrite"] = Field("error", description="What to do when the output exists already.")


class Config(Section):
    """All settings of a run."""

    run: RunConfig = RunConfig()
    source: SourceConfig = SourceConfig()
    holdout: HoldoutConfig = HoldoutConfig()
    classify: ClassifyConfig = ClassifyConfig()
    policy: str | dict[str, Any] | None = Field(
        None,
        description="Policy: default, gdpr, hipaa_safe_harbor, pci, strict, reversible, a file, or its content.",
    )
    keys: dict[str, str] = Field({}, description="Key references: env:NAME, file:path or secret://scope/key. Never a key.")
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    privacy: PrivacyConfig = PrivacyConfig()
    generate: GenerateConfig = GenerateConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    output: OutputConfig = OutputConfig()
    sweep: SweepConfig = SweepConfig()

    @field_validator("keys")
    @classmethod
    def _check_keys(cls, keys: dict[str, str]) -> dict[str, str]:
        wrong = [name for name, reference in keys.items() if not KEY_REFERENCE.match(reference)]
        if wrong:
            names = ", ".join(escaped(name) for name in wrong)
            raise ValueError(f"{names}: must be a reference (env:NAME, file:path or secret://scope/key), never a key")
        return keys

    @model_validator(mode="after")
    def _check_source(self) -> Config:
        if self.source.path is not None and self.source.table is not None:
            raise ValueError("source: give either path or table, not both")
        if self.generate.precision != "float32" and self.model.family != "tabular":
            raise ValueError(f"generate.precision: bfloat16 is for model.family tabular, got {self.model.family}; leave it out")
        check_budgeted(self)
        return self


def load_config(
    path: str | Path | None = None,
    overrides: list[str] | None = None,
    base: dict[str, Any] | None = None,
    arguments: dict[str, Any] | None = None,
) -> Config:
    """The config of `base` (a plain dict), `path` (YAML), `arguments` (a dict) and `overrides` (`dotted.key=value`).

    They are merged in this order: later ones win.

    Errors: ConfigError naming the key, its line in the file, what was read and what is allowed.
    """
    try:
        values: dict[str, Any] = json.loads(json.dumps(base or {}))
    except (TypeError, ValueError):
        raise ConfigError("config: must hold text, numbers, booleans, null, lists and mappings alone") from None
    places: Places = {}
    where = "config"
    if path is not None:
        where = escaped(str(path))
        data, lines = read_yaml(_read_text(Path(path)), where)
        values = _merged(values, data)
        places = {key: f"{where}, line {line}" for key, line in lines.items()}
    values = _merged(values, arguments or {})
    for key in _leaves(arguments or {}):
        places[key] = "command line"
    for override in overrides or []:
        _apply_override(values, override, places)
    return parse_config(values, where, places)


def parse_config(values: dict[str, Any], where: str = "config", places: Places | None = None) -> Config:
    """Typed config of plain `values`. Errors: ConfigError with every problem found, one a line.

    `places` says where each key path was written (file and line, or `--set`); `where` stands in for the rest.
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        groups: dict[tuple[str, ...], list[Any]] = {}
        for problem in error.errors():
            groups.setdefault(tuple(_key_path(problem["loc"])), []).append(problem)
        lines = [_explain(list(key), problems, where, places or {}) for key, problems in groups.items()]
        raise ConfigError("\n".join(lines)) from None


def config_hash(config: Config) -> str:
    """SHA-256 of the canonical JSON of `config`, in hex."""
    return hashlib.sha256(json.dumps(config.model_dump(), sort_keys=True).encode()).hexdigest()


def _read_text(path: Path) -> str:
    if not path.is_file():
        raise ConfigError(f"no config file at {escaped(str(path))}; check the path given to --config")
    if path.stat().st_size > MAX_BYTES:
        raise ConfigError(f"{escaped(str(path))}: {path.stat().st_size} bytes; a config has at most {MAX_BYTES}")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{escaped(str(path))}: not UTF-8 text") from None
    except OSError as error:
        raise ConfigError(f"{escaped(str(path))}: cannot be read ({error.strerror})") from None


def _merged(low: dict[str, Any], high: dict[str, Any]) -> dict[str, Any]:
    out = dict(low)
    for key, value in high.items():
        out[key] = _merged(out[key], value) if isinstance(value, dict) and isinstance(out.get(key), dict) else value
    return out


def _leaves(values: dict[str, Any], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    below = [_leaves(v, (*path, k)) if isinstance(v, dict) else [(*path, k)] for k, v in values.items()]
    return [leaf for leaves in below for leaf in leaves]


def _apply_override(values: dict[str, Any], override: str, places: Places) -> None:
    key, sign, text = override.partition("=")
    if not sign or not key:
        raise ConfigError(f"--set {escaped(override)}: must be dotted.key=value, such as --set run.seed=11")
    wrapped, _ = read_yaml(f"value: {text}" if text.strip() else "value: null", f"--set {escaped(key)}")
    *parents, last = key.split(".")
    node = values
    for parent in parents:
        child = node.setdefault(parent, {})
        if not isinstance(child, dict):
            raise ConfigError(f"--set {escaped(key)}: {escaped(parent)} is a single value, it has no keys below it")
        node = child
    node[last] = wrapped["value"]
    places[tuple(key.split("."))] = f"--set {escaped(key)}"


def _key_path(location: tuple[str | int, ...]) -> list[str]:
    """The part of pydantic's path that stands in the file: a union adds the name of each type it tried."""
    path: list[str] = []
    known: list[str] | None = _keys_at([])
    for part in (str(part) for part in location):
        if known is None and re.search(r"[\[\]()]|^(int|str|float|bool|literal.*|function.*|constrained.*)$", part):
            break
        path.append(part)
        known = _keys_at(path) or None
    return path


def _explain(path: list[str], problems: list[Any], where: str, places: Places) -> str:
    at = next((places[tuple(path[:n])] for n in range(len(path), 0, -1) if tuple(path[:n]) in places), where)
    key = escaped(".".join(path))
    problem = problems[0]
    if problem["type"] == "extra_forbidden":
        known = _keys_at(path[:-1])
        return f"{at}: unknown key {key}{nearest(path[-1], known)}; allowed here: {', '.join(known)}"
    wanted = " or ".join(dict.fromkeys(_plainly(p["msg"]) for p in problems)).replace(" or must be ", " or ")
    plain = path and path[0] != "keys" and not isinstance(problem["input"], dict | BaseModel)
    told = f"{at}: {key}: {wanted}" if path else f"{at}: {wanted}"
    return told + (f"; got {_shown(problem['input'])}" if plain else "")


def _plainly(message: str) -> str:
    return message.removeprefix("Value error, ").replace("Input should be", "must be").rstrip(".")


def _shown(value: Any) -> str:
    return escaped(f"{value!r} ({type(value).__name__})")


def _keys_at(path: list[str]) -> list[str]:
    model: Any = Config
    for part in path:
        field = model.model_fields.get(part) if isinstance(model, type) and issubclass(model, BaseModel) else None
        model = field.annotation if field else None
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []


def dump_config(config: Config) -> str:
    """The config as YAML text that `load_config` reads back to an equal value."""
    text: str = yaml.safe_dump(config.model_dump(), sort_keys=False, allow_unicode=True)
    return text
