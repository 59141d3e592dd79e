"""A checkpoint counts only when it is whole, of this run, and its best model is whole too."""

import json
import random

import pytest

from worker_client.training import checkpoints


def make_checkpoint(root, step, *, best=None, fingerprint="run", stopped=False):
    folder = root / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    control = {"args": {"should_training_stop": stopped}}
    state = {"global_step": step, "best_global_step": best, "stateful_callbacks": {"TrainerControl": control}}
    (folder / checkpoints.STATE).write_text(json.dumps(state))
    (folder / "optimizer.pt").write_bytes(b"moments" * 100)
    checkpoints.seal(folder, fingerprint)
    return folder


def newest_usable(root):
    return checkpoints.newest_usable(checkpoints.survey(root), "run")


def test_the_newest_intact_checkpoint_is_used(tmp_path):
    for step in (9, 10, 100):
        make_checkpoint(tmp_path, step)
    assert newest_usable(tmp_path).step == 100


def damage_cut(folder):
    (folder / "optimizer.pt").write_bytes(b"moments")


def damage_flip(folder):
    whole = bytearray((folder / "optimizer.pt").read_bytes())
    whole[5] ^= 1
    (folder / "optimizer.pt").write_bytes(whole)


def damage_missing(folder):
    (folder / checkpoints.STATE).unlink()


@pytest.mark.parametrize("damage", [damage_cut, damage_flip, damage_missing, checkpoints.unseal])
def test_a_damaged_checkpoint_is_skipped_for_the_one_before(tmp_path, damage):
    make_checkpoint(tmp_path, 1)
    damage(make_checkpoint(tmp_path, 2))
    assert newest_usable(tmp_path).step == 1


def whole_state(root):
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def corrupt(folder, dice):
    """One random fault of a disk: a file cut, one bit of it turned, a file gone, the manifest gone."""
    victim = dice.choice(sorted(folder.iterdir()))
    content = bytearray(victim.read_bytes())
    kind = dice.choice(["cut", "flip", "gone", "unsealed"])
    if kind == "cut":
        victim.write_bytes(content[: dice.randrange(len(content))])
    elif kind == "flip":
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
        victim.write_bytes(content)
    else:
        (victim if kind == "gone" else folder / checkpoints.MANIFEST).unlink()


@pytest.mark.parametrize("seed", range(100))
def test_no_random_damage_is_loaded_or_crashes_and_the_one_before_is_used(tmp_path, seed):
    make_checkpoint(tmp_path, 100)
    folder = make_checkpoint(tmp_path, 200)
    before = whole_state(folder)
    corrupt(folder, random.Random(seed))
    assert whole_state(folder) != before
    survey = checkpoints.survey(tmp_path)
    assert checkpoints.damaged(survey) == [200]
    assert checkpoints.newest_usable(survey, "run").step == 100
    assert checkpoints.drop_others(survey, checkpoints.newest_usable(survey, "run"), "run") == ["checkpoint-200"]


def test_files_that_were_not_there_when_it_was_sealed_do_no_harm(tmp_path):
    (make_checkpoint(tmp_path, 1) / ".DS_Store").write_bytes(b"x")
    assert newest_usable(tmp_path).step == 1


def test_a_checkpoint_of_other_settings_is_not_used(tmp_path):
    make_checkpoint(tmp_path, 1, fingerprint="other")
    assert newest_usable(tmp_path) is None


def test_a_checkpoint_whose_best_model_is_damaged_is_not_used(tmp_path):
    damage_cut(make_checkpoint(tmp_path, 2))
    make_checkpoint(tmp_path, 1, best=1)
    make_checkpoint(tmp_path, 3, best=2)
    assert newest_usable(tmp_path).step == 1


def test_no_checkpoint_is_no_fault(tmp_path):
    assert newest_usable(tmp_path / "never made") is None


def test_what_cannot_be_used_is_deleted_before_the_training_goes_on(tmp_path):
    make_checkpoint(tmp_path, 2)
    make_checkpoint(tmp_path, 1, fingerprint="other")
    damage_cut(make_checkpoint(tmp_path, 3))
    survey = checkpoints.survey(tmp_path)
    used = checkpoints.newest_usable(survey, "run")
    assert checkpoints.damaged(survey) == [3]
    assert sorted(checkpoints.drop_others(survey, used, "run")) == ["checkpoint-1", "checkpoint-3"]
    assert [folder.name for folder in tmp_path.iterdir()] == ["checkpoint-2"]


def test_the_newest_two_and_the_best_are_kept(tmp_path):
    for step in range(1, 6):
        make_checkpoint(tmp_path, step)
    checkpoints.prune(tmp_path, best_step=2)
    assert sorted(folder.name[-1] for folder in tmp_path.iterdir()) == ["2", "4", "5"]


def test_a_checkpoint_that_cannot_be_deleted_now_is_deleted_later_and_ends_no_run(tmp_path, monkeypatch):
    for step in range(1, 4):
        make_checkpoint(tmp_path, step)
    with monkeypatch.context() as held:
        held.setattr(checkpoints.os, "unlink", raise_access_denied)
        checkpoints.prune(tmp_path, best_step=None)
    checkpoints.prune(tmp_path, best_step=None)
    assert sorted(folder.name[-1] for folder in tmp_path.iterdir()) == ["2", "3"]


def raise_access_denied(*_, **__):
    raise PermissionError(13, "Access is denied")


def test_a_checkpoint_remembers_that_early_stopping_had_ended_the_training(tmp_path):
    make_checkpoint(tmp_path, 1, stopped=True)
    assert newest_usable(tmp_path).stopped_early
