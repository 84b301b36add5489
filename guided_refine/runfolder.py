"""The run folder: where every artefact lies, and the manifest that says what is up to date.

A stage is recorded in `manifest.json` after its files are in place: the hash of all it read, and the size of
each file it wrote. A stage whose inputs hash the same and whose files are still there is skipped.
Whoever writes holds the folder's lock, so two runs cannot write into one folder.
"""

from __future__ import annotations

import errno
import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from guided_refine import __version__
from guided_refine.config import Config
from guided_refine.config_file import load_run_config
from guided_refine.errors import InputError
from guided_refine.files import cannot_write, read_json, write_json, write_text
from guided_refine.machine import machine, peak_memory

try:
    import fcntl
except ImportError:  # not a Unix: nothing to lock with
    fcntl = None  # type: ignore[assignment]

FORMAT = 1
_BEGIN, _END = "# begin: all values of this run\n", "# end: all values of this run\n"


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
    remote_tokens = property(lambda self: self.root / "remote_tokens.json")
    summary = property(lambda self: self.root / "scores" / "summary.json")
    scores_alone = property(lambda self: self.root / "scores" / "alone.json")
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

    text_vectors = property(lambda self: self.root / "scores" / "text_vectors.safetensors")

    def scores(self, source: str) -> Path:
        """Score file of a source, "untuned" or "tuned"."""
        return self.root / "scores" / f"{source}.safetensors"

    def final_source(self) -> str:
        """Whose scores refined models are made of: "tuned" where the manifest says that the tuned model scored."""
        # A run that was tuned once and is not any more still has the tuned scores of before.
        if self.config_file.exists() and not self.config().tune.enabled:
            return "untuned"
        stages = self.manifest()["stages"]
        for source in ("tuned", "untuned"):
            if f"score_{source}" in stages:
                return source
        # A run that was put together by hand: what is there is all that is known.
        return "tuned" if self.scores("tuned").exists() else "untuned"

    def unit(self, backbone: str, variant: str, seed: int) -> Path:
        """Folder of one trained model."""
        return self.root / "backbones" / backbone / variant / f"seed{seed}"

    def baseline(self, name: str) -> Path:
        """Folder of one baseline."""
        return self.root / "baselines" / name

    def manifest(self) -> dict[str, Any]:
        """The manifest, or an empty one. Raises `InputError` for a newer format or a damaged file."""
        if not self.manifest_file.exists():
            return {"format": FORMAT, "version": __version__, "stages": {}}
        try:
            manifest = read_json(self.manifest_file)
        except InputError as error:
            raise InputError(
                f"{self.manifest_file} is damaged, so nothing says what is done ({error.__cause__}); restore it, or "
                "delete it to have every stage done again"
            ) from error
        if not _is_manifest(manifest):
            raise InputError(
                f"{self.manifest_file} is not the manifest of a run; choose another folder with --out, or delete the "
                "file to have every stage done again"
            )
        if manifest.get("format", 0) > FORMAT:
            raise InputError(
                f"{self.root} was written by a newer guided-refine ({manifest.get('version')}, folder format "
                f"{manifest['format']}; this is {__version__}, format {FORMAT}); update guided-refine or use another --out"
            )
        return manifest

    def config(self) -> Config:
        """The config this run was made with; raises `InputError` when the folder is not a run this version reads."""
        self.manifest()
        if not self.config_file.exists():
            raise InputError(
                f"{self.root} is not a run folder (no config.yaml); make one with: guided-refine run CONFIG"
            )
        remedy = f"delete it and make it anew with: {self.again}"
        try:
            config = load_run_config(self.config_file)
        except InputError as error:
            raise InputError(f"{error}; if it is damaged, {remedy}") from error
        # A config that was cut off is often still a config, with defaults for what is lost.
        text = self.config_file.read_text(encoding="utf-8")
        if text.startswith(_BEGIN) and not text.endswith(_END):
            raise InputError(f"{self.config_file} is damaged: its end is missing; {remedy}")
        return config

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder, made where it is missing, for writing; the lock ends with the process, however it ends.

        Raises `InputError` when another process holds it, and when the folder is not a run or cannot be written.
        """
        self._refuse_foreign()
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            stream = (self.root / ".lock").open("a", encoding="utf-8")
        except OSError as error:
            raise cannot_write(error, self.root / ".lock") from error
        with stream:
            if fcntl is not None:
                try:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError as error:
                    # Some network file systems have no locks: then nobody is kept out.
                    if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                        raise InputError(
                            f"{self.root} is in use by another guided-refine that is still running; "
                            "wait for it to end, or choose another --out"
                        ) from error
            yield

    def _refuse_foreign(self) -> None:
        """A folder is a run when it has a config or a manifest; hidden files are what a killed start leaves."""
        ours = self.config_file.exists() or self.manifest_file.exists()
        if self.root.exists() and not self.root.is_dir():
            raise InputError(f"{self.root} is a file, not a run folder; choose another --out")
        if not ours and self.root.exists() and any(not p.name.startswith(".") for p in self.root.iterdir()):
            raise InputError(f"{self.root} exists and is not a run folder; choose another --out")

    def open(self, config: Config, *, update: bool) -> None:
        """Make the folder, or check that it belongs to this config.

        With `update` a folder of another config is taken over: stages whose inputs changed run again.
        """
        self._refuse_foreign()
        self.manifest()
        if self.config_file.exists():
            old = self.config()
            # A start that failed before its first stage was done, say at a mistyped path, has nothing to protect.
            if old.sha256 != config.sha256 and not update and self.manifest()["stages"]:
                raise InputError(
                    f"{self.root} holds a run of another config (differs in {_changed(old, config)}); "
                    "choose another --out, or add --update to redo what changed"
                )
            if old.sha256 == config.sha256 and old.model_dump()["store"] == config.model_dump()["store"]:
                return
        self.root.mkdir(parents=True, exist_ok=True)
        values = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
        write_text(self.config_file, f"{_BEGIN}{values}{_END}")

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
            self._check_size(path, size, stage)
        return True

    def check_files(self, *places: Path) -> None:
        """Raise `InputError` when a file that a stage wrote was cut off; with `places` (folders or files) only
        there, and also when it is gone."""
        for stage, entry in self.manifest()["stages"].items():
            for name, size in entry["files"].items():
                path = self.root / name
                if places and not any(place == path or place in path.parents for place in places):
                    continue
                if path.exists():
                    self._check_size(path, size, stage)
                elif places:
                    raise InputError(
                        f"{path} is missing, but {stage} wrote it; make it anew with: {self.again}"
                    )

    def _check_size(self, path: Path, size: int, stage: str) -> None:
        found = path.stat().st_size
        if found != size:
            raise InputError(
                f"{path} is damaged: it has {found} bytes, but {stage} wrote {size}; "
                f"delete the file and make it anew with: {self.again}"
            )

    @property
    def again(self) -> str:
        """The command that makes what is missing here."""
        return f"guided-refine run CONFIG --out {shlex.quote(str(self.root))}"

    def forget(self, stage: str) -> None:
        """Delete what a stage wrote, and its note: a config that no longer asks for it has no use for old files."""
        manifest = self.manifest()
        entry = manifest["stages"].pop(stage, None)
        if entry is None:
            return
        for name in entry["files"]:
            (self.root / name).unlink(missing_ok=True)
        write_json(self.manifest_file, manifest)

    def record(
        self,
        stage: str,
        inputs: str,
        files: Sequence[Path],
        seconds: float,
        cut_off: str | None,
        *,
        peak: int | None = None,
        processes: int = 1,
    ) -> None:
        """Note a finished stage; written last, in one step.

        `peak` is the memory, in MiB, of the process that did the work (default: this one's so far); `processes` says how
        many did it together.
        """
        manifest = self.manifest()
        manifest["version"] = __version__
        manifest["stages"][stage] = {
            "inputs": inputs,
            "files": {f.relative_to(self.root).as_posix(): f.stat().st_size for f in files},
            "cut_off": cut_off,
            "seconds": round(seconds, 2),
            "peak_memory_mib": peak_memory() if peak is None else peak,
            "machine": machine(),
            **({"processes": processes} if processes > 1 else {}),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }
        write_json(self.manifest_file, manifest)


def _changed(old: Config, new: Config) -> str:
    a, b = flat_values(old.model_dump(mode="json")), flat_values(new.model_dump(mode="json"))
    keys = sorted(k for k in a.keys() | b.keys() if a.get(k) != b.get(k))
    return ", ".join(keys[:4]) + (f" and {len(keys) - 4} more" if len(keys) > 4 else "")


def flat_values(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested mapping as one, with the keys that `--set` takes.

    >>> flat_values({"train": {"layers": 2, "loss": "bce"}, "seed": 1})
    {'train.layers': 2, 'train.loss': 'bce', 'seed': 1}
    """
    flat: dict[str, Any] = {}
    for key, child in value.items():
        if isinstance(child, dict) and child:
            flat |= flat_values(child, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = child
    return flat


def _is_manifest(value: Any) -> bool:
    """True for what `record` writes; of a newer format nothing is known but that it says so."""
    if not isinstance(value, dict) or not isinstance(value.get("format", 0), int):
        return False
    stages = value.get("stages")
    return value.get("format", 0) > FORMAT or (
        isinstance(stages, dict)
        and all(
            isinstance(entry, dict)
            and isinstance(entry.get("inputs"), str)
            and isinstance(entry.get("files"), dict)
            for entry in stages.values()
        )
    )
