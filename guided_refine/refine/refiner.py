"""`GuidedRefiner`: refined item vectors for the embeddings of any recommender, in scikit-learn's manner.

Guided Embedding Refinement, Jia et al. 2025, https://arxiv.org/abs/2504.11658: [PCA of the base ; guided scores].
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted, validate_data

from guided_refine.errors import InputError, nearest
from guided_refine.files import atomic_path
from guided_refine.refine.normalise import Method, Normaliser
from guided_refine.refine.pca import Reduction, fit_pca
from guided_refine.refine.table import guided_scale

FORMAT = 1


class GuidedRefiner(TransformerMixin, BaseEstimator):
    """Base embeddings and attribute scores in, refined embeddings of the base's width out.

    The base's columns are reduced by PCA to make room, the scores are normalised on the catalog and brought to the
    spread of the principal components: the columns that `guided-refine run` gives its refined models to start from.

    Parameters
    ----------
    attributes: which columns of X hold attribute scores: their names, where X is a DataFrame, or how many of the last
        columns. All others are the base's. Without any, the base is reduced only.
    width: columns of the refined vectors, more than there are attributes; by default as many as the base has.
    normalise, clip: "zscore" (cut at +-clip), "minmax" or "quantile"; see `Normaliser`.
    scale: standard deviation of guided columns relative to that of the principal components, both as means.

    Attributes
    ----------
    pca_: `Reduction` of the base. scaler_: `Normaliser` of the scores. scale_: the factor on normalised scores.
    n_features_in_, feature_names_in_: as everywhere in scikit-learn.

    `fit` and `transform` take X of shape (items, base columns + attributes). A score may be NaN, which counts as the
    catalog's mean; a base value may not. Attributes come out in the order of X's columns. Both raise `InputError` (a
    `ValueError`) on settings or columns that do not fit.

    >>> import pandas as pd
    >>> X = pd.DataFrame({"x": [0.0, 2.0, 4.0], "y": [1.0, 1.0, 4.0], "humour": [0.1, 0.9, 0.5]}, index=["a", "b", "c"])
    >>> refiner = GuidedRefiner(["humour"]).set_output(transform="pandas")
    >>> refiner.fit_transform(X).round(2).loc["b"].to_dict()
    {'pc_1': -0.65, 'humour': 2.56}
    """

    def __init__(
        self,
        attributes: Sequence[str] | int = 0,
        *,
        width: int | None = None,
        normalise: Method = "zscore",
        clip: float = 3.0,
        scale: float = 1.0,
    ) -> None:
        self.attributes = attributes
        self.width = width
        self.normalise = normalise
        self.clip = clip
        self.scale = scale

    def fit(self, X: Any, y: Any = None) -> GuidedRefiner:
        """Learn components, normalisation and scale from the catalog's items; `y` is not read."""
        self._check_settings()
        values = validate_data(self, X, dtype=[np.float64, np.float32], ensure_all_finite="allow-nan")
        guided = self._guided()
        base, scores = self._apart(values, guided)
        width = base.shape[1] if self.width is None else int(self.width)
        if width <= guided.sum():
            raise InputError(
                f"{guided.sum()} attributes leave no room for the base in vectors of width {width}; give a larger width, "
                "or fewer attributes"
            )
        self.guided_ = np.flatnonzero(guided)
        self.pca_ = fit_pca(base, width - int(guided.sum()))
        self.scaler_ = Normaliser.fit(scores, self.normalise, self.clip) if guided.any() else None
        self.scale_ = 1.0
        if self.scaler_ is not None:
            reduced, normalised = self.pca_.project(base), self.scaler_.normalised(scores)
            self.scale_ = guided_scale(torch.from_numpy(reduced), torch.from_numpy(normalised), self.scale)
        return self

    def transform(self, X: Any) -> Any:
        """Refined vectors of these items, also of ones that `fit` has not seen; (items, width), as precise as X."""
        check_is_fitted(self)
        values = validate_data(
            self, X, dtype=[np.float64, np.float32], ensure_all_finite="allow-nan", reset=False
        )
        guided = np.zeros(self.n_features_in_, dtype=bool)
        guided[self.guided_] = True
        base, scores = self._apart(values, guided)
        columns = [self.pca_.project(base)]
        if self.scaler_ is not None:
            columns.append(self.scaler_.normalised(scores) * self.scale_)
        return np.concatenate(columns, axis=1).astype(values.dtype, copy=False)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """`pc_1 ...`, then the names of the attributes' columns."""
        check_is_fitted(self)
        names = _check_feature_names_in(self, input_features)
        reduced = [f"pc_{i}" for i in range(1, len(self.pca_.components) + 1)]
        if twice := sorted(set(reduced) & set(names[self.guided_])):
            raise InputError(
                f"an attribute is called '{twice[0]}', as a column of the reduced base; give it another name"
            )
        return np.array([*reduced, *names[self.guided_]], dtype=object)

    def save(self, path: Path | str) -> None:
        """Write all that was learned to one safetensors file, settings in its header; `set_output` is not kept.

        Raises `NotFittedError` before `fit`.
        """
        from safetensors.numpy import save_file

        check_is_fitted(self)
        tensors = {
            "guided": self.guided_,
            "mean": self.pca_.mean,
            "components": self.pca_.components,
            "explained": self.pca_.explained,
        }
        if self.scaler_ is not None:
            tensors |= {"x": self.scaler_.x, "y": self.scaler_.y, "fill": self.scaler_.fill}
        params = self.get_params()
        if not _is_whole(self.attributes):
            params["attributes"] = [str(name) for name in self._asked()]
        header = {
            "format": FORMAT,
            "params": params,
            "scale": self.scale_,
            "n_features_in": self.n_features_in_,
            "feature_names_in": list(getattr(self, "feature_names_in_", [])),
        }
        with atomic_path(Path(path)) as temporary:
            # safetensors writes what lies in memory, whatever the order of the axes says.
            in_order = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
            save_file(in_order, temporary, metadata={"guided_refiner": json.dumps(header, default=_plain)})

    @classmethod
    def load(cls, path: Path | str) -> GuidedRefiner:
        """A fitted refiner from `save`; raises `InputError` where the file is none."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "np") as file:
                text = (file.metadata() or {}).get("guided_refiner", "")
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise InputError(f"{path} is not a readable safetensors file ({error})") from error
        try:
            header = json.loads(text)
            if header["format"] != FORMAT:
                raise ValueError("another format")
            refiner = cls(**header["params"])
            refiner.n_features_in_ = header["n_features_in"]
            if header["feature_names_in"]:
                refiner.feature_names_in_ = np.array(header["feature_names_in"], dtype=object)
            refiner.guided_, refiner.scale_ = tensors["guided"], header["scale"]
            refiner.pca_ = Reduction(tensors["mean"], tensors["components"], tensors["explained"])
            refiner.scaler_ = (
                Normaliser(tensors["x"], tensors["y"], tensors["fill"]) if "x" in tensors else None
            )
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} holds no refiner of this version; fit it again and save it") from error
        return refiner

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _check_settings(self) -> None:
        if self.normalise not in ("zscore", "minmax", "quantile"):
            raise InputError(f"normalise={self.normalise!r} is none of zscore, minmax, quantile")
        for name in ("clip", "scale"):
            value = getattr(self, name)
            if not isinstance(value, Real) or not 0 < float(value) < np.inf:
                raise InputError(f"{name}={value!r}, expected a finite number above 0")
        if self.width is not None and (not _is_whole(self.width) or self.width < 1):
            raise InputError(f"width={self.width!r}, expected a whole number of 1 or more, or None")

    def _guided(self) -> np.ndarray:
        """Which columns of X are scores, (columns,)."""
        found = np.zeros(self.n_features_in_, dtype=bool)
        if _is_whole(self.attributes):
            count = int(self.attributes)  # type: ignore[arg-type]
            if not 0 <= count <= self.n_features_in_:
                raise InputError(f"attributes={count}, but X has {self.n_features_in_} columns")
            found[self.n_features_in_ - count :] = True
        else:
            names = getattr(self, "feature_names_in_", None)
            for name in self._asked():
                if names is None:
                    raise InputError(
                        "attributes are given by name, but X has no names that are text; give it as a DataFrame with "
                        "text as column names, or say how many of the last columns are attributes"
                    )
                if name not in names:
                    raise InputError(f"X has no column '{name}': {nearest(str(name), names)}")
                found |= names == name
        if found.all():
            raise InputError(
                f"X has {len(found)} feature(s), all of them attributes; the base needs at least one"
            )
        return found

    def _asked(self) -> list[Any]:
        """The names of `attributes`."""
        if isinstance(self.attributes, str) or not isinstance(
            self.attributes, (Sequence, np.ndarray, pd.Index)
        ):
            raise InputError(
                f"attributes={self.attributes!r}, expected a list of column names, or how many of the last columns"
            )
        return list(self.attributes)

    def _apart(self, values: np.ndarray, guided: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Base columns and score columns; a base value that is missing is refused with its row."""
        base, scores = values[:, ~guided], values[:, guided]
        bad = np.flatnonzero(np.isnan(base).any(axis=1))
        if len(bad):
            raise InputError(
                f"X contains NaN in a column of the base, first in row {bad[0]}; only scores may be missing"
            )
        return base, scores


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _plain(value: Any) -> Any:
    """What numpy brings, as JSON can write it."""
    return value.item() if isinstance(value, np.generic) else str(value)
