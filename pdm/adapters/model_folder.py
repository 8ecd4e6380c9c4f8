"""Trained models as folders `<models>/<class>/<version>/`, immutable, written only by training.

A damaged forest can kill the process that parses it. So nothing is parsed before every file matches the hash in the
manifest, and the first to parse it is a child process, which must also reproduce the golden rows: forecasts of
generated steps, written at training. No file holds code (LightGBM text, JSON, arrays without pickles).
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from pdm import features, learned
from pdm.degradation import Weibull
from pdm.errors import DamagedModelError, ForeignModelError
from pdm.frame import Conditions, Frame
from pdm.learned import RECIPE, Facts, Head, ModeHead, Model, Origin, Rivals, Spread
from pdm.model_card import card
from pdm.plant import AssetClass

MANIFEST = "manifest.json"
GOLDEN_TOLERANCE = 1e-9
GOLDEN_ASSETS, GOLDEN_STEPS = 8, 150
CHILD_PATIENCE_S = 120
LARGEST_FILE = 64 << 20

_proven: set[str] = set()  # manifests whose golden rows a child of this process has reproduced


def versions(models: Path, class_name: str) -> list[str]:
    """The versions of a class, the oldest first."""
    folder = models / class_name
    found = [path for path in folder.iterdir() if (path / MANIFEST).is_file()] if folder.is_dir() else []
    return sorted(path.name for path in found)


def save(model: Model, models: Path) -> Path:
    """Write a model under a name made of its lives and its content; returns its folder.

    Equal models give equal files, so one that is there already stays.
    """
    class_folder = models / model.facts.class_name
    class_folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=class_folder, prefix=".new-") as temporary:
        folder = Path(temporary)
        _write_files(model, folder)
        manifest = {"facts": asdict(model.facts), **_scalars(model), "files": _hashes(folder)}
        text = json.dumps(manifest, indent=2, sort_keys=True) + "\n"
        version = f"{model.facts.lives:04}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        (folder / MANIFEST).write_text(text, encoding="utf-8")
        final = class_folder / version
        if not final.exists():
            _sync(folder)
            shutil.copytree(folder, final.with_suffix(".part"), dirs_exist_ok=True)
            final.with_suffix(".part").rename(final)
    return final


def load(folder: Path, asset_class: AssetClass) -> Model:
    """A model whose files are whole, which reproduces its golden rows and belongs to this class.

    Raises:
        DamagedModelError: its files do not match the manifest, or its forecasts its golden rows.
        ForeignModelError: it was trained for another description of the class.
    """
    manifest = _verified(folder)
    if manifest["facts"]["fingerprint"] != learned.fingerprint(asset_class):
        raise ForeignModelError(
            f"model {folder.name} was trained for another description of class {asset_class.name}: its sensors, units, "
            "conditions or life step differ; train one for this class"
        )
    if manifest["facts"]["recipe"] != RECIPE:
        raise ForeignModelError(f"model {folder.name} was made by another recipe of features: train it again")
    digest = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    if digest not in _proven:
        _prove_in_child(folder)
        _proven.add(digest)
    return read(folder, manifest)


def read(folder: Path, manifest: dict[str, Any]) -> Model:
    """Parse the files of a model that was verified."""
    frame_arrays, spread, scalars = _arrays(folder / "frame.npz"), _arrays(folder / "spread.npz"), manifest["frame"]
    conditions = {f.name: frame_arrays[f"conditions.{f.name}"] for f in fields(Conditions) if f.name != "reach"}
    frame = Frame(
        column_names=tuple(scalars["column_names"]),
        conditions=Conditions(reach=scalars["reach"], **conditions),
        clip=scalars["clip"],
        own_offset=scalars["own_offset"],
        scale=scalars["scale"],
        **{name: frame_arrays[name] for name in ("kept", "projection", "offset", "own_change", "own_start")},
    )
    head = Head(
        horizon=manifest["horizon"],
        squared=_forest(folder / "squared.txt"),
        poisson=_forest(folder / "poisson.txt"),
        spread=Spread(**spread),
        life=Weibull(**manifest["life"]),
        modes=_modes(folder, manifest),
    )
    facts = manifest["facts"]
    return Model(
        frame,
        head,
        Facts(**{**facts, "origin": Origin(facts["origin"]), "rivals": Rivals(**_tupled(facts["rivals"]))}),
        version=folder.name,
    )


def golden_forecast(model: Model, steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quantiles `[assets, 21]` after generated steps `[steps, assets, k]`."""
    state = features.start(model.frame, steps.shape[1])
    for step in steps:
        features.fold(model.frame, state, features.ALL, step)
    exposure = np.full(steps.shape[1], float(len(steps)))
    return learned.forecast(model, features.emit(model.frame, state), exposure)


def _golden_steps(frame: Frame, seed: int) -> NDArray[np.float64]:
    """Steps of made-up machines that drift apart, in the range of the class: no reading of a real one."""
    random = np.random.default_rng(seed)
    steps = np.full((GOLDEN_STEPS, GOLDEN_ASSETS, len(frame.column_names)), np.nan)
    conditions = frame.conditions
    at = random.uniform(-1.0, 1.0, (GOLDEN_STEPS, GOLDEN_ASSETS, len(conditions.columns)))
    steps[:, :, conditions.columns] = conditions.centre + at * conditions.spread
    sd = np.divide(1.0, conditions.inverse_sd[:, 0], out=np.zeros(frame.sensors), where=conditions.inverse_sd[:, 0] > 0)
    drift = (
        random.normal(0.0, 4.0, (1, GOLDEN_ASSETS, frame.sensors)) * np.linspace(0, 1, GOLDEN_STEPS)[:, None, None] ** 2
    )
    noise = random.normal(0.0, 1.0, (GOLDEN_STEPS, GOLDEN_ASSETS, frame.sensors))
    steps[:, :, frame.kept] = conditions.mean[:, 0] + (drift + noise) * sd
    return steps


def _write_files(model: Model, folder: Path) -> None:
    frame, head = model.frame, model.head
    arrays = {name: getattr(frame, name) for name in ("kept", "projection", "offset", "own_change", "own_start")}
    arrays |= {
        f"conditions.{f.name}": getattr(frame.conditions, f.name) for f in fields(Conditions) if f.name != "reach"
    }
    np.savez(folder / "frame.npz", **arrays)
    np.savez(folder / "spread.npz", **{f.name: getattr(head.spread, f.name) for f in fields(Spread)})
    forests = {"squared": head.squared, "poisson": head.poisson, "modes": head.modes.forest if head.modes else None}
    for name, forest in forests.items():
        if forest is not None:
            (folder / f"{name}.txt").write_text(forest.model_to_string(), encoding="utf-8")
    steps = _golden_steps(frame, model.facts.seed)
    np.savez(folder / "golden.npz", steps=steps, quantiles=golden_forecast(model, steps))
    (folder / "card.md").write_text(card(model), encoding="utf-8")


def _scalars(model: Model) -> dict[str, Any]:
    frame, modes = model.frame, model.head.modes
    return {
        "frame": {
            "column_names": list(frame.column_names),
            "reach": frame.conditions.reach,
            "clip": frame.clip,
            "own_offset": frame.own_offset,
            "scale": frame.scale,
        },
        "horizon": model.head.horizon,
        "life": asdict(model.head.life),
        "modes": None if modes is None else {"names": list(modes.names), "shares": modes.shares.tolist()},
    }


def _verified(folder: Path) -> dict[str, Any]:
    """The manifest, once every file is there, is a plain file, and matches its hash."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        listed = dict(manifest["files"])
        present = {path.name: path for path in folder.iterdir()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedModelError(f"model {folder.name}: its manifest cannot be read ({error})") from None
    if strange := sorted(set(present) ^ {MANIFEST, *listed}):
        raise DamagedModelError(f"model {folder.name}: files missing or not its own: {', '.join(strange)}")
    for name, path in sorted(present.items()):
        if path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST_FILE:
            raise DamagedModelError(f"model {folder.name}: {name} is no plain file of a sane size")
        if name != MANIFEST and _hash(path) != listed[name]:
            raise DamagedModelError(f"model {folder.name}: {name} does not match its hash in the manifest")
    return dict(manifest)


def _prove_in_child(folder: Path) -> None:
    """Have another process parse the files and reproduce the golden rows: if that kills it, we live."""
    command = [sys.executable, "-m", "pdm.adapters.model_folder", str(folder)]
    child = subprocess.run(command, capture_output=True, timeout=CHILD_PATIENCE_S, check=False)  # noqa: S603
    if child.returncode:
        last = child.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise DamagedModelError(f"model {folder.name} does not reproduce its golden rows: {''.join(last)[:300]}")


def _check_golden(folder: Path) -> int:
    """What the child does; its exit code."""
    model = read(folder, json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
    golden = _arrays(folder / "golden.npz")
    distance = np.max(np.abs(golden_forecast(model, golden["steps"]) - golden["quantiles"]))
    if not distance <= GOLDEN_TOLERANCE * model.head.horizon:
        print(f"forecasts differ by {distance:g}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _modes(folder: Path, manifest: dict[str, Any]) -> ModeHead | None:
    modes = manifest["modes"]
    if modes is None:
        return None
    return ModeHead(tuple(modes["names"]), np.array(modes["shares"]), _forest(folder / "modes.txt"))


def _forest(path: Path) -> lgb.Booster:
    return lgb.Booster(model_str=path.read_text(encoding="utf-8"))


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as archive:
        return dict(archive)


def _tupled(rivals: dict[str, Any]) -> dict[str, Any]:
    return {**rivals, "lengths": tuple(rivals["lengths"])}


def _hashes(folder: Path) -> dict[str, str]:
    return {path.name: _hash(path) for path in sorted(folder.iterdir())}


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _sync(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())


if __name__ == "__main__":
    sys.exit(_check_golden(Path(sys.argv[1])))
