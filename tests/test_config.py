"""Every key is known, overrides reach any depth, and a wrong key says what was meant."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from guided_refine.config import VARIANTS, Config, load_config, parse_config, resolve_data_path
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
        ("name: x\nseeds: []\n", "at least 1"),
        ("name: x\nseed: -1\n", "not -1"),
        ("name: x\nbackbones: [sasrec, sasrec]\n", "sasrec is given twice"),
        ("name: x\nvariants: refined\n", "expected a list of names"),
        ("name: x\ntrain: {device: banana}\n", "cuda:NUMBER"),
        ("name: x\ntrain:\n", "not None"),
        ("name: x\ndata: &a {options: *a}\n", "alias of itself"),
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
