"""Every key is known, overrides reach any depth, and a wrong key says what was meant."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from guided_refine.config import VARIANTS, Config, TrainConfig
from guided_refine.config_file import load_config, parse_config, resolve_data_path
from guided_refine.errors import InputError

EXPERIMENTS = Path(__file__).resolve().parents[1] / "experiments"
RUN_CONFIGS = [
    p for p in sorted(EXPERIMENTS.rglob("*.yaml")) if "\nbackbones:" in p.read_text(encoding="utf-8")
]


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_overrides_reach_any_depth_and_keep_their_type(tmp_path: Path) -> None:
    config = load_config(
        written(tmp_path, "name: x\n"),
        ["train.max_epochs=5", "evaluate.ks=[10, 1]", "data.options={a: 1}", "llm=some/model"],
    )
    assert config.train.max_epochs == 5
    assert config.evaluate.ks == [1, 10]
    assert config.data.options == {"a": 1}
    assert config.llm == "some/model"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name: x\nlmm: builtin\n", "unknown key 'lmm': did you mean 'llm'?"),
        ("name: x\ntrain: {max_epoch: 3}\n", "unknown key 'train.max_epoch': did you mean 'max_epochs'?"),
        ("name: x\nbackbones: [sasrek]\n", "did you mean 'sasrec'?"),
        ("name: x\nvariants: [refind]\n", "did you mean 'refined'?"),
        ("name: x\nvariants: {sasrek: [base]}\n", "did you mean 'sasrec'?"),
        ("name: x\ntrain: {width: wide}\n", "train.width"),
        ("name: ../x\n", "letters, digits"),
        ("name: x\nseeds: [1, 1]\n", "1 is given twice"),
        ("name: x\nseeds: []\n", "seeds: needs at least 1 entry"),
        ("name: x\nbackbones: []\n", "backbones: needs at least 1 entry"),
        ("name: x\nllm: 5\n", "llm: expected text, not 5"),
        ("name: x\ntrain: 5\n", "train: expected keys and values, not 5"),
        ("name: x\ntrain: {width: 8.5}\n", "train.width: expected a whole number, not 8.5"),
        ("name: x\ntrain: {width: 0}\n", "train.width: must be 2 or more, not 0"),
        ("name: x\ntrain: {learning_rate: .inf}\n", "train.learning_rate: expected a finite number"),
        ("name: x\nrefine: {scale: .nan}\n", "refine.scale: expected a finite number"),
        ("name: x\ndata: {min_rating: .nan}\n", "data.min_rating: expected a finite number"),
        ("name: x\ntune: {enabled: maybe}\n", "tune.enabled: expected true or false, not 'maybe'"),
        ("name: x\nseed: true\n", "seed: true is no value for this key"),
        ("name: x\nseeds: [1, true]\n", "seeds: true is no value"),
        ("name: x\ntrain: {layers: yes}\n", "train.layers: true is no value"),
        ("name: x\nvariants: []\n", "variants: needs at least one name"),
        ("name: x\nvariants: {}\n", "variants: needs at least one backbone"),
        ("name: x\nvariants: {sasrec: []}\n", "variants: needs at least one name"),
        (
            "name: x\nbackbones: [sasrec]\nvariants: {gru4rec: [base]}\n",
            "gru4rec is not among the backbones (sasrec)",
        ),
        ("name: x\nseed: -1\n", "not -1"),
        ("name: x\nbackbones: [sasrec, sasrec]\n", "sasrec is given twice"),
        ("name: x\nvariants: refined\n", "expected a list of names"),
        ("name: x\ntrain: {device: banana}\n", "cuda:NUMBER"),
        ("name: x\ntrain:\n", "not None"),
        ("name: x\ndata: &a {options: *a}\n", "alias of itself"),
        ("name: x\ntrain: {loss: gbse}\n", "did you mean 'gbce'?"),
        ("name: x\ntrain: {loss: gbce, negative_sampling: uniform}\n", "only sampled_softmax, bpr_max"),
        ("name: x\ntrain: {negatives: 9}\n", "loss cross_entropy does not read negatives"),
        ("name: x\ntrain: {loss: bce, precision: bfloat16}\n", "for loss cross_entropy only"),
        ("- 1\n", "must be a mapping"),
        ("a: [\n", "not valid YAML"),
    ],
)
def test_a_wrong_config_gets_one_clear_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(InputError, match=r"config") as caught:
        load_config(written(tmp_path, text))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_override_without_value_or_through_a_value(tmp_path: Path) -> None:
    path = written(tmp_path, "name: x\n")
    with pytest.raises(InputError, match="expected key=value"):
        load_config(path, ["seed"])
    with pytest.raises(InputError, match="'seed' is a value"):
        load_config(path, ["seed=1", "seed.deep=1"])


def test_a_dumped_config_reads_back_to_the_same_hash() -> None:
    config = Config(name="x", variants={"sasrec": ["refined"]})
    again = parse_config(yaml.safe_load(yaml.safe_dump(config.model_dump(mode="json"))))
    assert again.sha256 == config.sha256


def test_a_loss_has_defaults_for_what_it_reads_and_nothing_else() -> None:
    read = {
        loss: TrainConfig(loss=loss).model_dump(include={"negatives", "negative_sampling", "gbce_t"})
        for loss in ("cross_entropy", "sampled_softmax", "gbce", "bce", "bpr_max")
    }
    sampled = {"negatives": 256, "negative_sampling": "uniform", "gbce_t": None}
    nothing = dict.fromkeys(sampled)
    assert read == {
        "cross_entropy": nothing,
        "bce": nothing,
        "sampled_softmax": sampled,
        "bpr_max": sampled,
        "gbce": {"negatives": 256, "negative_sampling": None, "gbce_t": 0.75},
    }
    for loss in read:
        config = TrainConfig(loss=loss)
        assert TrainConfig(**config.model_dump(mode="json")) == config


def test_base_comes_first_and_is_always_there() -> None:
    config = Config(name="x", backbones=["sasrec", "gru4rec"], variants={"sasrec": ["shuffled", "refined"]})
    assert config.variants_of("sasrec") == ["base", "refined", "shuffled"]
    assert config.variants_of("gru4rec") == ["base"]
    assert Config(name="x", variants=list(VARIANTS)).variants_of("sasrec") == list(VARIANTS)


def test_data_paths_start_from_the_environment_else_from_the_config(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("GUIDED_REFINE_DATA", raising=False)
    assert resolve_data_path("a/b", tmp_path) == tmp_path / "a" / "b"
    monkeypatch.setenv("GUIDED_REFINE_DATA", str(tmp_path / "root"))
    assert resolve_data_path("a", tmp_path) == tmp_path / "root" / "a"
    assert resolve_data_path(str(tmp_path), Path("elsewhere")) == tmp_path


@pytest.mark.parametrize("path", RUN_CONFIGS, ids=lambda p: p.stem)
def test_committed_configs_are_valid(path: Path) -> None:
    assert load_config(path).name


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "twice.yaml"
    file.write_text("name: a\ndata: {reader: sample}\ntrain:\n  width: 8\n  width: 16\n")
    with pytest.raises(InputError, match=r"twice\.yaml.*'width' stands twice, in lines 4 and 5"):
        load_config(file)


def test_users_that_enter_a_state_must_be_scored() -> None:
    raw = {"name": "x", "llm_options": {"snapshots": 0}}
    with pytest.raises(InputError, match=r"snapshots: 0 scores no user.*set refine.users=false"):
        parse_config(raw)
    items = {**raw, "refine": {"users": False}}
    assert parse_config(items).llm_options.snapshots == 0
    with pytest.raises(InputError, match=r"tune.side: user tunes the scores of users.*set tune.side=item"):
        parse_config({**items, "tune": {"side": "user"}})
    assert parse_config({**items, "tune": {"side": "user", "enabled": False}}).tune.side == "user"


@pytest.mark.parametrize("backbone", ["sasrec", "bert4rec"])
@pytest.mark.parametrize("key", ["train.width", "refine.width"])
def test_heads_that_do_not_divide_a_width_are_refused(backbone: str, key: str) -> None:
    section, name = key.split(".")
    raw: dict[str, dict[str, int]] = {"train": {"width": 12, "heads": 3}}
    raw.setdefault(section, {})[name] = 16
    with pytest.raises(InputError, match=rf"3 heads do not divide {key} 16; fitting: 1, 2, 4, 8, 16$"):
        parse_config({"name": "x", "backbones": [backbone], **raw})


def test_heads_are_left_to_fit_where_the_width_is_not_known_or_nothing_has_heads() -> None:
    train = {"width": 16, "heads": 3}
    assert parse_config({"name": "x", "backbones": ["gru4rec"], "train": train})
    assert parse_config({"name": "x", "train": train, "base": {"embeddings": "mine.npy"}})
    with pytest.raises(InputError, match=r"refine\.width 16"):
        parse_config(
            {"name": "x", "train": train, "base": {"embeddings": "mine.npy"}, "refine": {"width": 16}}
        )
