"""The main job, stage by stage: data, language model, scores, tuning, backbones, refined variants, report.

`run(config, out)` does all of it; every stage is skipped when its inputs did not change, and continues where a
killed run stopped. `docs/architecture.md` draws how data flow.
"""

from __future__ import annotations

import functools
import os
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from guided_refine import __version__
from guided_refine.config import Config, resolve_data_path
from guided_refine.errors import InputError
from guided_refine.files import read_json, sha256_file, sha256_json, write_json
from guided_refine.progress import Progress
from guided_refine.runfolder import RunFolder
from guided_refine.scoring.attributes import AttributeSet, load_attributes
from guided_refine.scoring.prompt import PROMPT_VERSION
from guided_refine.workers import in_processes

if TYPE_CHECKING:
    from guided_refine.backbones.backbone import Backbone
    from guided_refine.data.dataset import Dataset
    from guided_refine.scoring.scores import AttributeScores

Until = Literal["score", "tune", "train", "refine", "report"]
Unit = tuple[str, str, int]
#: Variants that read no attribute score.
WITHOUT_SCORES = {"base", "warm_restart", "pca_only"}


def run(
    config: Config,
    out: Path | str,
    *,
    config_folder: Path | str = ".",
    until: Until = "report",
    strict: bool = False,
    update: bool = False,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> RunFolder:
    """Bring the run folder `out` up to date with `config`, as far as stage `until`.

    `config_folder`: what relative paths in the config start from. `strict`: faulty rows stop the run.
    `update`: take over a folder that another config made.
    `jobs`: models trained at once (default: one per core). Raises `InputError` for anything the user can mend.
    """
    pipeline = Pipeline(
        config, RunFolder(out), Path(config_folder), strict=strict, jobs=jobs, progress=progress
    )
    steps: dict[Until, Callable[[], None]] = {
        "score": pipeline.score_untuned,
        "tune": pipeline.tune,
        "train": pipeline.train,
        "refine": pipeline.refine,
        "report": pipeline.report,
    }
    with pipeline.folder.lock():
        pipeline.folder.open(config, update=update)
        if progress is not None:
            progress.log_to(pipeline.folder.log)
        if until in ("score", "tune") or (until != "train" and pipeline.needs_scores):
            pipeline.check_model()
        steps[until]()
    return pipeline.folder


class Pipeline:
    """The stages of one run. Methods are in the order in which data flow."""

    def __init__(
        self,
        config: Config,
        folder: RunFolder,
        config_folder: Path,
        *,
        strict: bool = False,
        jobs: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.config = config
        self.folder = folder
        self.config_folder = config_folder
        self.strict = strict
        self.jobs = jobs
        self.progress = progress or Progress(quiet=True)
        self.attributes: AttributeSet = load_attributes(self._beside_config(config.attributes))
        self._check()

    def _check(self) -> None:
        """What can be known to fail before any work is done."""
        if self.jobs is not None and self.jobs < 1:
            raise InputError(f"jobs is {self.jobs}, but at least one model must train at a time")
        given = {
            "base.embeddings": self.config.base.embeddings,
            "evaluate.truth": self.config.evaluate.truth,
            "evaluate.truth_map": self.config.evaluate.truth_map,
        }
        for key, path in given.items():
            if path is not None and not resolve_data_path(path, self.config_folder).is_file():
                raise InputError(f"{key}: {resolve_data_path(path, self.config_folder)} is not a file")
        if self.config.base.embeddings is None or self.config.refine.width is not None:
            self._check_width(self.config.train.width)

    def _check_width(self, base_width: int) -> None:
        from guided_refine.refine.pca import kept_columns

        if self._variants - {"base", "warm_restart"}:
            kept_columns(self.config.refine.width or base_width, len(self.attributes.attributes))

    def check_model(self) -> None:
        """Refuse a language model that cannot score before anything is trained; `builtin` is made to fit."""
        if self.config.llm == "builtin" or self._is_scored():
            return
        from guided_refine.scoring.language_model import check_language_model

        check_language_model(self._model_spec, self.config.llm_options, self.attributes)

    def _check_embeddings(self) -> None:
        """Refuse embeddings that do not belong to the catalog, or leave no room for the attributes."""
        from guided_refine.refine.base_embeddings import load_base_embeddings

        vectors = load_base_embeddings(self._base_file(), self.dataset.item_ids.tolist())
        self._check_width(vectors.shape[1])

    def _check_truth(self) -> None:
        """Refuse a truth of one's own that cannot be compared, before anything is trained."""
        from guided_refine.evaluation.truth import read_truth

        read_truth(
            resolve_data_path(str(self.config.evaluate.truth), self.config_folder),
            self.attributes.names,
            self.dataset.item_ids.tolist(),
            map_file=self._truth_map,
        )

    def _check_texts(self) -> None:
        """Refuse a catalog about which a language model has nothing to read."""
        if not self._is_scored() and not any(text.strip() for text in self.dataset.texts):
            raise InputError(
                f"{self.dataset.name}: no item has a text, so no attribute can be scored; add text columns to the "
                f"items, or ask only for the variants {', '.join(sorted(WITHOUT_SCORES))}"
            )

    def _is_scored(self) -> bool:
        return self.folder.is_done("score_untuned", self._key(self._model_inputs))

    @property
    def _variants(self) -> set[str]:
        return {v for b in self.config.backbones for v in self.config.variants_of(b)}

    @property
    def needs_scores(self) -> bool:
        """True when some variant reads attribute scores."""
        return bool(self._variants - WITHOUT_SCORES)

    def _beside_config(self, name: str) -> str | Path:
        if name.endswith((".yaml", ".yml")):
            return self.config_folder / Path(name).expanduser()
        return name

    def _base_file(self) -> Path:
        return resolve_data_path(str(self.config.base.embeddings), self.config_folder)

    # ---------------------------------------------------------------- bookkeeping

    def _stage(
        self, name: str, inputs: dict[str, Any], work: Callable[[], Iterable[Path]], *, cut_off: bool = True
    ) -> None:
        """Do `work` unless it is up to date; `work` returns the files it wrote."""
        key = self._key(inputs)
        if self.folder.is_done(name, key):
            self.progress.note(f"{name}: up to date")
            return
        self.progress.log(f"{name}: started")
        started = time.monotonic()
        files = list(work())
        self.folder.record(
            name, key, files, time.monotonic() - started, self.dataset.split.cut_off if cut_off else None
        )
        self.progress.log(f"{name}: finished in {time.monotonic() - started:.1f} s")

    @staticmethod
    def _key(inputs: dict[str, Any]) -> str:
        return sha256_json({"code": __version__, **inputs})

    @functools.cached_property
    def dataset(self) -> Dataset:
        """The prepared data, split."""
        from guided_refine.data.dataset import load_dataset

        data = self.config.data
        return load_dataset(
            self.folder.data, split=data.split, valid_share=data.valid_share, test_share=data.test_share
        )

    @functools.lru_cache(maxsize=2)  # noqa: B019 (one pipeline lives as long as its process)
    def scores(self, source: str) -> AttributeScores:
        """Scores of a source; refuses a file made under another split."""
        from guided_refine.scoring.scores import load_scores

        return load_scores(self.folder.scores(source), cut_off=self.dataset.split.cut_off)

    # ---------------------------------------------------------------- stages

    def data(self) -> None:
        """Read the source, filter it, and write the prepared dataset into the run."""

        def work() -> list[Path]:
            from guided_refine.data.prepare import prepare

            prepare(
                self.config.data.reader,
                self._source(),
                self.folder.data,
                options=self.config.data,
                name=self.config.name,
                strict=self.strict,
                progress=self.progress,
            )
            return _files_in(self.folder.data)

        self._stage("data", self._data_inputs, work)

    def _source(self) -> Path | None:
        path = self.config.data.path
        return resolve_data_path(path, self.config_folder) if path is not None else None

    @functools.cached_property
    def _data_inputs(self) -> dict[str, Any]:
        source = self._source()
        files: dict[str, str] = {}
        if source is not None:
            if not source.exists():
                raise InputError(
                    f"data.path: {source} does not exist (relative paths start from "
                    "$GUIDED_REFINE_DATA, else from the config's folder)"
                )
            every = sorted(p for p in source.rglob("*") if p.is_file()) if source.is_dir() else [source]
            files = {str(p.relative_to(source.parent)): sha256_file(p) for p in every}
        return {"data": self.config.data.model_dump(mode="json"), "files": files, "strict": self.strict}

    @functools.cached_property
    def _model_inputs(self) -> dict[str, Any]:
        inputs: dict[str, Any] = {
            "llm": self.config.llm,
            "options": self.config.llm_options.model_dump(mode="json"),
            "attributes": self.attributes.sha256,
            "prompt": PROMPT_VERSION,
            "data": self._key(self._data_inputs),
        }
        if self.config.llm == "builtin":
            from guided_refine.scoring.builtin import RECIPE_VERSION

            inputs |= {"seed": self.config.seed, "recipe": RECIPE_VERSION}
        elif Path(self._model_spec).expanduser().is_dir():
            from guided_refine.scoring.language_model import folder_fingerprint

            inputs["files"] = folder_fingerprint(Path(self._model_spec).expanduser())
        return inputs

    def builtin(self) -> None:
        """Pre-train the builtin language model, where it is the one asked for."""
        self.data()
        if self.config.llm != "builtin":
            return

        def work() -> list[Path]:
            from guided_refine.scoring.builtin import train_builtin

            folder = train_builtin(
                self.dataset,
                self.attributes,
                self.config.llm_options,
                self.folder.builtin,
                seed=self.config.seed,
                progress=self.progress,
            )
            return _files_in(folder)

        self._stage("builtin", self._model_inputs, work)

    @property
    def _model_spec(self) -> str:
        """A folder, where possible found from the config's own, or a hub id."""
        if self.config.llm == "builtin":
            return str(self.folder.builtin)
        beside = self.config_folder / self.config.llm
        return str(beside) if beside.is_dir() else self.config.llm

    def _language_model(self, adapter: Path | None = None) -> Any:
        from guided_refine.scoring.language_model import load_language_model

        name = "builtin" if self.config.llm == "builtin" else None
        return load_language_model(self._model_spec, self.config.llm_options, adapter=adapter, name=name)

    def score_untuned(self) -> None:
        """Score items and users with the language model as it came."""
        self.builtin()
        self._stage("score_untuned", self._model_inputs, lambda: self._score("untuned", None))

    def _score(self, source: str, adapter: Path | None) -> list[Path]:
        from dataclasses import asdict

        from guided_refine.scoring.scorer import score_dataset
        from guided_refine.scoring.scores import save_scores
        from guided_refine.scoring.store import ScoreStore

        with ScoreStore(self.folder.store) as store:
            scores, summary = score_dataset(
                self._language_model(adapter),
                self.dataset,
                self.attributes,
                self.config.llm_options,
                store,
                source=source,
                progress=self.progress,
            )
        save_scores(scores, self.folder.scores(source))
        summary_file = self.folder.root / "scores" / f"{source}.json"
        write_json(summary_file, asdict(summary))
        self.scores.cache_clear()
        return [self.folder.scores(source), summary_file]

    @functools.cached_property
    def _tune_inputs(self) -> dict[str, Any]:
        return {
            "model": self._key(self._model_inputs),
            "tune": self.config.tune.model_dump(mode="json"),
            "split": self.config.data.split,
            "seed": self.config.seed,
        }

    def tune(self) -> None:
        """Tune a LoRA adapter on training interactions, and score again with it."""
        self.score_untuned()
        if self.config.tune.enabled:
            self._tune()
        self._score_table()

    def _tune(self) -> None:
        def work() -> list[Path]:
            from guided_refine.tuning.tune import tune

            tune(
                self._language_model(),
                self.dataset,
                self.attributes,
                self.config.tune,
                self.config.llm_options,
                self.folder.tuning,
                item_scores=self.scores("untuned"),
                seed=self.config.seed,
                progress=self.progress,
            )
            return _files_in(self.folder.tuning)

        self._stage("tune", self._tune_inputs, work)
        self._stage("score_tuned", self._tune_inputs, lambda: self._score("tuned", self.folder.adapter))

    # ---------------------------------------------------------------- backbones and variants

    def train(self) -> None:
        """Train the base of every backbone and seed."""
        self.data()
        units: list[Unit] = [(b, "base", s) for b in self.config.backbones for s in self.config.all_seeds]
        if self.config.base.embeddings and not all(self._is_trained(u) for u in units):
            self._check_embeddings()
        self._units(units)

    def refine(self) -> None:
        """Train the refined variants and controls, and write the refined tables."""
        self.data()
        if self.needs_scores:
            self._check_texts()
        self.train()
        if self.needs_scores:
            self.tune()
        self._units([u for u in self._all_units() if u[1] != "base"])
        self._refined_tables()

    def _all_units(self) -> list[Unit]:
        return [
            (b, v, s)
            for b in self.config.backbones
            for s in self.config.all_seeds
            for v in self.config.variants_of(b)
        ]

    def _units(self, units: list[Unit]) -> None:
        """Train and test what is not up to date; units do not depend on each other and share the cores.

        The share is reckoned from all units, done or not, so that a continued run has the same threads each, and
        with them the same numbers.
        """
        trained = {u: self._is_trained(u) for u in units}
        todo = [u for u in units if not (trained[u] and self._is_tested(u))]
        for unit in units:
            if unit not in todo:
                self.progress.note(f"{_name(unit)}: up to date")
        if not todo:
            return
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
        jobs = max(1, min(self.jobs or cores, len(units)))
        threads = self.config.train.threads or max(1, cores // jobs)
        arguments = [(self.config, self.folder.root, self.config_folder, u, trained[u]) for u in todo]
        results = in_processes(
            _train_unit, arguments, jobs=jobs, threads=threads, progress=self.progress, log=self.folder.log
        )
        cut_off = self.dataset.split.cut_off
        for index, done in results:
            unit = todo[index]
            if not trained[unit]:
                key = self._key(self._unit_inputs(*unit))
                self.folder.record(_name(unit), key, done.trained, done.train_seconds, cut_off)
                shutil.rmtree(self.folder.unit(*unit) / "checkpoint", ignore_errors=True)
            self.folder.record(
                _test_name(unit), self._test_key(unit), done.tested, done.test_seconds, cut_off
            )
            verb = "tested" if trained[unit] else "finished"
            self.progress.log(f"{_name(unit)}: {verb} in {done.train_seconds + done.test_seconds:.1f} s")

    def _is_trained(self, unit: Unit) -> bool:
        return self.folder.is_done(_name(unit), self._key(self._unit_inputs(*unit)))

    def _is_tested(self, unit: Unit) -> bool:
        return self.folder.is_done(_test_name(unit), self._test_key(unit))

    def _test_key(self, unit: Unit) -> str:
        return self._key({"unit": self._key(self._unit_inputs(*unit)), "ks": self.config.evaluate.ks})

    def _unit_inputs(self, backbone: str, variant: str, seed: int) -> dict[str, Any]:
        inputs: dict[str, Any] = {
            "data": self._key(self._data_inputs),
            "train": self.config.train.model_dump(mode="json"),
            "backbone": backbone,
            "seed": seed,
        }
        if self.config.base.embeddings:
            inputs["embeddings"] = self._embeddings_sha256
        if variant != "base":
            inputs |= {"variant": variant, "refine": self.config.refine.model_dump(mode="json")}
        if variant not in WITHOUT_SCORES:
            inputs["scores"] = self._key(self._tune_inputs)
        return inputs

    @functools.cached_property
    def _embeddings_sha256(self) -> str:
        return sha256_file(self._base_file())

    def _sources(self) -> dict[str, AttributeScores]:
        sources = {"untuned": self.scores("untuned")}
        if self.config.tune.enabled:
            sources["tuned"] = self.scores("tuned")
        return sources

    def train_unit(self, kind: str, variant: str, seed: int) -> list[Path]:
        """Train one model and write its folder; returns the files."""
        from guided_refine.evaluation.rows import write_fit
        from guided_refine.refine.variants import build_base, build_variant

        folder = self.folder.unit(kind, variant, seed)
        if variant == "base":
            model = build_base(
                kind,
                self.dataset,
                self.config,
                seed,
                embeddings=self._base_file() if self.config.base.embeddings else None,
            )
        else:
            needs_scores = variant not in WITHOUT_SCORES
            model = build_variant(
                variant,
                self.dataset,
                self.load_unit(kind, "base", seed),
                self._sources() if needs_scores else {},
                self.config,
                seed,
                attributes=self.attributes.names,
            )
        fit = model.fit(self.dataset, checkpoint=folder / "checkpoint", progress=self.progress)
        model.save(folder)
        return [folder / "model.safetensors", folder / "config.json", *write_fit(fit, folder)]

    def test_unit(self, kind: str, variant: str, seed: int) -> list[Path]:
        """Rank the test targets with the saved weights of one model; returns the files written."""
        from guided_refine.evaluation.rows import evaluate_unit, read_fit

        folder = self.folder.unit(kind, variant, seed)
        return evaluate_unit(
            self.load_unit(kind, variant, seed),
            read_fit(folder),
            self.dataset,
            folder,
            backbone=kind,
            variant=variant,
            seed=seed,
            ks=self.config.evaluate.ks,
            progress=self.progress,
        )

    def load_unit(self, backbone: str, variant: str, seed: int) -> Backbone:
        """A trained model of this run."""
        from guided_refine.backbones.backbone import Backbone

        return Backbone.load(self.folder.unit(backbone, variant, seed))

    # ---------------------------------------------------------------- tables and report

    def _score_table(self) -> None:
        def work() -> list[Path]:
            import pandas as pd

            from guided_refine.files import write_parquet

            positions = self.dataset.split.test
            frames = [
                s.to_frame(self.dataset.item_ids.tolist(), self.dataset.user_ids, positions)
                for s in self._sources().values()
            ]
            write_parquet(self.folder.score_table, pd.concat(frames, ignore_index=True))
            write_json(self.folder.summary, self._summary())
            return [self.folder.score_table, self.folder.summary]

        self._stage("score_table", {"scores": self._key(self._tune_inputs)}, work)

    def _summary(self) -> dict[str, Any]:
        from guided_refine.scoring.summary import summarise

        counts = {
            source: read_json(self.folder.root / "scores" / f"{source}.json") for source in self._sources()
        }
        return {"counts": counts, **summarise(self._sources())}

    def _refined_tables(self) -> None:
        kind, seed = self.config.backbones[0], self.config.all_seeds[0]
        for kind in ("sasrec", *self.config.backbones):
            if kind in self.config.backbones and "refined" in self.config.variants_of(kind):
                break
        else:
            return

        def work() -> list[Path]:
            from guided_refine.files import write_parquet
            from guided_refine.refine.frames import refined_items, refined_users

            model = self.load_unit(kind, "refined", seed)
            write_parquet(
                self.folder.refined_items, refined_items(model, self.dataset, self.attributes.names)
            )
            write_parquet(
                self.folder.refined_users, refined_users(model, self.dataset, self.attributes.names)
            )
            return [self.folder.refined_items, self.folder.refined_users]

        self._stage("refined_tables", self._unit_inputs(kind, "refined", seed), work)

    def report(self) -> None:
        """Collect rows, compare with the base, hold scores against the truth where there is one, write the report."""
        units = self._all_units()
        own = (self._truth_file if self.config.evaluate.truth else None, self._truth_map)
        inputs = {
            "units": [self._key(self._unit_inputs(*u)) for u in units],
            "evaluate": self.config.evaluate.model_dump(mode="json"),
            "truth": [sha256_file(path) for path in own if path is not None],
            "name": self.config.name,
        }
        self.data()
        if self.config.evaluate.truth and not self.folder.is_done("report", self._key(inputs)):
            self._check_truth()
        self.refine()

        def work() -> list[Path]:
            from guided_refine.evaluation.rows import collect
            from guided_refine.reporting.report import write_report

            collect(
                self.folder.root,
                [self.folder.unit(*u) for u in units],
                self.config.evaluate,
                seed=self.config.seed,
            )
            truth = self._truth_rows()
            if truth is not None:
                write_json(self.folder.truth, truth)
            written = write_report(self.folder.root)
            files = [self.folder.metrics, self.folder.differences, self.folder.per_user, *written]
            return [*files, self.folder.truth] if truth is not None else files

        self._stage("report", inputs, work)

    @property
    def _truth_file(self) -> Path:
        """The truth of one's own, or the one that came with the data."""
        given = self.config.evaluate.truth
        return resolve_data_path(given, self.config_folder) if given else self.folder.data / "truth.parquet"

    @property
    def _truth_map(self) -> Path | None:
        given = self.config.evaluate.truth_map
        return resolve_data_path(given, self.config_folder) if given else None

    def _truth_rows(self) -> Any:
        if not self.folder.score_table.exists():
            return None
        given = self.config.evaluate.truth is not None
        if not given and not self._truth_file.exists():
            return None
        from guided_refine.evaluation.truth import compare_with_truth

        return compare_with_truth(
            self.folder.root,
            self._truth_file,
            self._truth_map,
            bag_of_words=self._bag_of_words(),
            only_known=not given,
            bootstrap=self.config.evaluate.bootstrap,
            confidence=self.config.evaluate.confidence,
            seed=self.config.seed,
        )

    def _bag_of_words(self) -> Any:
        import pandas as pd

        from guided_refine.scoring.builtin.bag_of_words import bag_of_words

        counts = bag_of_words(self.dataset.texts, self.attributes)
        return pd.DataFrame(counts, columns=self.attributes.names).assign(item_id=self.dataset.item_ids)


def _files_in(folder: Path) -> list[Path]:
    """All files below; hidden ones are what a kill in the middle of a write leaves."""
    return sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))


def _name(unit: Unit) -> str:
    backbone, variant, seed = unit
    return f"{backbone}/{variant}/seed{seed}"


def _test_name(unit: Unit) -> str:
    return f"{_name(unit)}/test"


@dataclass(frozen=True)
class _Done:
    """What a worker did for one unit."""

    trained: list[Path]
    train_seconds: float
    tested: list[Path]
    test_seconds: float


def _train_unit(
    config: Config, out: Path, config_folder: Path, unit: Unit, is_trained: bool, progress: Progress
) -> _Done:
    """One unit in a worker process: trained, unless it is, and tested."""
    pipeline = Pipeline(config, RunFolder(out), config_folder, progress=progress)
    started = time.monotonic()
    trained = [] if is_trained else pipeline.train_unit(*unit)
    middle = time.monotonic()
    tested = pipeline.test_unit(*unit)
    return _Done(trained, middle - started, tested, time.monotonic() - middle)
