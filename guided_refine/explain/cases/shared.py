"""What all case studies of a run share: the models to compare with, the truth, the trial, and where it all comes from."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from guided_refine import __version__
from guided_refine.errors import InputError
from guided_refine.explain.contributions import Contributions
from guided_refine.explain.explainer import Explainer, load_model
from guided_refine.explain.trial_report import read_trial, verdict
from guided_refine.explain.trial_shape import OrNull, misfit
from guided_refine.files import read_json

if TYPE_CHECKING:
    from guided_refine.backbones.backbone import Backbone

CONTROL = "shuffled"
_SPREAD = OrNull({"rows": [{"attribute": str, "source": str}]})

_Written = tuple[tuple[int, int], ...]


# As long as an explainer is open, so are the models beside it: a page that shows one case after the other loads them once,
# and again when a run in progress has written them.
_MODELS: WeakKeyDictionary[Explainer, dict[str, tuple[_Written, Backbone | None]]] = WeakKeyDictionary()


class Shared:
    """An explainer and what stands beside its model in the run; each part is read once, when first asked for."""

    def __init__(self, explainer: Explainer) -> None:
        self.explainer = explainer
        self.models = _MODELS.setdefault(explainer, {})

    @property
    def base(self) -> Backbone | None:
        """The base of the same backbone and seed; None where it is not trained."""
        return self._model("base")

    @property
    def control(self) -> Backbone | None:
        """The model that was refined with shuffled scores; None where the run has none."""
        return self._model(CONTROL)

    def _model(self, variant: str) -> Backbone | None:
        folder = self.explainer.folder
        unit = folder.unit(self.explainer.backbone, variant, self.explainer.seed)
        written = _written(unit / "config.json", unit / "model.safetensors")
        kept = self.models.get(variant)
        if kept is None or kept[0] != written:
            # Also where nothing is there: what the run has trained and is gone is not a model that it never had.
            folder.check_files(unit)
            kept = self.models[variant] = written, load_model(unit) if written else None
        return kept[1]

    def ranked(self, model: Backbone, user: int) -> Contributions:
        """All items' scores of another model for a user number, so that they can be ranked; nothing is taken apart."""
        score = model.score(np.array([user]), "test", self.explainer.dataset)[0].astype(np.float64)
        return Contributions(["score"], score, score[:, None])

    @cached_property
    def truth(self) -> dict[str, Any] | None:
        """What `truth.json` holds; None where the run has none."""
        path = self.explainer.folder.truth
        if not path.exists():
            return None
        again = self.explainer.folder.again
        found = read_json(path, made_by=again)
        if not isinstance(found, dict) or misfit(found.get("spread"), _SPREAD) is not None:
            raise InputError(
                f"{path} is damaged: it is not what a run writes; delete it and make it anew with: {again}"
            )
        return found

    @cached_property
    def trial(self) -> dict[str, Any]:
        """Whether the run's explanations were tried: `users`, `of` and `sentence`."""
        found = read_trial(self.explainer)
        if found is not None:
            try:
                sample = found["sample"]
                return {
                    "users": int(sample["users"]),
                    "of": int(sample["of"]),
                    "sentence": verdict(found),
                }
            except InputError:
                pass  # a trial of no user says nothing
        users = self.explainer.dataset.n_users
        return {
            "users": 0,
            "of": users,
            "sentence": f"Whether these explanations are true of the model was tried on 0 of {users} users so far; to try "
            "them: guided-refine explain RUN",
        }

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Where the numbers come from; nothing in it names a place on this machine."""
        explainer = self.explainer
        data, split, config = explainer.dataset, explainer.dataset.split, explainer.config
        manifest = explainer.folder.manifest()
        stage = manifest["stages"].get(f"{explainer.backbone}/refined/seed{explainer.seed}", {})
        return {
            "run": explainer.folder.root.resolve().name,
            "config_sha256": config.sha256,
            "seed": explainer.seed,
            "seeds": [int(seed) for seed in config.all_seeds],
            "attributes": list(explainer.scores.attributes),
            "split": split.kind,
            "split_sha256": split.sha256,
            "users": data.n_users,
            "items": data.n_items,
            "interactions": int(sum(len(sequence) for sequence in data.sequences)),
            "trained": stage.get("finished"),
            "trained_with": manifest.get("version"),
            "written_with": __version__,
        }


def _written(*files: Path) -> _Written:
    """When each file was written and how long it is; empty where one of them is not there."""
    try:
        return tuple((stat.st_mtime_ns, stat.st_size) for stat in (file.stat() for file in files))
    except OSError:
        return ()
