"""Learning from a better model's scores: labels, the pupil they make, and what stays as it was without them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file
from scipy.stats import spearmanr
from toy_catalog import OPTIONS, attributes, catalog, dataset

from guided_refine.cli import main
from guided_refine.config import Config, LLMOptions
from guided_refine.config_file import parse_config
from guided_refine.config_teacher import TeacherOptions
from guided_refine.data.dataset import Dataset, from_frames
from guided_refine.data.sample import generate
from guided_refine.errors import InputError
from guided_refine.files import read_json
from guided_refine.pipeline.plan import Plan
from guided_refine.progress import Progress
from guided_refine.runfolder import RunFolder
from guided_refine.scoring.attributes import AttributeSet, load_attributes
from guided_refine.scoring.builtin import pretrain
from guided_refine.scoring.builtin.distil import Distilled
from guided_refine.scoring.builtin.teacher import digit_distributions, weak_labels
from guided_refine.scoring.builtin.teachers import Words, choose_teacher
from guided_refine.scoring.language_model import load_language_model
from guided_refine.scoring.prompt import build_prompt, tokenise_texts
from guided_refine.scoring.slots import SlotReader, soft_scores


def table(path: Path, scored: int = 40, *, spread: float | None = 0.05) -> Path:
    """The toy catalog's humour, and its opposite as speed, for the first items."""
    _, funny = catalog(n=60)
    value = np.stack([np.where(funny, 0.8, 0.1), np.where(funny, 0.3, 0.9)], axis=1)[:scored]
    rows = pd.DataFrame(
        {
            "item_id": np.repeat([f"i{i}" for i in range(scored)], 2),
            "attribute": ["humour", "speed"] * scored,
            "value": value.ravel(),
        }
    )
    (rows if spread is None else rows.assign(spread=spread)).to_csv(path, index=False)
    return path


def test_scored_items_keep_their_scores_and_the_others_are_foreseen(tmp_path: Path) -> None:
    data = dataset()
    data.items.loc[[5, 50], "text"] = ""
    quiet = Progress(quiet=True)
    labels = Distilled(table(tmp_path / "t.csv")).labels(data, attributes(), seed=0, progress=quiet)
    _, funny = catalog(n=60)
    scored = np.arange(60) < 40
    scored[5] = False
    np.testing.assert_allclose(labels.value[scored, 0], np.where(funny, 0.8, 0.1)[scored])
    assert labels.width is not None
    np.testing.assert_allclose(labels.width[scored], 0.5)
    assert (labels.confidence[scored] == 1).all() and (labels.confidence[[5, 50]] == 0).all()
    others = ~scored & (labels.confidence[:, 0] > 0)
    assert (labels.confidence[others] < 1).all()
    assert labels.value[others & funny, 0].min() > labels.value[others & ~funny, 0].max()
    # Without spreads a bell of usual width is learned.
    plain = Distilled(table(tmp_path / "u.csv", spread=None)).labels(
        data, attributes(), seed=0, progress=quiet
    )
    assert plain.width is not None
    np.testing.assert_allclose(plain.width[scored], 0.75)


def test_the_bell_has_the_teachers_value_and_spread() -> None:
    digits = np.arange(1, 10)
    for value, width in ((0.5, 1.0), (0.4, 0.6), (0.6, 1.2)):
        mass = digit_distributions(np.array([value]), np.array([0.0]), np.array([width]))[0]
        mean = mass @ digits
        assert mean == pytest.approx(1 + 8 * value, abs=0.05)
        assert np.sqrt(mass @ (digits - mean) ** 2) == pytest.approx(width, abs=0.05)


@pytest.fixture(scope="module")
def pupil(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pupil")
    options = OPTIONS.model_copy(update={"teacher": TeacherOptions(distil=str(table(out / "t.csv")))})
    return pretrain.train_builtin(dataset(), attributes(), options, out / "m", seed=3)


def test_another_teacher_builds_another_model_and_says_so(pupil: Path, tmp_path: Path) -> None:
    usual = pretrain.train_builtin(dataset(), attributes(), OPTIONS, tmp_path / "m", seed=3)
    name = "model.embed_tokens.weight"
    assert not np.array_equal(*(load_file(f / "model.safetensors")[name] for f in (usual, pupil)))
    cards = [(folder / "README.md").read_text() for folder in (usual, pupil)]
    assert "words of the attributes' own definitions" in cards[0] and "scores in `t.csv`" in cards[1]
    recipes = [read_json(folder / "pretraining.json")["recipe"] for folder in (usual, pupil)]
    assert [recipe["teacher"] for recipe in recipes] == ["words", "distil"]
    # The same file elsewhere is the same teacher; other scores are another.
    again = table(tmp_path / "copy.csv")
    assert Distilled(again).recipe["scores"] == recipes[1]["scores"]
    assert Distilled(table(tmp_path / "more.csv", 41)).recipe["scores"] != recipes[1]["scores"]


def test_the_usual_teacher_changes_no_key_and_no_label(monkeypatch: pytest.MonkeyPatch) -> None:
    texts, _ = catalog(n=60)
    labels = Words().labels(dataset(), attributes(), seed=3, progress=Progress(quiet=True))
    wanted = weak_labels(texts, attributes(), seed=3)
    np.testing.assert_array_equal(labels.value, wanted.value)
    np.testing.assert_array_equal(labels.confidence, wanted.confidence)
    assert labels.width is None and labels.ranks is labels.value
    # Written down from before there was a choice of teachers, when the recipe was the fourth.
    monkeypatch.setattr(pretrain, "RECIPE_VERSION", 4)
    key = pretrain._key(dataset(), attributes(), OPTIONS, 3, Words.recipe)
    assert key == "5cdd66c5c7ed5c8fc04cd7872f15012578503fca39fec96b05a34401632c27ff"
    for raw in ({}, {"teacher": "words"}):
        config = parse_config({"name": "x", "llm_options": raw})
        assert "teacher" not in config.model_dump(mode="json")["llm_options"]
        assert config.sha256 == parse_config({"name": "x"}).sha256


def plan(tmp_path: Path, teacher: object) -> Plan:
    raw = {
        "name": "x",
        "data": {"reader": "sample"},
        "attributes": "movies",
        "llm_options": {"teacher": teacher},
    }
    return Plan(parse_config(raw), RunFolder(tmp_path / "run"), tmp_path, strict=False)


def test_the_run_key_follows_the_scores_not_their_place(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    one, same, other = (table(tmp_path / n, k) for n, k in (("a.csv", 40), ("sub/b.csv", 40), ("c.csv", 41)))
    keys = [
        Plan.key(plan(tmp_path, t).model_inputs)
        for t in ("words", {"distil": one.name}, {"distil": "sub/b.csv"}, {"distil": str(other)})
    ]
    assert keys[1] == keys[2] and len(set(keys)) == 3
    assert same.exists()
    saved = Config.model_validate(plan(tmp_path, {"distil": "a.csv"}).config.model_dump(mode="json"))
    assert saved.llm_options.teacher.distil == "a.csv"


@pytest.mark.parametrize(
    ("teacher", "said"),
    [
        ("'{distil: none.csv}'", "neither a run folder nor a table"),
        ("'{distil: t.csv}'", "scores 'speed', which the attribute set 'movies' does not have"),
        ("'{encoder: none}'", "is not a folder"),
        ("wordz", "expected words, {encoder: FOLDER} or {distil: RUN or TABLE}"),
        ("'{distil: a, encoder: b}'", "a model has one teacher"),
    ],
)
def test_a_run_that_cannot_be_taught_ends_with_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], teacher: str, said: str
) -> None:
    table(tmp_path / "t.csv")
    (tmp_path / "c.yaml").write_text(
        "name: x\ndata: {reader: sample, options: {n_items: 60, n_users: 20}}\nattributes: movies\n"
        f"llm_options: {{teacher: {teacher.strip(chr(39))}}}\n"
    )
    code = main(["run", str(tmp_path / "c.yaml"), "--out", str(tmp_path / "run")])
    error = capsys.readouterr().err.strip()
    assert code == 2 and said in error.splitlines()[-1]
    assert "Traceback" not in error


def test_too_few_scored_items_stop_the_training(tmp_path: Path) -> None:
    options = OPTIONS.model_copy(
        update={"teacher": TeacherOptions(distil=str(table(tmp_path / "t.csv", 19)))}
    )
    with pytest.raises(InputError, match="for 19 items of this catalog that have a text, but at least 20"):
        pretrain.train_builtin(dataset(), attributes(), options, tmp_path / "m", seed=0)


def sample_scores(out: Path, options: LLMOptions, data: Dataset, movies: AttributeSet) -> np.ndarray:
    folder = pretrain.train_builtin(
        data, movies, options, out, seed=0, teacher=choose_teacher(options.teacher)
    )
    language_model = load_language_model(str(folder), LLMOptions(device="cpu"))
    rows = tokenise_texts(language_model.tokenizer, data.texts, options.text_tokens)
    reader = SlotReader(language_model.model, build_prompt(language_model.tokenizer, movies, "item"))
    with torch.no_grad():
        return soft_scores(reader.digit_logits([ids for ids, _ in rows]).logits)[0].numpy()


@pytest.mark.slow
def test_a_pupil_of_known_scores_beats_the_words_on_items_nobody_scored(tmp_path: Path) -> None:
    """The sample's truth of 300 films stands for the best model one can afford; three attributes keep it short."""
    world = generate(7, n_items=500, n_users=60)
    movies = load_attributes("movies")
    movies = movies.model_copy(update={"attributes": movies.attributes[:3]})
    films = world.items
    text = films["title"] + "; " + films["genres"] + "; " + films["description"]
    events = world.interactions[["user_id", "item_id", "timestamp"]]
    data = from_frames("sample", films.assign(text=text)[["item_id", "title", "text"]], events)
    truth = world.truth.pivot(index="item_id", columns="attribute", values="value")
    truth = truth.loc[data.item_ids, movies.names]
    scored = np.random.default_rng(0).permutation(data.n_items) < 300
    given = world.truth[world.truth["attribute"].isin(movies.names)]
    given = given[given["item_id"].isin(data.item_ids[scored])]
    given.to_csv(tmp_path / "best.csv", index=False)
    options = LLMOptions(
        hidden=64,
        layers=2,
        vocabulary=1500,
        pretrain_epochs=5,
        history_events=4,
        text_tokens=96,
        event_tokens=12,
    )
    taught = options.model_copy(update={"teacher": TeacherOptions(distil=str(tmp_path / "best.csv"))})
    found = {
        name: np.mean(
            [
                spearmanr(value[~scored, a], truth.to_numpy()[~scored, a]).statistic
                for a in range(len(movies.names))
            ]
        )
        for name, value in (
            ("words", sample_scores(tmp_path / "words", options, data, movies)),
            ("distilled", sample_scores(tmp_path / "distilled", taught, data, movies)),
        )
    }
    assert found["distilled"] > found["words"] + 0.1, found
    assert found["distilled"] > 0.55, found
