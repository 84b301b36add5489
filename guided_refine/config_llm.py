"""The part of the configuration that is about the language model."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from guided_refine.config_remote import RemoteOptions
from guided_refine.config_section import Device
from guided_refine.config_teacher import WithTeacher


class LLMOptions(WithTeacher):
    """How a language model is loaded, prompted and run."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: Device = "auto"
    revision: str | None = None
    allow_download: bool = Field(False, description="let transformers reach the hub")
    chat: Literal["auto", "never"] = Field(
        "auto", description="use the tokenizer's chat template where it has one"
    )
    batch_tokens: int = Field(8192, ge=64, description="tokens in one forward pass")
    text_tokens: int = Field(256, ge=8, description="an item's text is cut to this many tokens")
    event_tokens: int = Field(16, ge=2, description="an event in a history is cut to this many tokens")
    history_events: int = Field(
        30, ge=2, description="a user score reads at most this many most recent events"
    )
    snapshots: int = Field(
        4,
        ge=0,
        description="points along a training history at which users are scored; 0: items only, with refine.users=false",
    )
    digits: Literal["soft", "hard"] = Field(
        "soft", description="a score is the mean of the digits that a model thinks of, or the likeliest one"
    )
    calibration: Literal["none", "content_free"] = Field(
        "none",
        description="content_free: take off what the model says of texts that say nothing; not with tuning",
    )
    # builtin only
    hidden: int = Field(128, ge=16, multiple_of=2)
    layers: int = Field(4, ge=1)
    vocabulary: int = Field(4096, ge=300)
    pretrain_epochs: int = Field(12, ge=1, description="builtin's pre-training: a minute or two on two cores")
    remote: RemoteOptions = RemoteOptions()

    @model_serializer(mode="wrap")
    def _usual_digits_unsaid(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Runs made before there was a choice keep their keys."""
        said = self._usual_teacher_unsaid(handler)
        usual = {"digits": "soft", "calibration": "none"}
        return {key: value for key, value in said.items() if key not in usual or value != usual[key]}


def check_digits(options: LLMOptions, *, remote: bool, tuned: bool) -> None:
    """Refuse ways to make scores of digits that the model at hand, or tuning, does not know. Raises `ValueError`."""
    if remote and options.calibration != "none":
        raise ValueError(
            "llm_options.calibration: a remote model cannot be calibrated; set llm_options.calibration=none"
        )
    if remote and options.digits != "soft":
        raise ValueError(
            "llm_options.digits: is for a model on this machine; a remote one gives hard digits with "
            "llm_options.remote.mode=json"
        )
    if tuned and options.calibration != "none":
        raise ValueError(
            "llm_options.calibration: tuning learns from scores as the model gives them, so calibrated ones would not be "
            "those that were tuned; set tune.enabled=false or llm_options.calibration=none"
        )
