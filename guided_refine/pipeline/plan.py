"""What a run is to do and what each stage's result depends on; nothing here does any work.

A stage is keyed by a hash of everything it reads. Two runs with equal keys have equal results, so a key must name every
input, and should name nothing else: what it names needlessly is computed again needlessly.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from guided_refine import __version__
from guided_refine.config import TEXT_VARIANTS, WITHOUT_SCORES, Config
from guided_refine.config_file import resolve_data_path
from guided_refine.errors import InputError
from guided_refine.evaluation.sampled import Sampling
from guided_refine.files import sha256_file, sha256_json
from guided_refine.processes import launched
from guided_refine.runfolder import RunFolder
from guided_refine.scoring.attributes import AttributeSet, load_attributes
from guided_refine.scoring.builtin import RECIPE_VERSION
from guided_refine.scoring.builtin.teachers import Teacher, choose_teacher
from guided_refine.scoring.prompt import PROMPT_VERSION
from guided_refine.scoring.remote.questions import scores_depend_on
from guided_refine.tuning import TUNING_VERSION

Unit = tuple[str, str, int]
"""One model to train: backbone, variant, seed."""

#: Of backbones whose network has changed. BERT4Rec 2: no layer between the last block and the item vectors.
ENCODER_VERSIONS = {"bert4rec": 2}

#: What a unit's folder holds of its test and its restart.
MEASURED = ("row.json", "convergence.json")


def unit_name(unit: Unit) -> str:
    """The stage that trains a unit.

    >>> unit_name(("sasrec", "base", 1)), unit_test_name(("sasrec", "base", 1))
    ('sasrec/base/seed1', 'sasrec/base/seed1/test')
    """
    backbone, variant, seed = unit
    return f"{backbone}/{variant}/seed{seed}"


def unit_test_name(unit: Unit) -> str:
    """The stage that tests a unit."""
    return f"{unit_name(unit)}/test"


def unit_restart_name(unit: Unit) -> str:
    """The stage that restarts a unit's training, to see whether it had converged."""
    return f"{unit_name(unit)}/restart"


class Plan:
    """One config, the run folder it goes to, and the files it names.

    `config_folder` is where relative paths in the config start. Raises `InputError` when the attribute set cannot be read.
    """

    def __init__(self, config: Config, folder: RunFolder, config_folder: Path, *, strict: bool) -> None:
        self.config = config
        self.folder = folder
        self.config_folder = config_folder
        self.strict = strict
        self.attributes: AttributeSet = load_attributes(self._attribute_source())

    # ---------------------------------------------------------------- what is asked for

    def units(self) -> list[Unit]:
        """Every model of the run."""
        return [
            (b, v, s)
            for b in self.config.backbones
            for s in self.config.all_seeds
            for v in self.config.variants_of(b)
        ]

    def base_units(self) -> list[Unit]:
        """The bases, which all other units start from; trained even where no row of theirs is asked for."""
        return [(b, "base", s) for b in self.config.backbones for s in self.config.all_seeds]

    @property
    def variants(self) -> set[str]:
        """All variants of all backbones."""
        return {v for b in self.config.backbones for v in self.config.variants_of(b)}

    @property
    def needs_scores(self) -> bool:
        """True when some variant reads attribute scores."""
        return bool(self.variants - WITHOUT_SCORES)

    @property
    def needs_texts(self) -> bool:
        """True when some variant reads vectors of the items' texts."""
        return bool(self.variants & set(TEXT_VARIANTS))

    @property
    def tune_base(self) -> Unit | None:
        """The trained base that tuning adds to, where that is its task: SASRec's where there is one, else the first."""
        if not self.config.tune.enabled or self.config.tune.task != "base_recommender":
            return None
        kinds = self.config.backbones
        return "sasrec" if "sasrec" in kinds else kinds[0], "base", self.config.all_seeds[0]

    @property
    def score_sources(self) -> list[str]:
        """Which scores there are: of the language model as it came, and tuned."""
        return ["untuned", "tuned"] if self.config.tune.enabled else ["untuned"]

    def refined_unit(self) -> Unit | None:
        """The refined model whose tables are written out: SASRec's where there is one, else the first backbone's."""
        kinds = self.config.refined_backbones
        return (kinds[0], "refined", self.config.all_seeds[0]) if kinds else None

    # ---------------------------------------------------------------- files from outside

    def _attribute_source(self) -> str | Path:
        name = self.config.attributes
        if name.endswith((".yaml", ".yml")):
            return self.config_folder / Path(name).expanduser()
        return name

    def resolve(self, path: str) -> Path:
        """A path that the config names."""
        return resolve_data_path(path, self.config_folder)

    @property
    def source(self) -> Path | None:
        """Where the raw data lie; None for a reader that needs none."""
        path = self.config.data.path
        return self.resolve(path) if path is not None else None

    @property
    def store(self) -> Path | str:
        """Address of the scores: what the config says, else a file in the run."""
        return self.config.store or self.folder.store

    @property
    def store_exists(self) -> bool:
        """False where opening the store would make it; of a server nobody knows before asking."""
        return "://" in str(self.store) or Path(self.store).exists()

    @property
    def base_file(self) -> Path | None:
        """The user's own base embeddings."""
        given = self.config.base.embeddings
        return self.resolve(given) if given else None

    @property
    def truth_file(self) -> Path:
        """The truth of one's own, or the one that came with the data."""
        given = self.config.evaluate.truth
        return self.resolve(given) if given else self.folder.data / "truth.parquet"

    @property
    def truth_map(self) -> Path | None:
        """Which names of the truth stand for which attributes."""
        given = self.config.evaluate.truth_map
        return self.resolve(given) if given else None

    @property
    def model_spec(self) -> str:
        """The language model: a folder, where possible found from the config's own, or a hub id."""
        if self.config.llm == "builtin":
            return str(self.folder.builtin)
        beside = self.config_folder / self.config.llm
        return str(beside) if beside.is_dir() else self.config.llm

    @property
    def teacher(self) -> Teacher:
        """Who makes the labels of `builtin`; its path starts from the config's own folder."""
        return choose_teacher(self.config.llm_options.teacher, self.config_folder)

    # ---------------------------------------------------------------- keys

    @staticmethod
    def key(inputs: dict[str, Any]) -> str:
        """Hash of a stage's inputs."""
        return sha256_json({"code": __version__, **inputs})

    @functools.cached_property
    def data_inputs(self) -> dict[str, Any]:
        """What the prepared dataset depends on. Raises `InputError` when the source is not there."""
        from guided_refine.data.readers.source import source_paths

        source = self.source
        files: dict[str, str] = {}
        if source is not None:
            if not source.exists():
                raise InputError(
                    f"data.path: {source} does not exist (relative paths start from "
                    "$GUIDED_REFINE_DATA, else from the config's folder)"
                )
            files = {str(p.relative_to(source.parent)): sha256_file(p) for p in source_paths(source)}
        return {"data": self.config.data.model_dump(mode="json"), "files": files, "strict": self.strict}

    @functools.cached_property
    def model_inputs(self) -> dict[str, Any]:
        """What the untuned scores depend on."""
        inputs: dict[str, Any] = {
            "llm": self.config.llm,
            "options": self.config.llm_options.model_dump(mode="json", exclude={"remote", "teacher"}),
            "attributes": self.attributes.sha256,
            "prompt": PROMPT_VERSION,
            "data": self.key(self.data_inputs),
        }
        if self.config.is_remote:
            return inputs | {"llm": "remote", "remote": scores_depend_on(self.config.llm_options.remote)}
        spec = Path(self.model_spec).expanduser()
        if self.config.llm == "builtin":
            inputs |= {"seed": self.config.seed, "recipe": RECIPE_VERSION}
            if not self.config.llm_options.teacher.is_words:
                inputs |= self.teacher.recipe
        elif spec.is_dir():
            from guided_refine.scoring.language_model import folder_fingerprint

            inputs["files"] = folder_fingerprint(spec)
        return inputs

    @property
    def text_inputs(self) -> dict[str, Any]:
        """What the vectors of the items' texts depend on."""
        return {"model": self.key(self.model_inputs), "vectors": 1}

    @functools.cached_property
    def tune_inputs(self) -> dict[str, Any]:
        """What the tuned scores depend on."""
        inputs: dict[str, Any] = {
            "model": self.key(self.model_inputs),
            "tune": self.config.tune.model_dump(mode="json", exclude={"save_every"}),
            "version": TUNING_VERSION,
            "split": self.config.data.split,
            "seed": self.config.seed,
        }
        if self.tune_base is not None:
            inputs["base"] = self.unit_key(self.tune_base)
            inputs["refine"] = self._refine_inputs
        if self.config.tune.enabled and self.config.tune.held_still:
            inputs["held_still"] = (
                self.config.tune.held_still
            )  # before, both kinds were scored by the adapter
        if launched().count > 1 and self.config.tune.micro_batch_size is None:
            inputs["processes"] = launched().count  # each then draws the dropout of its own share
        return inputs

    def unit_inputs(self, unit: Unit) -> dict[str, Any]:
        """What a trained model depends on."""
        backbone, variant, seed = unit
        inputs: dict[str, Any] = {
            "data": self.key(self.data_inputs),
            "train": _chosen(self.config.train, {"item_std": 0.02}),
            "backbone": backbone,
            "seed": seed,
        }
        if backbone in ENCODER_VERSIONS:
            inputs["encoder"] = ENCODER_VERSIONS[backbone]
        if variant == "shuffled":
            inputs["shuffle"] = 2  # 1 moved the points at which users were scored, too
        if launched().count > 1:  # each reads train.batch_size users in a step
            inputs["processes"] = launched().count
        if self.base_file is not None:
            inputs["embeddings"] = self._embeddings_sha256
        if variant != "base":
            inputs |= {"variant": variant, "refine": self._refine_inputs}
        if variant in TEXT_VARIANTS:
            inputs["texts"] = self.key(self.text_inputs)
            inputs["table"] = 2  # 1 was a class of its own, which cannot be loaded any more
        if variant not in WITHOUT_SCORES:
            inputs["scores"] = self.key(self.tune_inputs)
        return inputs

    @property
    def _refine_inputs(self) -> dict[str, Any]:
        """How scores join the vectors."""
        before = {"fuse": "columns", "start": "warm", "users": True, "cold_items": "own"}
        return _chosen(self.config.refine, before)

    @functools.cached_property
    def _embeddings_sha256(self) -> str:
        assert self.base_file is not None
        return sha256_file(self.base_file)

    def unit_key(self, unit: Unit) -> str:
        """Key of a unit's training."""
        return self.key(self.unit_inputs(unit))

    def unit_test_key(self, unit: Unit) -> str:
        """Key of a unit's test: other cut-offs are measured again from the saved weights."""
        return self.key({"unit": self.unit_key(unit), **self._test_inputs})

    @property
    def sampling(self) -> Sampling | None:
        """Which negatives are drawn, where sampled candidates are asked for; one draw for all models and seeds."""
        count = self.config.evaluate.sampled_negatives
        return None if count is None else Sampling(count, self.config.seed)

    @property
    def _test_inputs(self) -> dict[str, Any]:
        inputs: dict[str, Any] = {"ks": self.config.evaluate.ks, "lists": 1}
        return (
            inputs
            if self.sampling is None
            else {**inputs, "sampling": [self.sampling.count, self.sampling.seed]}
        )

    def unit_restart_key(self, unit: Unit) -> str:
        """Key of a unit's warm restart."""
        evaluate = self.config.evaluate
        return self.key(
            {
                "unit": self.unit_key(unit),
                "bootstrap": [evaluate.bootstrap, evaluate.confidence],
                "restart": 2,
            }
        )

    def baseline_inputs(self, name: str) -> dict[str, Any]:
        """What a measured baseline depends on."""
        return {"baseline": name, "data": self.key(self.data_inputs), **self._test_inputs}

    def report_inputs(self) -> dict[str, Any]:
        """What the report depends on: settings, and what was measured, which may be new where no setting is."""
        own = (self.truth_file if self.config.evaluate.truth else None, self.truth_map)
        measured = [self.folder.unit(*u) / name for u in self.units() for name in MEASURED]
        return {
            "units": [self.unit_key(u) for u in self.units()],
            "measured": [sha256_file(path) for path in measured if path.exists()],
            "evaluate": self.config.evaluate.model_dump(mode="json"),
            "truth": [sha256_file(path) for path in own if path is not None],
            "name": self.config.name,
        }

    # ---------------------------------------------------------------- what is up to date

    def is_scored(self) -> bool:
        """True when the untuned scores are up to date."""
        return self.folder.is_done("score_untuned", self.key(self.model_inputs))

    def is_read(self) -> bool:
        """True when the vectors of the items' texts are up to date."""
        return self.folder.is_done("text_vectors", self.key(self.text_inputs))

    def is_trained(self, unit: Unit) -> bool:
        """True when the unit's weights are up to date."""
        return self.folder.is_done(unit_name(unit), self.unit_key(unit))

    def is_tested(self, unit: Unit) -> bool:
        """True when the unit's rows are up to date."""
        return self.folder.is_done(unit_test_name(unit), self.unit_test_key(unit))

    def is_restarted(self, unit: Unit) -> bool:
        """True when the unit's warm restart is up to date, or none is asked for."""
        if not self.config.evaluate.warm_restart:
            return True
        return self.folder.is_done(unit_restart_name(unit), self.unit_restart_key(unit))


def _chosen(section: BaseModel, before: dict[str, Any]) -> dict[str, Any]:
    """A section's values for a key; what there was no choice of `before` is left out where it is as it was."""
    found = section.model_dump(mode="json")
    return {key: value for key, value in found.items() if key not in before or value != before[key]}
