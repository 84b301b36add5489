"""The configuration: one YAML file, every key known, every default here.

`load_config(path, overrides)` reads it; `--set key=value` overrides any key (`--set train.max_epochs=5`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    field_serializer,
    field_validator,
    model_validator,
)

from guided_refine.config_llm import LLMOptions, check_digits
from guided_refine.config_remote import check_address, is_address
from guided_refine.config_section import Device
from guided_refine.config_section import Section as _Section
from guided_refine.errors import nearest
from guided_refine.files import sha256_json

BACKBONES = ("gru4rec", "gru4rec_parallel", "sasrec", "bert4rec")
#: Those that divide their width among attention heads.
WITH_HEADS = ("sasrec", "bert4rec")
VARIANTS = (
    "base",
    "refined",
    "warm_restart",
    "pca_only",
    "guided_only",
    "random_columns",
    "shuffled",
    "trainable_columns",
    "untuned",
    "text_linear",
    "text_pca",
    "id_plus_text",
)
#: Those that read whole text vectors, no scores.
TEXT_VARIANTS = ("text_linear", "text_pca", "id_plus_text")
#: Those that read no attribute score.
WITHOUT_SCORES = {"base", "warm_restart", "pca_only", *TEXT_VARIANTS}
BASELINES = ("random", "popularity", "popularity_last_week", "item_knn", "ease")


Seed = Annotated[int, Field(ge=0, lt=2**32)]


class DataConfig(_Section):
    """Where interactions and item text come from, what is kept, how they are split."""

    path: str | None = Field(
        None, description="file or folder; relative to $GUIDED_REFINE_DATA, else the config's folder"
    )
    reader: str = Field(
        "tables", description="tables, movielens, amazon, steam, recbole, sample, or prepared"
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="passed to the reader or the sample's generator"
    )
    min_rating: float | None = None
    k_core: int = Field(1, ge=1, description="keep users and items with at least this many events")
    k_core_mode: Literal["iterated", "one_pass"] = "iterated"
    repeats: Literal["keep", "first"] = Field("keep", description="a user's second event with the same item")
    without_text: Literal["keep", "drop"] = Field("keep", description="items that have no text at all")
    text_columns: list[str] | None = Field(None, description="item columns that make the text; default: all")
    split: Literal["leave_one_out", "global_time"] = "leave_one_out"
    valid_share: float = Field(0.1, gt=0, lt=0.5)
    test_share: float = Field(0.1, gt=0, lt=0.5)


class TuneConfig(_Section):
    """LoRA tuning (PEFT): which loss terms, how much of each, for how long."""

    enabled: bool = True
    side: Literal["both", "user", "item"] = Field(
        "both", description="whose scores are tuned; the others' stay those of the untuned model"
    )
    task: Literal["next_item", "like_dislike", "base_recommender"] = Field(
        "next_item",
        description="what scores are to predict; base_recommender: what the trained base leaves open",
    )
    like_threshold: float | None = Field(
        None, description="like_dislike: a rating from here on is a like; default: the user's own mean rating"
    )
    recommendation_weight: float = Field(1.0, ge=0)
    format_weight: float = Field(0.1, ge=0)
    anchor_weight: float = Field(0.5, ge=0)
    rank: int = Field(8, ge=1, le=1024)
    alpha: int = Field(16, ge=1)
    dropout: float = Field(0.05, ge=0, lt=1)
    learning_rate: float = Field(2e-4, gt=0)
    steps: int = Field(200, ge=1)
    batch_size: int = Field(32, ge=2)
    micro_batch_size: int | None = Field(
        None,
        ge=1,
        description="texts read at a time with gradients, all of a step's by default: less memory, same steps",
    )
    negatives: int = Field(64, ge=1)
    save_every: int = Field(
        1, ge=1, description="steps from checkpoint to checkpoint: a kill costs at most so many"
    )
    gradient_checkpointing: bool = Field(
        False, description="compute the inside of each layer again on the way back: less memory, same steps"
    )
    pretrain_steps: int = Field(
        0, ge=0, description="before it, go on pre-training the adapter on the catalog's texts, by TRL"
    )
    sft_steps: int = Field(
        0, ge=0, description="before it, learn to write the title that follows a training history, by TRL"
    )

    @property
    def held_still(self) -> Literal["item", "user"] | None:
        """Whose scores stay those of the untuned model."""
        still: dict[str, Literal["item", "user"] | None] = {"both": None, "user": "item", "item": "user"}
        return still[self.side]

    @model_validator(mode="after")
    def _keys_of_the_task(self) -> TuneConfig:
        if self.like_threshold is not None and self.task != "like_dislike":
            raise ValueError(f"task {self.task} does not read like_threshold (only like_dislike); remove it")
        return self


_LOSS_DEFAULTS: dict[str, Any] = {"negatives": 256, "negative_sampling": "uniform", "gbce_t": 0.75}
_LOSS_READS = {
    "cross_entropy": (),
    "sampled_softmax": ("negatives", "negative_sampling"),
    "gbce": ("negatives", "gbce_t"),
    "bce": (),
    "bpr_max": ("negatives", "negative_sampling"),
}


class TrainConfig(_Section):
    """Training of every backbone and variant: the same width, steps and stopping rule for all."""

    width: int = Field(64, ge=2)
    max_length: int = Field(50, ge=2)
    layers: int = Field(2, ge=1)
    heads: int = Field(1, ge=1)
    dropout: float = Field(0.2, ge=0, lt=1)
    mask_share: float = Field(0.2, gt=0, lt=1, description="BERT4Rec: share of positions masked")
    item_std: float = Field(
        0.02, gt=0, description="standard deviation of free item vectors before the first step"
    )
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    batch_size: int = Field(128, ge=1)
    max_epochs: int = Field(200, ge=1)
    patience: int = Field(10, ge=1, description="epochs without a better validation NDCG@10 before stopping")
    learning_rate_drops: int = Field(
        0,
        ge=0,
        description="how often patience lowers the learning rate to a quarter before it stops the training",
    )
    loss: Literal["cross_entropy", "sampled_softmax", "gbce", "bce", "bpr_max"] = "cross_entropy"
    negatives: int | None = Field(None, ge=1, description="items a target is compared with; default 256")
    negative_sampling: Literal["uniform", "popularity"] | None = Field(
        None, description="how negatives are drawn; default uniform"
    )
    gbce_t: float | None = Field(None, ge=0, le=1, description="0: plain BCE, 1: calibrated; default 0.75")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="what the softmax over the whole catalog multiplies in; the rest stays float32",
    )
    device: Device = "auto"
    threads: int | None = Field(None, ge=1)
    # Left out of what is saved and hashed: it changes no result, so turning it on or off makes nothing anew.
    tensorboard: bool = Field(
        False, exclude=True, description="write curves live into each model's folder, under tensorboard/"
    )

    @model_validator(mode="after")
    def _keys_of_the_loss(self) -> TrainConfig:
        """Defaults for the keys that the loss reads; a value for one that it does not read is refused."""
        for key, default in _LOSS_DEFAULTS.items():
            if key not in _LOSS_READS[self.loss] and getattr(self, key) is not None:
                readers = [loss for loss, keys in _LOSS_READS.items() if key in keys]
                raise ValueError(
                    f"loss {self.loss} does not read {key} (only {', '.join(readers)}); remove {key}"
                )
            if key in _LOSS_READS[self.loss] and getattr(self, key) is None:
                setattr(self, key, default)
        if self.precision != "float32" and self.loss != "cross_entropy":
            raise ValueError(f"precision {self.precision} is for loss cross_entropy only; remove precision")
        return self


class BaseConfig(_Section):
    """One's own base embeddings instead of a freshly trained item table."""

    embeddings: str | None = Field(None, description="npy, safetensors or parquet with one row per item")


class RefineConfig(_Section):
    """How scores and base embeddings are joined."""

    fuse: Literal["columns", "sum"] = Field(
        "columns",
        description="scores take the place of the base's least columns, or are mapped and added to vectors of full width",
    )
    start: Literal["warm", "fresh"] = Field(
        "warm", description="free columns start from the base's vectors, or anew as the base did"
    )
    cold_items: Literal["own", "borrowed"] = Field(
        "own",
        description="after training, items without training interactions keep their free columns or borrow like items'",
    )
    width: int | None = Field(None, ge=2, description="width of refined embeddings; default: the base's")
    scale: float = Field(
        1.0, gt=0, description="standard deviation of guided columns relative to the PCA columns"
    )
    normalise: Literal["zscore", "minmax", "quantile"] = "zscore"
    clip: float = Field(3.0, gt=0)
    users: bool = Field(True, description="the users' own scores enter the state; else only the items' do")
    user_weight: float = Field(1.0, ge=0, description="start value of the user side's calibration")
    residual: bool = Field(True, description="a free residual per known user")


class EvaluateConfig(_Section):
    """Full ranking, seen items filtered."""

    ks: list[int] = Field(default_factory=lambda: [5, 10, 20])
    bootstrap: int = Field(2000, ge=100)
    confidence: float = Field(0.95, gt=0.5, lt=1)
    baselines: list[str] = Field(
        default_factory=lambda: ["random", "popularity", "popularity_last_week"],
        description="simple recommenders measured beside the models; item_knn and ease are chosen on validation",
    )
    sampled_negatives: int | None = Field(
        None,
        ge=1,
        description="besides full ranking, rank among this many sampled items; only to compare with papers",
    )
    warm_restart: bool = Field(
        False, description="train each model a third longer with a fresh optimiser: does that still help?"
    )
    truth: str | None = Field(None, description="item_id, attribute, value: what scores are held against")
    truth_map: str | None = None

    @field_validator("baselines")
    @classmethod
    def _known_once(cls, value: list[str]) -> list[str]:
        for name in value:
            if name not in BASELINES:
                raise ValueError(f"no baseline '{name}': {nearest(name, BASELINES)}")
            if value.count(name) > 1:
                raise ValueError(f"{name} is given twice")
        return value

    @field_validator("ks")
    @classmethod
    def _positive(cls, value: list[int]) -> list[int]:
        if not value or min(value) < 1:
            raise ValueError("needs at least one cut-off, each 1 or more")
        return sorted(set(value))


class ExplainConfig(_Section):
    """What the explanations are made of."""

    k: int = Field(10, ge=1)


class Config(_Section):
    """Everything a run depends on."""

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: Seed = 0
    seeds: list[Seed] | None = Field(None, min_length=1)
    data: DataConfig = DataConfig()
    attributes: str = "general"
    llm: str = "builtin"
    llm_options: LLMOptions = LLMOptions()
    tune: TuneConfig = TuneConfig()
    backbones: list[Literal["gru4rec", "gru4rec_parallel", "sasrec", "bert4rec"]] = Field(
        default=["sasrec"], min_length=1
    )
    train: TrainConfig = TrainConfig()
    base: BaseConfig = BaseConfig()
    refine: RefineConfig = RefineConfig()
    variants: list[str] | dict[str, list[str]] = Field(
        default_factory=lambda: ["base", "refined", "shuffled"],
        description="for all backbones, or per backbone",
    )
    evaluate: EvaluateConfig = EvaluateConfig()
    explain: ExplainConfig = ExplainConfig()
    # Saved, so that a run finds its scores again, but not hashed: where scores lie changes none of them.
    store: str | None = Field(
        None,
        min_length=1,
        description="where scores are kept: a file, or postgresql://USER@HOST:PORT/DATABASE; default: in the run",
    )

    @field_serializer("store")
    def _no_password(self, value: str | None) -> str | None:
        return value if value is None else without_password(value)

    @field_validator("variants", mode="before")
    @classmethod
    def _list_or_mapping(cls, value: Any) -> Any:
        if value == {}:
            raise ValueError("needs at least one backbone, such as {sasrec: [base, refined]}")
        for names in value.values() if isinstance(value, dict) else [value]:
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise ValueError(f"expected a list of names, or such a list per backbone, not {names!r}")
            if not names:
                raise ValueError("needs at least one name, such as [base]")
        return value

    @field_validator("backbones", "seeds")
    @classmethod
    def _distinct(cls, value: list[Any] | None) -> list[Any] | None:
        twice = sorted({v for v in value or [] if (value or []).count(v) > 1})
        if twice:
            raise ValueError(f"{twice[0]} is given twice")
        return value

    @model_validator(mode="after")
    def _known(self) -> Config:
        per_backbone = self.variants if isinstance(self.variants, dict) else {"": self.variants}
        for backbone, variants in per_backbone.items():
            if backbone and backbone not in BACKBONES:
                raise ValueError(f"variants: no backbone '{backbone}': {nearest(backbone, BACKBONES)}")
            if backbone and backbone not in self.backbones:
                raise ValueError(
                    f"variants: {backbone} is not among the backbones ({', '.join(self.backbones)}); "
                    "add it there or remove it here"
                )
            for variant in variants:
                if variant not in VARIANTS:
                    raise ValueError(f"variants: no variant '{variant}': {nearest(variant, VARIANTS)}")
        return self

    @model_validator(mode="after")
    def _tuned_for_what_is_trained(self) -> Config:
        """Tuning beside the base weighs scores as columns of their own, which a sum has none of."""
        if self.refine.fuse == "sum" and self.tune.enabled and self.tune.task == "base_recommender":
            raise ValueError(
                "tune.task: base_recommender tunes scores that are columns beside the base; "
                "take refine.fuse=columns or another task"
            )
        return self

    @model_validator(mode="after")
    def _users_are_scored(self) -> Config:
        """Users' scores that are to enter a state must be made."""
        if self.refine.users and not self.llm_options.snapshots:
            raise ValueError(
                "llm_options.snapshots: 0 scores no user, and refine.users reads users' scores; "
                "set refine.users=false, or snapshots of 1 and more"
            )
        if self.tune.enabled and self.tune.side == "user" and not self.llm_options.snapshots:
            raise ValueError(
                "tune.side: user tunes the scores of users, and llm_options.snapshots: 0 scores none; "
                "set tune.side=item, or snapshots of 1 and more"
            )
        return self

    @model_validator(mode="after")
    def _heads_divide(self) -> Config:
        """Refuse heads that do not divide a width; one's own base embeddings bring a width that only a run knows."""
        widths = {"refine.width": self.refine.width}
        if self.base.embeddings is None:
            widths["train.width"] = self.train.width
        for key, width in widths.items():
            if width and width % self.train.heads and set(self.backbones) & set(WITH_HEADS):
                fitting = [str(heads) for heads in range(1, width + 1) if width % heads == 0]
                raise ValueError(
                    f"train.heads: {self.train.heads} heads do not divide {key} {width}; "
                    f"fitting: {', '.join(fitting)}"
                )
        return self

    @model_validator(mode="after")
    def _remote_model(self) -> Config:
        """An address needs the model's name, no key in it, and nothing that needs the model's weights."""
        if not self.is_remote:
            return self
        check_address(self.llm)
        if self.llm_options.remote.model is None:
            raise ValueError("llm_options.remote.model: is missing; name the model as the server knows it")
        if self.tune.enabled:
            raise ValueError(
                "tune.enabled: a remote model cannot be tuned, its weights are elsewhere; set tune.enabled=false"
            )
        return self

    @model_validator(mode="after")
    def _digits(self) -> Config:
        check_digits(self.llm_options, remote=self.is_remote, tuned=self.tune.enabled)
        return self

    @property
    def is_remote(self) -> bool:
        """True when `llm` is the address of an endpoint."""
        return is_address(self.llm)

    @property
    def all_seeds(self) -> list[int]:
        """`seeds`, or the one `seed`."""
        return self.seeds if self.seeds else [self.seed]

    def variants_of(self, backbone: str) -> list[str]:
        """Variants to train for a backbone, `base` first (the others are compared with it)."""
        wanted = self.variants.get(backbone, ["base"]) if isinstance(self.variants, dict) else self.variants
        return [v for v in VARIANTS if v in wanted or v == "base"]

    @property
    def refined_backbones(self) -> list[str]:
        """Those with a refined model, SASRec first; the first one's is written out and takes new items."""
        order = dict.fromkeys(("sasrec", *self.backbones))
        return [kind for kind in order if kind in self.backbones and "refined" in self.variants_of(kind)]

    @property
    def sha256(self) -> str:
        """Hash of all values that change a result."""
        return sha256_json(self.model_dump(mode="json", exclude={"store"}))


def without_password(address: str) -> str:
    """An address as it may be written down and shown; what is no address stays as it is.

    >>> without_password("postgresql://ann:secret@db/scores?password=x"), without_password("scores.sqlite")
    ('postgresql://ann@db/scores', 'scores.sqlite')
    """
    scheme, mark, rest = address.partition("://")
    if not mark:
        return address
    who, at, where = rest.rpartition("@")
    where, query, options = where.partition("?")
    kept = [option for option in options.split("&") if option and not option.startswith("password=")]
    return f"{scheme}{mark}{who.partition(':')[0]}{at}{where}{query if kept else ''}{'&'.join(kept)}"
