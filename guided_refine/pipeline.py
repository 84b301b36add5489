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
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from guided_refine import __version__
from guided_refine.config import Config, resolve_data_path
from guided_refine.errors import InputError
from guided_refine.files import read_json, sha256_file, sha256_json, write_json
from guided_refine.progress import Progress
from guided_refine.runfolder import RunFolder
from guided_refine.scoring.attributes import AttributeSet, load_attributes
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
    pipeline.folder.open(config, update=update)
    if progress is not None:
        progress.log_to(pipeline.folder.log)
    steps: dict[Until, Callable[[], None]] = {
        "score": pipeline.score_untuned,
        "tune": pipeline.tune,
        "train": pipeline.train,
        "refine": pipeline.refine,
        "report": pipeline.report,
    }
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
        width = self.config.refine.width or self.config.train.width
        fused = {v for b in self.config.backbones for v in self.config.variants_of(b)} - {
            "base",
            "warm_restart",
        }
        if fused and len(self.attributes.attributes) >= width:
            raise InputError(
                f"{len(self.attributes.attributes)} attributes do not fit into refined embeddings of width {width}: "
                "at least one column must stay for the base; raise train.width or use fewer attributes"
            )
        if self.config.base.embeddings and not self._base_file().exists():
            raise InputError(f"base.embeddings: {self._base_file()} does not exist")

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
            return sorted(p for p in self.folder.data.iterdir() if p.is_file())

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
            "data": self._key(self._data_inputs),
        }
        if self.config.llm == "builtin":
            inputs["seed"] = self.config.seed
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
            return sorted(p for p in folder.iterdir() if p.is_file())

        self._stage("builtin", self._model_inputs, work)

    def _language_model(self, adapter: Path | None = None) -> Any:
        from guided_refine.scoring.language_model import load_language_model

        if self.config.llm == "builtin":
            return load_language_model(
                str(self.folder.builtin), self.config.llm_options, adapter=adapter, name="builtin"
            )
        spec = self.config.llm
        beside = self.config_folder / spec
        return load_language_model(
            str(beside) if beside.is_dir() else spec, self.config.llm_options, adapter=adapter
        )

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
        if not self.config.tune.enabled:
            return

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
            return sorted(p for p in self.folder.tuning.rglob("*") if p.is_file())

        self._stage("tune", self._tune_inputs, work)
        self._stage("score_tuned", self._tune_inputs, lambda: self._score("tuned", self.folder.adapter))

    # ---------------------------------------------------------------- backbones and variants

    def train(self) -> None:
        """Train the base of every backbone and seed."""
        self.data()
        self._units([(b, "base", s) for b in self.config.backbones for s in self.config.all_seeds])

    def refine(self) -> None:
        """Train the refined variants and controls, and write the refined tables."""
        self.train()
        wanted = {v for b in self.config.backbones for v in self.config.variants_of(b)}
        if wanted - WITHOUT_SCORES:
            self.tune()
            self._score_table()
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
        """Train what is not up to date; units do not depend on each other and share the cores.

        The share is reckoned from all units, done or not, so that a continued run has the same threads each, and
        with them the same numbers.
        """
        todo = [u for u in units if not self._unit_done(u)]
        if not todo:
            return
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
        jobs = max(1, min(self.jobs or cores, len(units)))
        threads = self.config.train.threads or max(1, cores // jobs)
        arguments = [(self.config, self.folder.root, self.config_folder, unit) for unit in todo]
        results = in_processes(
            _train_unit, arguments, jobs=jobs, threads=threads, progress=self.progress, log=self.folder.log
        )
        for index, (files, seconds) in results:
            name, key = _name(todo[index]), self._key(self._unit_inputs(*todo[index]))
            self.folder.record(name, key, files, seconds, self.dataset.split.cut_off)
            shutil.rmtree(self.folder.unit(*todo[index]) / "checkpoint", ignore_errors=True)
            self.progress.log(f"{name}: finished in {seconds:.1f} s")

    def _unit_done(self, unit: Unit) -> bool:
        done = self.folder.is_done(_name(unit), self._key(self._unit_inputs(*unit)))
        if done:
            self.progress.note(f"{_name(unit)}: up to date")
        return done

    def _unit_inputs(self, backbone: str, variant: str, seed: int) -> dict[str, Any]:
        inputs: dict[str, Any] = {
            "data": self._key(self._data_inputs),
            "train": self.config.train.model_dump(mode="json"),
            "backbone": backbone,
            "seed": seed,
            "ks": self.config.evaluate.ks,
        }
        if self.config.base.embeddings:
            inputs["embeddings"] = sha256_file(self._base_file())
        if variant != "base":
            inputs |= {"variant": variant, "refine": self.config.refine.model_dump(mode="json")}
        if variant not in WITHOUT_SCORES:
            inputs["scores"] = self._key(self._tune_inputs)
        return inputs

    def _sources(self) -> dict[str, AttributeScores]:
        sources = {"untuned": self.scores("untuned")}
        if self.config.tune.enabled:
            sources["tuned"] = self.scores("tuned")
        return sources

    def train_unit(self, kind: str, variant: str, seed: int) -> list[Path]:
        """Train one model, rank the test targets once, and write its folder; returns the files."""
        from guided_refine.evaluation.rows import evaluate_unit
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
        files = evaluate_unit(
            model,
            fit,
            self.dataset,
            folder,
            backbone=kind,
            variant=variant,
            seed=seed,
            ks=self.config.evaluate.ks,
        )
        return [*(folder / name for name in ("model.safetensors", "config.json")), *files]

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
        self.refine()
        units = self._all_units()
        inputs = {
            "units": [self._key(self._unit_inputs(*u)) for u in units],
            "evaluate": self.config.evaluate.model_dump(mode="json"),
            "name": self.config.name,
        }

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

    def _truth_rows(self) -> Any:
        if not self.folder.score_table.exists():
            return None
        given = self.config.evaluate.truth
        path = resolve_data_path(given, self.config_folder) if given else self.folder.data / "truth.parquet"
        if not given and not path.exists():
            return None
        from guided_refine.evaluation.truth import compare_with_truth

        mapping = self.config.evaluate.truth_map
        return compare_with_truth(
            self.folder.root,
            path,
            resolve_data_path(mapping, self.config_folder) if mapping else None,
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


def _name(unit: Unit) -> str:
    backbone, variant, seed = unit
    return f"{backbone}/{variant}/seed{seed}"


def _train_unit(
    config: Config, out: Path, config_folder: Path, unit: Unit, progress: Progress
) -> tuple[list[Path], float]:
    """One unit in a worker process; returns its files and seconds."""
    started = time.monotonic()
    files = Pipeline(config, RunFolder(out), config_folder, progress=progress).train_unit(*unit)
    return files, time.monotonic() - started
