"""The run folder: where every artefact lies, and the manifest that says what is up to date.

A stage is recorded in `manifest.json` after its files are in place: the hash of all it read, and the size of
each file it wrote. A stage whose inputs hash the same and whose files are still there is skipped.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from guided_refine import __version__
from guided_refine.config import Config, load_config
from guided_refine.errors import InputError
from guided_refine.files import read_json, write_json, write_text

FORMAT = 1


class RunFolder:
    """Paths inside a run, and its manifest."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    config_file = property(lambda self: self.root / "config.yaml")
    manifest_file = property(lambda self: self.root / "manifest.json")
    log = property(lambda self: self.root / "run.log")
    data = property(lambda self: self.root / "data")
    builtin = property(lambda self: self.root / "llm" / "builtin")
    store = property(lambda self: self.root / "store.sqlite")
    summary = property(lambda self: self.root / "scores" / "summary.json")
    tuning = property(lambda self: self.root / "tuning")
    adapter = property(lambda self: self.root / "tuning" / "adapter")
    metrics = property(lambda self: self.root / "metrics.json")
    differences = property(lambda self: self.root / "differences.json")
    per_user = property(lambda self: self.root / "per_user.parquet")
    score_table = property(lambda self: self.root / "scores.parquet")
    refined_items = property(lambda self: self.root / "refined_items.parquet")
    refined_users = property(lambda self: self.root / "refined_users.parquet")
    truth = property(lambda self: self.root / "truth.json")
    report = property(lambda self: self.root / "report.md")

    def scores(self, source: str) -> Path:
        """Score file of a source, "untuned" or "tuned"."""
        return self.root / "scores" / f"{source}.safetensors"

    def unit(self, backbone: str, variant: str, seed: int) -> Path:
        """Folder of one trained model."""
        return self.root / "backbones" / backbone / variant / f"seed{seed}"

    def manifest(self) -> dict[str, Any]:
        """The manifest, or an empty one. Raises `InputError` for a newer format or a damaged file."""
        if not self.manifest_file.exists():
            return {"format": FORMAT, "version": __version__, "stages": {}}
        manifest = read_json(self.manifest_file)
        if not isinstance(manifest, dict) or "stages" not in manifest:
            raise InputError(
                f"{self.manifest_file} is not the manifest of a run; choose another folder with --out"
            )
        if int(manifest.get("format", 0)) > FORMAT:
            raise InputError(
                f"{self.root} was written by a newer guided-refine ({manifest.get('version')}, folder format "
                f"{manifest['format']}; this is {__version__}, format {FORMAT}); update guided-refine or use another --out"
            )
        return manifest

    def config(self) -> Config:
        """The config this run was made with; raises `InputError` when the folder is not a run."""
        if not self.config_file.exists():
            raise InputError(
                f"{self.root} is not a run folder (no config.yaml); make one with: guided-refine run CONFIG"
            )
        return load_config(self.config_file)

    def open(self, config: Config, *, update: bool) -> None:
        """Make the folder, or check that it belongs to this config.

        With `update` a folder of another config is taken over: stages whose inputs changed run again.
        """
        self.manifest()
        if self.config_file.exists():
            old = self.config()
            if old.sha256 != config.sha256 and not update:
                raise InputError(
                    f"{self.root} holds a run of another config (differs in {_changed(old, config)}); "
                    "choose another --out, or add --update to redo what changed"
                )
        elif self.root.exists() and any(self.root.iterdir()):
            raise InputError(f"{self.root} exists and is not a run folder; choose another --out")
        self.root.mkdir(parents=True, exist_ok=True)
        write_text(self.config_file, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))

    def is_done(self, stage: str, inputs: str) -> bool:
        """True when the stage ran on these inputs and its files are still there.

        Raises `InputError` when one of its files was cut off or changed in size.
        """
        entry = self.manifest()["stages"].get(stage)
        if entry is None or entry["inputs"] != inputs:
            return False
        for name, size in entry["files"].items():
            path = self.root / name
            if not path.exists():
                return False
            if path.stat().st_size != size:
                raise InputError(
                    f"{path} is damaged: it has {path.stat().st_size} bytes, but {stage} wrote {size}; "
                    "delete the file and run the same command again to make it anew"
                )
        return True

    def record(
        self, stage: str, inputs: str, files: Sequence[Path], seconds: float, cut_off: str | None
    ) -> None:
        """Note a finished stage; written last, in one step."""
        manifest = self.manifest()
        manifest["version"] = __version__
        manifest["stages"][stage] = {
            "inputs": inputs,
            "files": {f.relative_to(self.root).as_posix(): f.stat().st_size for f in files},
            "cut_off": cut_off,
            "seconds": round(seconds, 2),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }
        write_json(self.manifest_file, manifest)


def _changed(old: Config, new: Config) -> str:
    a, b = _flat(old.model_dump(mode="json")), _flat(new.model_dump(mode="json"))
    keys = sorted(k for k in a.keys() | b.keys() if a.get(k) != b.get(k))
    return ", ".join(keys[:4]) + (f" and {len(keys) - 4} more" if len(keys) > 4 else "")


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, child in value.items():
        if isinstance(child, dict) and child:
            flat |= _flat(child, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = child
    return flat
