"""Models as folders: what comes back, what is refused, and that no damage takes this process down."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pdm.adapters import model_folder
from pdm.adapters.model_folder import MANIFEST
from pdm.errors import DamagedModelError, ForeignModelError
from pdm.features.frame import Peers
from pdm.learn import train
from pdm.prognosis import learned
from pdm.prognosis.learned import Origin, Rivals, head_of
from tests.adapters import publish_sweep
from tests.small_lives import FAN, fan_lives, fan_model, fan_watch


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a good model, proven."""
    folder = model_folder.save(fan_model(), tmp_path_factory.mktemp("models"))
    model_folder.load(folder, FAN)
    return folder


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    """A copy of it to damage."""
    return Path(shutil.copytree(saved, tmp_path / "fan" / saved.name))


def reseal(folder: Path) -> Path:
    """Make the manifest agree with files that somebody changed, and the name of the folder with the manifest."""
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"] = {
        path.name: model_folder._digest(path.read_bytes()) for path in folder.iterdir() if path.name != MANIFEST
    }
    return renamed(folder, json.dumps(manifest))


def renamed(folder: Path, manifest: str) -> Path:
    """Another manifest, in a folder that is called after it."""
    (folder / MANIFEST).write_text(manifest)
    return folder.rename(folder.parent / f"0001-{model_folder._digest(manifest.encode())[:12]}")


def test_what_was_saved_comes_back(saved: Path) -> None:
    model, again = fan_model(), model_folder.load(saved, FAN)
    assert again.facts == model.facts
    assert again.version == saved.name
    steps = np.random.default_rng(1).normal(5.0, 3.0, (70, 9, 4))
    expected, found = (model_folder.golden_answer(one, steps) for one in (model, again))
    assert found.tobytes() == expected.tobytes()


def test_a_model_that_forecasts_nothing_comes_back_too(tmp_path: Path) -> None:
    folder = model_folder.save(fan_watch(), tmp_path)
    again, steps = model_folder.load(folder, FAN), np.random.default_rng(1).normal(5.0, 3.0, (70, 9, 4))
    assert again.head is None
    assert again.facts == fan_watch().facts
    expected, found = (model_folder.golden_answer(one, steps) for one in (fan_watch(), again))
    assert found.tobytes() == expected.tobytes()
    assert sorted(path.name for path in folder.iterdir()) == ["card.md", "frame.npz", "golden.npz", MANIFEST]
    card = (folder / "card.md").read_text()
    assert "alarm only" in card
    assert "early steps of 30 machines left out" in card


def test_peers_are_kept_and_the_card_names_them_and_a_model_without_them_has_none(tmp_path: Path) -> None:
    model, p = fan_model(), fan_model().frame.sensors
    rest = ", ".join(model.frame.channel_names[1:p])
    for peers, line in (
        (Peers(np.arange(p) == 0, np.eye(p), np.full(p, 3.0)), f"{model.frame.channel_names[0]}; not of {rest}"),
        (None, "no sensor"),
    ):
        folder = model_folder.save(replace(model, frame=replace(model.frame, peers=peers)), tmp_path)
        again = model_folder.load(folder, FAN).frame.peers
        assert f"| drift judged of | {line} |" in (folder / "card.md").read_text()
        assert (again is None) == (peers is None)
        if again is not None and peers is not None:
            for name in ("judged", "weights", "limit"):
                np.testing.assert_array_equal(getattr(again, name), getattr(peers, name))


@pytest.mark.parametrize(("what", "title"), [("jumps", "jumps are"), ("restless", "more noise is")])
def test_sensors_whose_jumps_or_noise_are_wear_are_kept_and_the_card_names_them(
    tmp_path: Path, what: str, title: str
) -> None:
    model = fan_model()
    first = np.arange(model.frame.sensors) == 0
    for wears, line in ((first, model.frame.channel_names[0]), (None, "no sensor")):
        changed: dict[str, Any] = {what: wears}
        folder = model_folder.save(replace(model, frame=replace(model.frame, **changed)), tmp_path)
        again = getattr(model_folder.load(folder, FAN).frame, what)
        assert f"| {title} wear of | {line} |" in (folder / "card.md").read_text()
        assert (again is None) == (wears is None)
        assert again is None or again.tolist() == first.tolist()


def test_a_watch_that_does_not_say_what_it_said_at_training_is_refused(tmp_path: Path) -> None:
    folder = model_folder.save(fan_watch(), tmp_path / "fan")
    with np.load(folder / "golden.npz") as golden:
        changed = {"steps": golden["steps"], "departures": golden["departures"] + 1e-6}
    np.savez(folder / "golden.npz", **changed)
    with pytest.raises(DamagedModelError, match="does not reproduce its golden rows"):
        model_folder.load(reseal(folder), FAN)


def test_equal_models_are_the_same_version_byte_for_byte(saved: Path, tmp_path: Path) -> None:
    again = model_folder.save(train(FAN, fan_lives(20), seed=3, origin=Origin.SIMULATED), tmp_path)
    assert again.name == saved.name
    assert {p.name: p.read_bytes() for p in again.iterdir()} == {p.name: p.read_bytes() for p in saved.iterdir()}
    assert model_folder.save(fan_model(), tmp_path) == again
    assert len(list((tmp_path / "fan").iterdir())) == 1


def test_versions_are_numbered_in_the_order_of_training(tmp_path: Path) -> None:
    model = fan_model()
    for seed in (9, 1, 5):
        model_folder.save(replace(model, facts=replace(model.facts, seed=seed)), tmp_path)
    (tmp_path / "fan" / ".new-half-written").mkdir()
    versions = model_folder.versions(tmp_path, "fan")
    assert [version.split("-")[0] for version in versions] == ["0001", "0002", "0003"]
    seeds = [json.loads((tmp_path / "fan" / v / MANIFEST).read_text())["facts"]["seed"] for v in versions]
    assert seeds == [9, 1, 5]


def test_a_class_without_models_has_no_versions(tmp_path: Path) -> None:
    assert model_folder.versions(tmp_path, "fan") == []


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        model_folder.save(fan_model(), tmp_path)
    assert list((tmp_path / "fan").iterdir()) == []


@pytest.mark.timeout(300)
def test_killed_anywhere_publishing_and_activating_leave_a_model_that_can_be_used(copy: Path) -> None:
    found = publish_sweep.kill_everywhere(copy.parent.parent, 17)
    assert min(found.kills, found.activation_kills) >= 3
    assert (found.unusable, found.left_behind, found.neither) == (0, 0, 0)


def test_a_proven_model_needs_no_second_child(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("a child was started"))
    assert model_folder.load(saved, FAN).version == saved.name


def test_a_policy_that_never_acts_survives_the_manifest(tmp_path: Path) -> None:
    model = replace(fan_model(), facts=replace(fan_model().facts, rivals=Rivals((1.0, 2.0))))
    folder = model_folder.save(model, tmp_path)
    assert "Infinity" not in (folder / MANIFEST).read_text()
    assert model_folder.load(folder, FAN).facts.rivals == model.facts.rivals


def test_the_card_says_what_the_model_rests_on(saved: Path) -> None:
    card = (saved / "card.md").read_text()
    assert "20, of which 20 ended in failure (bearing 10, belt 10)" in card
    assert "simulated" in card


def test_a_model_of_another_class_is_refused(saved: Path) -> None:
    other = replace(FAN, sensors=(replace(FAN.sensors[0], unit="kW"), *FAN.sensors[1:]))
    with pytest.raises(ForeignModelError, match="another description of class fan"):
        model_folder.load(saved, other)


def test_a_model_of_another_recipe_is_refused(tmp_path: Path) -> None:
    old = replace(fan_model(), facts=replace(fan_model().facts, recipe=learned.RECIPE - 1))
    with pytest.raises(ForeignModelError, match="another recipe"):
        model_folder.load(model_folder.save(old, tmp_path), FAN)


def flip(path: Path) -> None:
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 0x10
    path.write_bytes(bytes(body))


def swap(path: Path) -> None:
    other = path.parent / ("poisson0.txt" if path.name == "squared0.txt" else "squared0.txt")
    path.write_bytes(other.read_bytes())


def link(path: Path) -> None:
    target = path.rename(path.parent.parent / path.name)
    path.symlink_to(target)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def pipe(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [flip, truncate, swap, link, pipe, Path.unlink])
@pytest.mark.parametrize("name", ["squared0.txt", "frame.npz", "card.md"])
def test_a_file_that_is_not_what_the_manifest_says_is_refused(
    copy: Path, name: str, damage: Callable[[Path], None]
) -> None:
    damage(copy / name)
    with pytest.raises(DamagedModelError):
        model_folder.load(copy, FAN)


def test_a_file_that_the_manifest_does_not_know_is_refused(copy: Path) -> None:
    (copy / "extra.txt").write_text("?")
    with pytest.raises(DamagedModelError, match=r"extra\.txt"):
        model_folder.load(copy, FAN)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": {"../../secret": "00"}}', '{"files": 1}', "\0"])
def test_a_manifest_that_makes_no_sense_is_refused(copy: Path, text: str) -> None:
    copy = renamed(copy, text)
    with pytest.raises(DamagedModelError):
        model_folder.load(copy, FAN)


def test_a_manifest_that_was_changed_does_not_match_the_name_of_its_folder(copy: Path) -> None:
    manifest = json.loads((copy / MANIFEST).read_text())
    (copy / MANIFEST).write_text(json.dumps(manifest | {"horizon": 41.0}))
    with pytest.raises(DamagedModelError, match="does not match the hash in its name"):
        model_folder.load(copy, FAN)


def test_a_manifest_that_does_not_say_whose_model_it_is_is_refused(copy: Path) -> None:
    manifest = json.loads((copy / MANIFEST).read_text())
    copy = renamed(copy, json.dumps(manifest | {"facts": None}))
    with pytest.raises(DamagedModelError, match="whose"):
        model_folder.load(copy, FAN)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DamagedModelError):
        model_folder.load(tmp_path / "nothing", FAN)


@pytest.mark.parametrize("share", [0.0, 0.03, 0.5, 0.99])
def test_a_truncated_forest_with_the_right_hash_kills_only_the_child(copy: Path, share: float) -> None:
    forest = copy / "squared0.txt"
    body = forest.read_bytes()
    forest.write_bytes(body[: int(share * len(body))])
    copy = reseal(copy)
    with pytest.raises(DamagedModelError):
        model_folder.load(copy, FAN)


def test_a_forest_of_another_model_does_not_reproduce_the_golden_rows(copy: Path) -> None:
    swap(copy / "squared0.txt")
    copy = reseal(copy)
    with pytest.raises(DamagedModelError, match="golden rows"):
        model_folder.load(copy, FAN)


def test_arrays_that_hold_objects_are_not_unpickled(copy: Path) -> None:
    np.savez(copy / "spread.npz", expected=np.array([{"a": 1}], dtype=object))
    copy = reseal(copy)
    with pytest.raises(DamagedModelError):
        model_folder.load(copy, FAN)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_no_damage_to_a_forest_takes_this_process_down(copy: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    forest = copy / random.choice(["squared0.txt", "poisson0.txt", "modes.txt"])
    body = bytearray(forest.read_bytes())
    for at in random.integers(0, len(body), 40):
        body[at] = random.integers(256)
    forest.write_bytes(bytes(body))
    copy = reseal(copy)
    try:
        model = model_folder.load(copy, FAN)
    except DamagedModelError:
        return
    assert np.isfinite(head_of(model).whole.spread.quantiles).all()
