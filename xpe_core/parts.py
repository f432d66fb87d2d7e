"""The parts that every run has: its data, and how it is trained. The defaults are the published recipe's."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from xpe_core.data.source import join_columns
from xpe_core.fields import Float, Int, Mark, Part, Published, SharedInt, join_names


class DataConfig(Part):
    """What is read, and in which languages."""

    dataset: Annotated[str, Mark.SHARED, Mark.SAID] = Field("Davlan/sib200", min_length=1)
    """`cldr` (embedded), a hub name, a folder by language, one table file, or a pattern such as `data/*.csv`."""
    dataset_config: Annotated[str | None, Mark.SHARED, Mark.LATER, Mark.DATA] = Field(None, min_length=1)
    """A hub data set's config, or several separated by commas.

    Null is its default config or, where there is none, all configs, each a language.
    """
    columns: Annotated[str | None, BeforeValidator(join_columns), Mark.SHARED, Mark.LATER, Mark.DATA] = None
    """Which columns are read, where these have other names: `text=sentence,label=intent,language=lang,split=part`.

    What is no column but a language or a split is the value of every row (`split=test`), and so is a value in
    quotation marks (`language='xx'`); `split=80/10/10` draws the splits by the texts, in percent.
    """
    on_bad_rows: Annotated[Literal["refuse", "skip"], Mark.SHARED, Mark.LATER, Mark.DATA] = "refuse"
    """What to do with rows that have no text or cannot be read: refuse the data set, or leave them out (counted)."""
    source_set: Annotated[
        str, BeforeValidator(join_names), Field(min_length=1), Published(("eng", "enarzho", "joshi5", "xlmr_seen"))
    ] = "enarzho"
    """Languages trained on: a group, family, script or code, or several separated by commas."""
    max_train_examples: Annotated[Int | None, Mark.SHARED, Mark.LATER] = Field(None, ge=1)
    """Training examples a language at most, drawn with the run's seed; null is all.

    Classes take turns in giving one: 56 are 8 of each of 7 classes. A higher number only adds examples.
    """
    max_length: SharedInt = Field(164, ge=3)
    """Tokens of a text at most, special tokens included; longer texts are truncated (recipe: 164)."""
    doc_stride: Annotated[SharedInt, Mark.LATER] = Field(64, ge=0)
    """Tokens that neighbouring windows of a passage share, where an answer is a span of it.

    Such passages are not truncated, but read in windows of `max_length` tokens, the question included.
    """


class TrainingConfig(Part):
    """How the trained parts are trained, and how often they are evaluated."""

    learning_rate: Float = Field(5e-5, gt=0)
    """Rate of the head and of all that has no rate of its own (recipe: 5e-5).

    Base-size backbones need ten times that.
    """
    weight_decay: Float = Field(0.01, ge=0)
    """Decay of the weights that `learning_rate` is the rate of; biases do not decay (recipe: 0.01)."""
    optimizer: Annotated[Literal["adafactor", "adamw"], Mark.SHARED] = "adafactor"
    """Adafactor with a set rate: no relative step, no parameter scaling (recipe)."""
    schedule: Literal["cosine_with_restarts", "cosine", "linear", "constant"] = "cosine_with_restarts"
    """How the rates fall after the warm-up."""
    num_cycles: Int = Field(2, ge=1)
    """Cycles of `cosine_with_restarts`; the other schedules do not read it (recipe: 2)."""
    warmup_ratio: Float = Field(0.1, ge=0, lt=1)
    """Share of `max_steps` in which the rates rise from 0 (recipe: 0.1)."""
    max_grad_norm: Float = Field(1.0, gt=0)
    """A run's gradient is scaled down to this norm (recipe: 1.0)."""
    backbone_dropout: Annotated[Float, Mark.SHARED, Mark.LATER, Mark.DROPOUT, Published((0.1,))] = Field(
        0.0, ge=0, lt=1
    )
    """Dropout of the frozen backbone's own, on hidden states and attention's weights, in training (recipe: 0.1)."""
    batch_size: Annotated[SharedInt, Mark.SAID] = Field(32, ge=1)
    """Examples a step and run (recipe: 32)."""
    max_steps: Annotated[SharedInt, Mark.SAID] = Field(24_000, ge=1)
    """Optimizer steps at most (recipe: 24,000)."""
    eval_steps: Annotated[Int | None, Mark.SHARED] = Field(None, ge=1)
    """Steps between evaluations; null is once an epoch (recipe)."""
    max_validation_examples: Annotated[Int | None, Mark.SHARED] = Field(None, ge=1)
    """Validation examples a language at most, drawn once for all; null is all (recipe)."""
    patience: Int = Field(20, ge=1)
    """Evaluations without a better validation accuracy after which a run may stop (recipe: 20)."""
    early_stopping_after: Float = Field(0.5, ge=0, le=1)
    """Share of `max_steps` before which no run stops (recipe: 0.5)."""
