"""The stages of a run, in the order in which data flow; each is skipped when its inputs did not change."""

from __future__ import annotations

import functools
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guided_refine.config import Config
from guided_refine.files import read_json, write_json
from guided_refine.pipeline.checks import (
    check_config,
    check_embeddings,
    check_scoring_device,
    check_texts,
    check_training_device,
    check_truth,
)
from guided_refine.pipeline.plan import Plan, Unit, unit_name, unit_restart_name, unit_test_name
from guided_refine.pipeline.text_vectors import write_text_vectors
from guided_refine.pipeline.trainings import do_units
from guided_refine.pipeline.tuning import tune_run
from guided_refine.pipeline.units import (
    CHECKPOINT,
    RESTART_CHECKPOINT,
    Done,
    Todo,
    load_unit,
    run_dataset,
    run_scores,
)
from guided_refine.processes import launched
from guided_refine.progress import Progress
from guided_refine.runfolder import RunFolder

if TYPE_CHECKING:
    from guided_refine.data.dataset import Dataset
    from guided_refine.scoring.scorer import ScoringSummary
    from guided_refine.scoring.scores import AttributeScores
    from guided_refine.scoring.store import ScoreStore


class Stages:
    """Brings the artefacts of one `Plan` up to date. A stage first calls the ones it needs.

    Only with `tests` are the test targets read; without, trainings end with validation.
    """

    def __init__(
        self, plan: Plan, *, tests: bool, jobs: int | None = None, progress: Progress | None = None
    ) -> None:
        self.plan = plan
        self.tests = tests
        self.config: Config = plan.config
        self.folder: RunFolder = plan.folder
        self.jobs = jobs
        self.progress = progress or Progress(quiet=True)
        check_config(plan, jobs)

    def _stage(self, name: str, inputs: dict[str, Any], work: Callable[[], Iterable[Path]]) -> None:
        """Do `work` unless it is up to date; `work` returns the files it wrote."""
        key = self.plan.key(inputs)
        if self.folder.is_done(name, key):
            self.progress.note(f"{name}: up to date")
            return
        self.progress.log(f"{name}: started")
        started = time.monotonic()
        files = list(work())
        seconds = time.monotonic() - started
        self.folder.record(name, key, files, seconds, self.dataset.split.cut_off)
        self.progress.log(f"{name}: finished in {seconds:.1f} s")

    @functools.cached_property
    def dataset(self) -> Dataset:
        """The prepared data, split; there once `data` is done."""
        return run_dataset(self.plan)

    # ---------------------------------------------------------------- stages

    def data(self) -> None:
        """Read the source, filter it, and write the prepared dataset into the run."""

        def work() -> list[Path]:
            from guided_refine.data.prepare import prepare

            prepare(
                self.config.data.reader,
                self.plan.source,
                self.folder.data,
                options=self.config.data,
                name=self.config.name,
                strict=self.plan.strict,
                progress=self.progress,
            )
            return _files_in(self.folder.data)

        self._stage("data", self.plan.data_inputs, work)

    def builtin(self) -> None:
        """Pre-train the builtin language model, where it is the one asked for."""
        check_scoring_device(self.plan)
        self.data()
        if self.config.llm != "builtin":
            return

        def work() -> list[Path]:
            from guided_refine.scoring.builtin import train_builtin

            folder = train_builtin(
                self.dataset,
                self.plan.attributes,
                self.config.llm_options,
                self.folder.builtin,
                seed=self.config.seed,
                teacher=self.plan.teacher,
                progress=self.progress,
            )
            return _files_in(folder)

        self._stage("builtin", self.plan.model_inputs, work)

    def language_model(self, adapter: Path | None = None) -> Any:
        """The run's language model, ready to score."""
        from guided_refine.scoring.language_model import load_language_model

        name = "builtin" if self.config.llm == "builtin" else None
        return load_language_model(self.plan.model_spec, self.config.llm_options, adapter=adapter, name=name)

    def score(self) -> None:
        """Score with the untuned model; `scores.parquet` holds these scores until tuned ones of the same config exist."""
        self.score_untuned()
        tuned = self.plan.key(self.plan.tune_inputs)
        stages = ("tune", "score_tuned")
        if not self.config.tune.enabled or all(self.folder.is_done(stage, tuned) for stage in stages):
            self._score_table()
            return
        if any(stage in self.folder.manifest()["stages"] for stage in stages):
            self.progress.log("scores.parquet holds untuned scores only, until the run is tuned again")
        self._write_score_table(self.plan.model_inputs, ["untuned"])
        self.folder.forget("scores_alone")

    def score_untuned(self) -> None:
        """Score items and users with the language model as it came."""
        self.builtin()
        self._stage("score_untuned", self.plan.model_inputs, lambda: self._score("untuned", None))

    def _score(self, source: str, adapter: Path | None) -> list[Path]:
        from dataclasses import asdict

        from guided_refine.scoring.scores import save_scores
        from guided_refine.scoring.store import ScoreStore

        with ScoreStore(self.plan.store) as store:
            scores, summary = self._scored(source, adapter, store)
        save_scores(scores, self.folder.scores(source))
        summary_file = self.folder.root / "scores" / f"{source}.json"
        write_json(summary_file, asdict(summary))
        return [self.folder.scores(source), summary_file]

    def _scored(
        self, source: str, adapter: Path | None, store: ScoreStore
    ) -> tuple[AttributeScores, ScoringSummary]:
        if self.config.is_remote:
            from guided_refine.pipeline.remote import score_remotely

            return score_remotely(self.plan, self.dataset, store, self.progress)
        from guided_refine.scoring.scorer import score_dataset

        still = self.config.tune.held_still if source == "tuned" else None
        return score_dataset(
            self.language_model(adapter),
            self.dataset,
            self.plan.attributes,
            self.config.llm_options,
            store,
            source=source,
            instead=still and (still, run_scores(self.plan, self.dataset, "untuned")["untuned"]),
            progress=self.progress,
        )

    def text_vectors(self) -> None:
        """Read one vector per item off the untuned language model, for the variants that are held against scores."""
        self.builtin()

        self._stage(
            "text_vectors",
            self.plan.text_inputs,
            lambda: write_text_vectors(self.plan, self.dataset, self.language_model(), self.progress),
        )

    def tune(self) -> None:
        """Tune a LoRA adapter on training interactions, and score again with it."""
        self.score_untuned()
        if self.config.tune.enabled:
            self._tune()
        self._score_table()

    def _tune(self) -> None:
        base = self.plan.tune_base
        if base is not None:
            self.train()

        def work() -> list[Path]:
            launched().tell({"work": "tune", "unit": base})
            return tune_run(self.plan, self.dataset, base, self.progress)

        self._stage("tune", self.plan.tune_inputs, work)
        self._stage("score_tuned", self.plan.tune_inputs, lambda: self._score("tuned", self.folder.adapter))

    # ---------------------------------------------------------------- backbones and variants

    def train(self) -> None:
        """Train the base of every backbone and seed."""
        check_training_device(self.plan)
        self.data()
        check_embeddings(self.plan, self.dataset)
        self._units(self.plan.base_units())

    def refine(self) -> None:
        """Train the refined variants and controls, and write the refined tables."""
        check_scoring_device(self.plan)
        check_training_device(self.plan)
        self.data()
        if self.plan.needs_scores or self.plan.needs_texts:
            check_texts(self.plan, self.dataset)
        self.train()
        if self.plan.needs_texts:
            self.text_vectors()
        if self.plan.needs_scores:
            self.tune()
        else:
            self.folder.forget("score_table")
            self.folder.forget("scores_alone")
        self._units([u for u in self.plan.units() if u[1] != "base"])
        self._refined_tables()

    def _units(self, units: list[Unit]) -> None:
        """Train what is not up to date, and test it where that is asked for; units do not depend on each other."""
        plan = self.plan
        todo = {
            u: Todo(
                train=not plan.is_trained(u),
                test=self.tests and not plan.is_tested(u),
                restart=not plan.is_restarted(u),
            )
            for u in units
        }
        for unit in units:
            if not self.config.evaluate.warm_restart:
                self.folder.forget(unit_restart_name(unit))
            if not todo[unit]:
                self.progress.note(f"{unit_name(unit)}: up to date")
        todo = {unit: parts for unit, parts in todo.items() if parts}
        if not todo:
            return
        for unit, done in do_units(plan, todo, len(units), self.jobs, self.progress):
            self._record_unit(unit, done)

    def _record_unit(self, unit: Unit, done: Done) -> None:
        plan = self.plan
        for name, key, part in (
            (unit_name(unit), plan.unit_key(unit), done.train),
            (unit_test_name(unit), plan.unit_test_key(unit), done.test),
            (unit_restart_name(unit), plan.unit_restart_key(unit), done.restart),
        ):
            if part is not None:
                cut_off = self.dataset.split.cut_off
                count = 1 if part is done.test else launched().count
                self.folder.record(
                    name, key, part.files, part.seconds, cut_off, peak=done.peak, processes=count
                )
        for checkpoint in (CHECKPOINT, RESTART_CHECKPOINT):
            shutil.rmtree(self.folder.unit(*unit) / checkpoint, ignore_errors=True)
        verb = "finished" if done.train else "tested" if done.test else "restarted"
        self.progress.log(f"{unit_name(unit)}: {verb} in {done.seconds:.1f} s")

    # ---------------------------------------------------------------- tables and report

    def _score_table(self) -> None:
        self._write_score_table(self.plan.tune_inputs, self.plan.score_sources)
        if not self.config.llm_options.snapshots:
            # Without users' scores there is nothing that scores alone could rank by.
            self.folder.forget("scores_alone")
            return
        inputs = {"scores": self.plan.key(self.plan.tune_inputs)}
        refine = self.config.refine
        self._stage("scores_alone", {**inputs, "z": [refine.normalise, refine.clip]}, self._rank_by_scores)

    def _write_score_table(self, made_of: dict[str, Any], sources: list[str]) -> None:
        def work() -> list[Path]:
            import pandas as pd

            from guided_refine.files import write_parquet
            from guided_refine.scoring.summary import summarise

            scores = run_scores(self.plan, self.dataset, *sources)
            ids, positions = self.dataset.item_ids.tolist(), self.dataset.split.test
            frames = [s.to_frame(ids, self.dataset.user_ids, positions) for s in scores.values()]
            counts = {source: read_json(self.folder.root / "scores" / f"{source}.json") for source in sources}
            write_parquet(self.folder.score_table, pd.concat(frames, ignore_index=True))
            write_json(self.folder.summary, {"counts": counts, **summarise(scores)})
            return [self.folder.score_table, self.folder.summary]

        self._stage("score_table", {"scores": self.plan.key(made_of)}, work)

    def _rank_by_scores(self) -> list[Path]:
        from guided_refine.evaluation.scores_alone import rank_by_scores

        scores, refine = run_scores(self.plan, self.dataset), self.config.refine
        rows = rank_by_scores(
            scores, self.dataset, method=refine.normalise, clip=refine.clip, progress=self.progress
        )
        write_json(self.folder.scores_alone, rows)
        return [self.folder.scores_alone]

    def _refined_tables(self) -> None:
        unit = self.plan.refined_unit()
        if unit is None:
            self.folder.forget("refined_tables")
            return

        def work() -> list[Path]:
            from guided_refine.files import write_parquet
            from guided_refine.refine.frames import refined_items, refined_users

            model = load_unit(self.plan, unit)
            write_parquet(
                self.folder.refined_items, refined_items(model, self.dataset, self.plan.attributes.names)
            )
            write_parquet(
                self.folder.refined_users, refined_users(model, self.dataset, self.plan.attributes.names)
            )
            return [self.folder.refined_items, self.folder.refined_users]

        self._stage("refined_tables", self.plan.unit_inputs(unit), work)

    def baselines(self) -> None:
        """Fit and test the simple recommenders that the models are held against."""
        self.data()
        if self.plan.sampling is not None:
            from guided_refine.evaluation.sampled import warning

            self.progress.log(f"WARNING: {warning(self.plan.sampling.count)}")
        for name in self.config.evaluate.baselines:
            self._stage(
                f"baselines/{name}", self.plan.baseline_inputs(name), functools.partial(self._baseline, name)
            )

    def _baseline(self, name: str) -> list[Path]:
        from guided_refine.evaluation.baselines.measure import measure_baseline

        return measure_baseline(
            name,
            self.dataset,
            self.folder.baseline(name),
            ks=self.config.evaluate.ks,
            sampling=self.plan.sampling,
            progress=self.progress,
        )

    def report(self) -> None:
        """Collect rows, compare with the base, hold scores against the truth where there is one, write the report."""
        check_scoring_device(self.plan)
        check_training_device(self.plan)
        self.data()
        check_truth(self.plan, self.dataset)
        self.baselines()
        self.refine()

        def work() -> list[Path]:
            from guided_refine.evaluation.details import collect_details
            from guided_refine.evaluation.rows import collect
            from guided_refine.reporting.report import write_report

            units = [self.folder.unit(*u) for u in self.plan.units()]
            collect(self.folder.root, units, self.config.evaluate, seed=self.config.seed)
            details = collect_details(
                self.folder.root,
                units,
                [self.folder.baseline(name) for name in self.config.evaluate.baselines],
                self.dataset,
                self.config.evaluate,
                attribute_scores=self._untuned_item_scores(),
                seed=self.config.seed,
            )
            truth = self._truth_rows()
            if truth is not None:
                write_json(self.folder.truth, truth)
            else:
                self.folder.truth.unlink(missing_ok=True)
                (self.folder.root / "plots" / "recovery.png").unlink(missing_ok=True)
            written = write_report(self.folder.root)
            files = [self.folder.metrics, self.folder.differences, self.folder.per_user, *details, *written]
            return [*files, self.folder.truth] if truth is not None else files

        self._stage("report", self.plan.report_inputs(), work)

    def _untuned_item_scores(self) -> Any:
        if not self.plan.needs_scores:
            return None
        return run_scores(self.plan, self.dataset, "untuned")["untuned"].item_value

    def _truth_rows(self) -> Any:
        if not self.folder.score_table.exists():
            return None
        given = self.config.evaluate.truth is not None
        if not given and not self.plan.truth_file.exists():
            return None
        from guided_refine.evaluation.truth import compare_with_truth

        return compare_with_truth(
            self.folder.root,
            self.plan.truth_file,
            self.plan.truth_map,
            bag_of_words=self._bag_of_words(),
            only_known=not given,
            bootstrap=self.config.evaluate.bootstrap,
            confidence=self.config.evaluate.confidence,
            seed=self.config.seed,
        )

    def _bag_of_words(self) -> Any:
        import pandas as pd

        from guided_refine.scoring.builtin.bag_of_words import bag_of_words

        counts = bag_of_words(self.dataset.texts, self.plan.attributes)
        return pd.DataFrame(counts, columns=self.plan.attributes.names).assign(item_id=self.dataset.item_ids)


def _files_in(folder: Path) -> list[Path]:
    """All files below; hidden ones are what a kill in the middle of a write leaves."""
    return sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
