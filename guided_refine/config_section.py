"""What every section of the configuration has in common."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

Device = Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")]


class Section(BaseModel):
    """Unknown keys are refused, and so are numbers that are not finite and true where a number belongs."""

    model_config = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Python counts true as 1, so that `layers: true` would pass."""
        kind = cls.model_fields[info.field_name or ""].annotation
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, bool) and kind is not bool:
                raise ValueError(f"{str(part).lower()} is no value for this key")
        return value
