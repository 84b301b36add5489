"""What can be known to fail before hours of work: each check raises `InputError` with one sentence."""

from __future__ import annotations

from guided_refine.config import TEXT_VARIANTS, WITHOUT_SCORES
from guided_refine.data.dataset import Dataset
from guided_refine.data.prepare import check_reader
from guided_refine.errors import InputError
from guided_refine.pipeline.plan import Plan


def check_config(plan: Plan, jobs: int | None) -> None:
    """Files that the config names, and room for the attributes beside the PCA columns."""
    config = plan.config
    if jobs is not None and jobs < 1:
        raise InputError(f"jobs is {jobs}, but at least one model must train at a time")
    given = {
        "base.embeddings": config.base.embeddings,
        "evaluate.truth": config.evaluate.truth,
        "evaluate.truth_map": config.evaluate.truth_map,
    }
    check_reader(config.data.reader)
    for key, path in given.items():
        if path is not None and not plan.resolve(path).is_file():
            raise InputError(f"{key}: {plan.resolve(path)} is not a file")
    if config.train.tensorboard:
        from guided_refine.backbones.live_curves import need_tensorboard

        need_tensorboard()
    if config.is_remote and plan.needs_texts:
        asked = sorted(plan.variants & set(TEXT_VARIANTS))
        raise InputError(
            f"variants: {', '.join(asked)} read a model's inner states, which no server gives; take a local llm or leave "
            "them out"
        )
    if config.base.embeddings is None or config.refine.width is not None:
        _check_width(plan, config.train.width)


def check_scoring_device(plan: Plan) -> None:
    """Refuse a device for the language model that is not here, unless all is scored and read."""
    read = (plan.needs_scores and not plan.is_scored()) or (plan.needs_texts and not plan.is_read())
    if read and not plan.config.is_remote:
        _check_device(plan.config.llm_options.device, "llm_options.device")


def check_training_device(plan: Plan) -> None:
    """Refuse a device for the backbones that is not here, unless all are trained."""
    if not all(plan.is_trained(unit) for unit in plan.units()):
        _check_device(plan.config.train.device, "train.device")


def _check_device(device: str, key: str) -> None:
    if device not in ("auto", "cpu"):  # these need no torch to be loaded
        from guided_refine.devices import pick_device

        pick_device(device, key)


def _check_width(plan: Plan, base_width: int) -> None:
    from guided_refine.refine.pca import kept_columns

    if plan.config.refine.fuse == "columns" and plan.variants - {"base", "warm_restart", *TEXT_VARIANTS}:
        kept_columns(plan.config.refine.width or base_width, len(plan.attributes.attributes))


def check_model(plan: Plan) -> None:
    """Refuse a language model that cannot score; `builtin` is made to fit, where its teacher can teach."""
    if plan.is_scored() and (plan.is_read() or not plan.needs_texts):
        return
    if plan.config.llm == "builtin":
        plan.teacher.check(plan.attributes)
        return
    if plan.config.is_remote:
        from guided_refine.scoring.remote.endpoint import read_key
        from guided_refine.scoring.remote.texts import TextMeasure, beside_config

        remote = beside_config(plan.config.llm_options, plan.config_folder).remote
        read_key(remote)
        TextMeasure(remote.tokenizer)
        return
    from guided_refine.scoring.language_model import check_language_model

    check_language_model(plan.model_spec, plan.config.llm_options, plan.attributes)


def check_store(plan: Plan) -> None:
    """Refuse a store of one's own that cannot be used; a run's own file is opened when there is something to put in."""
    if plan.config.store is None or plan.is_scored():
        return
    from guided_refine.scoring.store import ScoreStore

    ScoreStore(plan.store).close()


def check_texts(plan: Plan, dataset: Dataset) -> None:
    """Refuse a catalog about which a language model has nothing to read."""
    if not plan.is_scored() and not any(text.strip() for text in dataset.texts):
        textless = ", ".join(sorted(WITHOUT_SCORES - set(TEXT_VARIANTS)))
        raise InputError(
            f"{dataset.name}: no item has a text, so the language model has nothing to read; add text columns to the "
            f"items, or ask only for the variants {textless}"
        )


def check_embeddings(plan: Plan, dataset: Dataset) -> None:
    """Refuse base embeddings that do not belong to the catalog, or leave no room for the attributes."""
    if plan.base_file is None or all(plan.is_trained(u) for u in plan.base_units()):
        return
    from guided_refine.refine.base_embeddings import load_base_embeddings

    vectors = load_base_embeddings(plan.base_file, dataset.item_ids.tolist())
    _check_width(plan, vectors.shape[1])


def check_truth(plan: Plan, dataset: Dataset) -> None:
    """Refuse a truth of one's own that cannot be compared."""
    if not plan.config.evaluate.truth or plan.folder.is_done("report", plan.key(plan.report_inputs())):
        return
    from guided_refine.evaluation.truth import read_truth

    read_truth(plan.truth_file, plan.attributes.names, dataset.item_ids.tolist(), map_file=plan.truth_map)
