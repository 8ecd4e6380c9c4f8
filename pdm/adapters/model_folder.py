"""Trained models as folders `<models>/<class>/<number>-<digest>/`, immutable, written only by training.

A damaged forest can kill the process that parses it. So nothing is parsed before every file matches the hash in the
manifest, and the first to parse it is a child process, which must also reproduce the golden rows: forecasts of
generated steps, written at training, or departures from early life where a model forecasts nothing. What is parsed here
are the very bytes that were hashed. No file holds code (LightGBM text, JSON, arrays without pickles).
"""

import hashlib
import io
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NamedTuple

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from pdm import durable, features
from pdm.degradation import Weibull
from pdm.errors import DamagedModelError, ForeignModelError, ModelError, NotFoundError
from pdm.features import watch
from pdm.features.frame import Conditions, Frame, Peers, Watch
from pdm.learn.model_card import card
from pdm.plant import AssetClass
from pdm.ports import TrainedVersion
from pdm.prognosis import learned
from pdm.prognosis.forests import Far, Forests, Spread, Target
from pdm.prognosis.learned import RECIPE, Facts, Head, ModeHead, Model, Origin, Rivals

MANIFEST = "manifest.json"
LARGEST_FILE = 64 << 20
GOLDEN_TOLERANCE = 1e-9  # [horizons]: builds of numpy and LightGBM may differ by this much
GOLDEN_ASSETS, GOLDEN_STEPS = 16, 150
CHILD_PATIENCE_S = 120

UNFINISHED_S = 3600.0
"""A folder that somebody began to write so long ago was left behind by a crash, and goes."""


_UNFINISHED = ".new-"
_VERSION = re.compile(r"(\d{4,})-([0-9a-f]{12})")
_LOSSES = ("squared", "poisson")
_FRAME_ARRAYS = ("kept", "projection", "offset", "own_change", "own_start")
_FRAME_NUMBERS = ("clip", "own_offset", "scale")
_PEER_ARRAYS = tuple(field.name for field in fields(Peers))
_CONDITION_ARRAYS = tuple(field.name for field in fields(Conditions) if field.name != "reach")

_proven: set[str] = set()  # digests of the manifests whose golden rows a child of this process has reproduced


class Contents(NamedTuple):
    """The files of a model, read once and found to match their manifest; `digest` is that of the manifest."""

    manifest: dict[str, Any]
    files: dict[str, bytes]
    digest: str


class ModelFolders:
    """Folders of models as one: of two that have a class the first counts, and in it the newest version."""

    def __init__(self, folders: Sequence[Path]):
        self._folders = folders

    def versions(self, class_name: str) -> list[str]:
        """Every version of a class once, the one to take first."""
        found = (version for folder in self._folders for version in reversed(versions(folder, class_name)))
        return list(dict.fromkeys(found))

    def described(self, asset_class: AssetClass) -> list[TrainedVersion]:
        """The same with what their manifests and cards say."""
        there = self.versions(asset_class.name)
        return [_described_version(self.folder(asset_class.name, version), asset_class) for version in there]

    def load(self, asset_class: AssetClass, version: str) -> Model:
        """A model by its version.

        Raises:
            NotFoundError: there is no such version.
            ModelError: as `load` of its folder.
        """
        return load(self.folder(asset_class.name, version), asset_class)

    def folder(self, class_name: str, version: str) -> Path:
        """Where a version is.

        Raises:
            NotFoundError: nowhere.
        """
        for folder in self._folders:
            if version in versions(folder, class_name):
                return folder / class_name / version
        raise NotFoundError(f"class {class_name} has no model {version}; `pdm-twin models list` names those there are")


def _described_version(folder: Path, asset_class: AssetClass) -> TrainedVersion:
    try:
        contents = _verified(folder)
        card_text = contents.files["card.md"].decode()
        _check_belongs(folder, contents.manifest, asset_class)
        return TrainedVersion(folder.name, _facts(contents.manifest["facts"]), card_text, None)
    except ForeignModelError as error:
        return TrainedVersion(folder.name, None, card_text, str(error))
    except ModelError as error:
        return TrainedVersion(folder.name, None, "", str(error))


def versions(models: Path, class_name: str) -> list[str]:
    """The versions of a class, the oldest first."""
    folder = models / class_name
    found = [match for path in folder.iterdir() if (match := _VERSION.fullmatch(path.name))] if folder.is_dir() else []
    return [match[0] for match in sorted(found, key=lambda match: (int(match[1]), match[2]))]


def save(model: Model, models: Path) -> Path:
    """Write a model as the newest version of its class; returns its folder.

    Equal models give equal files, so one that is there already stays as it is.
    """
    files = _files(model)
    manifest = {**_described(model), "files": {name: _digest(body) for name, body in files.items()}}
    files[MANIFEST] = (json.dumps(manifest, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()
    digest = _digest(files[MANIFEST])[:12]
    class_folder = models / model.facts.class_name
    class_folder.mkdir(parents=True, exist_ok=True)
    there = versions(models, model.facts.class_name)
    same = [version for version in there if version.endswith(digest)]
    if same:
        return class_folder / same[0]
    number = 1 + max((int(version.split("-")[0]) for version in there), default=0)
    return _write(files, class_folder / f"{number:04}-{digest}")


def whole_files(folder: Path) -> dict[str, bytes]:
    """The files of a model by name, found to match their manifest.

    Raises:
        DamagedModelError: they do not.
    """
    return _verified(folder).files


def keep(files: dict[str, bytes], folder: Path) -> None:
    """Write the files of a model that come from another host into the folder named by its version.

    Raises:
        DamagedModelError: they are not those of this version.
    """
    if any(Path(name).name != name for name in files) or _matching(folder.name, files).digest[:12] != folder.name[-12:]:
        raise DamagedModelError(f"model {folder.name}: what another host shares under this name is another model")
    folder.parent.mkdir(parents=True, exist_ok=True)
    _write(files, folder)


def load(folder: Path, asset_class: AssetClass) -> Model:
    """A model whose files are whole, which reproduces its golden rows and belongs to this class.

    Raises:
        DamagedModelError: its files do not match the manifest, or its forecasts its golden rows.
        ForeignModelError: it was trained for another description of the class, or by another recipe.
    """
    contents = _verified(folder)
    _check_belongs(folder, contents.manifest, asset_class)
    if contents.digest not in _proven:
        _prove_in_child(folder, contents.digest)
        _proven.add(contents.digest)
    return _parse(contents, folder.name)


def _check_belongs(folder: Path, manifest: Mapping[str, Any], asset_class: AssetClass) -> None:
    try:
        fingerprint, recipe = manifest["facts"]["fingerprint"], manifest["facts"]["recipe"]
    except (KeyError, TypeError):
        raise DamagedModelError(f"model {folder.name}: its manifest does not say whose it is") from None
    if recipe != RECIPE:
        raise ForeignModelError(f"model {folder.name} was made by another recipe of features: train it again")
    if fingerprint != learned.fingerprint(asset_class):
        raise ForeignModelError(
            f"model {folder.name} was trained for another description of class {asset_class.name}: its sensors, units, "
            "conditions or life step differ; train one for this class"
        )


def _verified(folder: Path) -> Contents:
    """All files, once each is there, is a plain file of a sane size and matches its hash."""
    try:
        files = {path.name: _read(path) for path in sorted(folder.iterdir())}
    except OSError as error:
        raise DamagedModelError(f"model {folder.name}: its files cannot be read ({error})") from None
    return _matching(folder.name, files)


def _matching(version: str, files: dict[str, bytes]) -> Contents:
    """All files, once each is there and matches its hash."""
    try:
        manifest = dict(json.loads(files[MANIFEST]))
        listed = {str(name): str(digest) for name, digest in manifest["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedModelError(f"model {version}: its manifest cannot be read ({error})") from None
    if strange := sorted(set(files) ^ {MANIFEST, *listed}):
        raise DamagedModelError(f"model {version}: files missing or not its own: {', '.join(strange)}")
    for name, digest in listed.items():
        if _digest(files[name]) != digest:
            raise DamagedModelError(f"model {version}: {name} does not match its hash in the manifest")
    digest, named = _digest(files[MANIFEST]), _VERSION.fullmatch(version)
    if named and not digest.startswith(named[2]):
        raise DamagedModelError(f"model {version}: its manifest does not match the hash in its name")
    return Contents(manifest, files, digest)


def _read(path: Path) -> bytes:
    """The bytes of a plain file; links, folders and pipes are none."""
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST_FILE:
        raise DamagedModelError(f"model {path.parent.name}: {path.name} is no plain file of a sane size")
    return path.read_bytes()


def _prove_in_child(folder: Path, digest: str) -> None:
    """Have another process parse the files and reproduce the golden rows: if that kills it, we live."""
    command = [sys.executable, "-m", "pdm.adapters.model_folder", str(folder), digest]
    try:
        child = subprocess.run(command, capture_output=True, timeout=CHILD_PATIENCE_S, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise DamagedModelError(f"model {folder.name} took too long to reproduce its golden rows") from None
    if child.returncode:
        last = child.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise DamagedModelError(f"model {folder.name} does not reproduce its golden rows: {''.join(last)[:300]}")


def _prove(folder: Path, digest: str) -> int:
    """What the child does; its exit code."""
    contents = _verified(folder)
    if contents.digest != digest:
        print("the files changed meanwhile", file=sys.stderr)  # noqa: T201 (the parent reads it)
        return 1
    model, golden = _parse(contents, folder.name), _arrays(contents.files["golden.npz"])
    said, unit = golden[_golden_name(model)], 1.0 if model.head is None else model.head.horizon
    distance = np.max(np.abs(golden_answer(model, golden["steps"]) - said))
    if not distance <= GOLDEN_TOLERANCE * unit:
        print(f"what it says differs by {distance:g}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def golden_answer(model: Model, steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quantiles `[assets, 21]` after generated steps `[steps, assets, k]`, or departures `[assets]` of a watch."""
    state = features.start(model.frame, steps.shape[1])
    for step in steps:
        features.fold(model.frame, state, features.ALL, step)
    if model.frame.watch is not None:
        return watch.departure(model.frame.watch, features.since_start(model.frame, state).T)
    exposure = np.full(steps.shape[1], float(len(steps)))
    complete = np.arange(steps.shape[1]) % 2 == 0
    return learned.forecast(model, features.emit(model.frame, state), exposure, complete)


def _golden_steps(frame: Frame, seed: int) -> NDArray[np.float64]:
    """Steps of made-up machines that drift apart, in the range of the class: no reading of a real one."""
    random = np.random.default_rng(seed)
    steps = np.full((GOLDEN_STEPS, GOLDEN_ASSETS, len(frame.column_names)), np.nan)
    conditions, shape = frame.conditions, (GOLDEN_STEPS, GOLDEN_ASSETS)
    inverse_sd = conditions.inverse_sd[:, 0]
    sd = np.divide(1.0, inverse_sd, out=np.zeros(frame.sensors), where=inverse_sd > 0)
    path = np.linspace(0, 1, GOLDEN_STEPS)[:, None, None] ** 2
    drift = random.normal(0.0, 4.0, (1, GOLDEN_ASSETS, frame.sensors)) * path
    noise = random.normal(0.0, 1.0, (*shape, frame.sensors))
    steps[:, :, frame.kept] = conditions.mean[:, 0] + (drift + noise) * sd
    at = random.uniform(-1.0, 1.0, (*shape, len(conditions.columns)))
    steps[:, :, conditions.columns] = conditions.centre + at * conditions.spread
    return steps


def _files(model: Model) -> dict[str, bytes]:
    """Every file but the manifest."""
    frame, head = model.frame, model.head
    steps = _golden_steps(frame, model.facts.seed)
    arrays = {name: getattr(frame, name) for name in _FRAME_ARRAYS}
    arrays |= {f"conditions.{name}": getattr(frame.conditions, name) for name in _CONDITION_ARRAYS}
    arrays |= {} if frame.watch is None else {"watch.whitening": frame.watch.whitening}
    arrays |= {name: one for name in ("jumps", "restless") if (one := getattr(frame, name)) is not None}
    arrays |= {} if frame.peers is None else {f"peers.{name}": getattr(frame.peers, name) for name in _PEER_ARRAYS}
    files = {
        "card.md": card(model).encode(),
        "frame.npz": _archive(arrays),
        "golden.npz": _archive({"steps": steps, _golden_name(model): golden_answer(model, steps)}),
    }
    return files if head is None else files | _head_files(head)


def _golden_name(model: Model) -> str:
    return "departures" if model.head is None else "quantiles"


def _head_files(head: Head) -> dict[str, bytes]:
    files = _forest_files("", head.whole) | _forest_files("late_", head.late)
    return files if head.modes is None else files | {"modes.txt": head.modes.forest.model_to_string().encode()}


def _forest_files(prefix: str, forests: Forests) -> dict[str, bytes]:
    files = {
        f"{prefix}{loss}{number}.txt": forest.model_to_string().encode()
        for loss in _LOSSES
        for number, forest in enumerate(getattr(forests, loss))
    }
    files |= {f"{prefix}spread.npz": _spread_file(forests.spread)}
    if (far := forests.far) is not None:
        files |= {f"{prefix}far.txt": far.forest.model_to_string().encode()}
        files |= {f"{prefix}far_spread.npz": _spread_file(far.spread)}
    return files


def _spread_file(spread: Spread) -> bytes:
    return _archive({field.name: getattr(spread, field.name) for field in fields(Spread)})


def _described(model: Model) -> dict[str, Any]:
    """What the manifest says beside the hashes."""
    frame, head, facts = model.frame, model.head, asdict(model.facts)
    if np.isinf(facts["rivals"]["interval"]):
        facts["rivals"]["interval"] = None  # JSON knows no infinity
    numbers = {name: getattr(frame, name) for name in _FRAME_NUMBERS}
    numbers |= {} if frame.watch is None else {"watch_level": frame.watch.level}
    reach = frame.conditions.reach
    described = {
        "facts": facts,
        "frame": {"column_names": list(frame.column_names), "reach": None if np.isinf(reach) else reach, **numbers},
    }
    return described if head is None else described | _described_head(head)


def _described_head(head: Head) -> dict[str, Any]:
    modes = head.modes and {"names": list(head.modes.names), "shares": head.modes.shares.tolist()}
    return {
        "horizon": head.horizon,
        "late": _described_forests(head.late),
        "life": asdict(head.life),
        "modes": modes,
        "whole": _described_forests(head.whole),
    }


def _described_forests(forests: Forests) -> dict[str, Any]:
    cap = forests.target.cap
    ends = list(forests.ends)
    return {"cap": None if np.isinf(cap) else cap, "ends": ends, "log": forests.target.log, "reach": forests.reach}


def _parse(contents: Contents, version: str) -> Model:
    manifest, files = contents.manifest, contents.files
    arrays, numbers = _arrays(files["frame.npz"]), manifest["frame"]
    reach = np.inf if numbers["reach"] is None else numbers["reach"]
    conditions = Conditions(reach=reach, **{name: arrays[f"conditions.{name}"] for name in _CONDITION_ARRAYS})
    fitted = {name: numbers[name] for name in _FRAME_NUMBERS} | {name: arrays[name] for name in _FRAME_ARRAYS}
    level = numbers.get("watch_level")
    early = None if level is None else Watch(arrays["watch.whitening"], level)
    judged = "peers.judged" in arrays  # models from before drift was judged have none
    peers = Peers(**{name: arrays[f"peers.{name}"] for name in _PEER_ARRAYS}) if judged else None
    wears: dict[str, Any] = {name: arrays.get(name) for name in ("jumps", "restless")}
    columns = tuple(numbers["column_names"])
    frame = Frame(column_names=columns, conditions=conditions, watch=early, peers=peers, **wears, **fitted)
    head = _head(contents) if "whole" in manifest else None
    return Model(frame, head, _facts(manifest["facts"]), version)


def _head(contents: Contents) -> Head:
    manifest, files, modes = contents.manifest, contents.files, contents.manifest["modes"]
    return Head(
        horizon=manifest["horizon"],
        whole=_forests(contents, "whole", ""),
        late=_forests(contents, "late", "late_"),
        life=Weibull(**manifest["life"]),
        modes=modes and ModeHead(tuple(modes["names"]), np.array(modes["shares"]), _forest(files["modes.txt"])),
    )


def _facts(stored: Mapping[str, Any]) -> Facts:
    rivals = stored["rivals"]
    interval = np.inf if rivals["interval"] is None else rivals["interval"]
    chosen = Rivals(tuple(rivals["lengths"]), interval, rivals["threshold"])
    return Facts(**{**stored, "origin": Origin(stored["origin"]), "rivals": chosen})


def _forests(contents: Contents, kind: str, prefix: str) -> Forests:
    described, files = contents.manifest[kind], contents.files
    cap, ends = np.inf if described["cap"] is None else described["cap"], tuple(described["ends"])
    squared, poisson = (
        tuple(_forest(files[f"{prefix}{loss}{number}.txt"]) for number in range(len(ends))) for loss in _LOSSES
    )
    return Forests(
        target=Target(cap, described["log"]),
        reach=described["reach"],
        ends=ends,
        squared=squared,
        poisson=poisson,
        spread=Spread(**_arrays(files[f"{prefix}spread.npz"])),
        far=_far(files, prefix),
    )


def _far(files: Mapping[str, bytes], prefix: str) -> Far | None:
    if f"{prefix}far.txt" not in files:
        return None
    return Far(_forest(files[f"{prefix}far.txt"]), Spread(**_arrays(files[f"{prefix}far_spread.npz"])))


def _forest(text: bytes) -> lgb.Booster:
    return lgb.Booster(model_str=text.decode())


def _arrays(body: bytes) -> dict[str, Any]:
    with np.load(io.BytesIO(body), allow_pickle=False) as archive:
        return dict(archive)


def _archive(arrays: Mapping[str, Any]) -> bytes:
    body = io.BytesIO()
    np.savez(body, **arrays)  # uncompressed, without times: equal arrays give equal bytes
    return body.getvalue()


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _write(files: Mapping[str, bytes], folder: Path) -> Path:
    """Write a folder that is either there as a whole or not at all."""
    _remove_unfinished(folder.parent)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=_UNFINISHED))
    try:
        temporary.chmod(0o755)
        for name, body in files.items():
            with (temporary / name).open("wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
        durable.sync(temporary)
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    durable.sync(folder.parent)
    return folder


def _remove_unfinished(folder: Path) -> None:
    """Remove what was left behind by others that were killed, and not what somebody writes just now."""
    for path in folder.glob(f"{_UNFINISHED}*"):
        if path.stat().st_mtime < time.time() - UNFINISHED_S:
            shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(_prove(Path(sys.argv[1]), sys.argv[2]))
