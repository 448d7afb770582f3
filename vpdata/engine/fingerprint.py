"""What the results of each stage depend on, kept beside them, so that two settings never mix in one run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vpdata.config import public, to_plain
from vpdata.dataset import layout
from vpdata.dataset.run import Run
from vpdata.engine.again import remove_pack
from vpdata.engine.settings import EngineSettings
from vpdata.errors import RunError
from vpdata.sources import Input
from vpdata.stages.base import Stage
from vpdata.stages.rules import RULES, FilterSettings, loosened, only
from vpdata.storage import Folder


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Content of `stage.json`."""

    stage: str
    identity: Mapping[str, Any]
    """What the stage says can change its result."""
    models: Sequence[Mapping[str, Any]] = ()
    early_rules: Mapping[str, Any] | None = None
    """The bounds of the rules its records were judged by right away; None: they were not."""
    input: str = ""
    """Fingerprint of the stage before."""
    fingerprint: str = ""
    """Of all the above."""

    def to_json(self) -> bytes:
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True).encode()


def states_of(run: Run, stages: Sequence[Stage], rules: FilterSettings) -> dict[str, State]:
    """The state of each stage by name, as it is stored or would be; RunError where the run has other settings."""
    states: dict[str, State] = {}
    before = ""
    for stage in stages:
        stored = read_state(run.stage_folder(stage.name), layout.STAGE_STATE)
        if stored is None:
            early = {rule.name: rules.rules[rule.name] for rule in RULES if rule.after == stage.name}
            state = state_of(stage, early_rules=early if rules.early else None, before=before)
        else:
            _refuse_looser_rules(stored, rules)
            state = state_of(stage, early_rules=stored.early_rules, before=before)
            refuse_changes(stored, state)
        states[stage.name] = state
        before = state.fingerprint
    return states


def settle_stages(run: Run, stages: Sequence[Stage], rules: FilterSettings) -> dict[str, State]:
    """As `states_of`, and store them.

    A stage that has no `stage.json` starts from an empty folder: what lies there is left over from an interrupted redo.
    """
    states = states_of(run, stages, rules)
    for name, state in states.items():
        folder = run.stage_folder(name)
        if not folder.exists(layout.STAGE_STATE):
            folder.remove_all()
            folder.write(layout.STAGE_STATE, state.to_json())
    return states


def settle_pack(run: Run, source: Input, engine: EngineSettings, last: State) -> None:
    """As `settle_stages`, for the plan of the shards."""
    shaping = ("shard_mb", "near_duplicate_frac", "semantic_duplicate_cosine")
    identity = {name: getattr(engine, name) for name in shaping}
    state = with_fingerprint(State(stage=layout.PACK, identity=identity, input=last.fingerprint))
    stored = read_state(run.folder, layout.PACK_STATE)
    if stored is None:
        remove_pack(run, source, recut=())
        run.folder.write(layout.PACK_STATE, state.to_json())
    else:
        refuse_changes(stored, state)


def early_rules_of(state: State) -> FilterSettings | None:
    """The rules that the rest of a stage's parts must be judged by as well, all others switched off."""
    if state.early_rules is None:
        return None
    return only(state.early_rules)


def with_fingerprint(state: State) -> State:
    """The state with its fingerprint filled in."""
    content = dataclasses.replace(state, fingerprint="").to_json()
    return dataclasses.replace(state, fingerprint=hashlib.sha256(content).hexdigest())


def read_state(folder: Folder, name: str) -> State | None:
    """The stored state, None where there is none; RunError for one that is damaged, or of a later version."""
    if not folder.exists(name):
        return None
    try:
        return State(**json.loads(folder.read(name)))
    except (ValueError, TypeError) as error:
        raise RunError(
            f"{folder.uri}/{name} cannot be read: got {error}, wanted what this version of vpdata writes; put back a "
            "good copy of it, or make its stage anew (--redo STAGE)"
        ) from error


def refuse_changes(stored: State, state: State) -> None:
    """RunError that names what differs and the flag that makes this part of the run anew.

    Of another version of the stage the settings are not compared: their form may differ.
    """
    if stored.fingerprint == state.fingerprint:
        return
    old, new = (one.identity.get("version") for one in (stored, state))
    if old == new:
        changes = "; ".join(_changes(dataclasses.asdict(stored), dataclasses.asdict(state), stage=state.stage))
        what, way_back = f"with other settings: {changes}", "set them back"
    else:
        what = f"by another release of vpdata, which worked otherwise (version {old} of the stage, here {new})"
        way_back = "go on with that one"
    raise RunError(
        f"stage {state.stage} was run {what}; {way_back}, or add --redo {state.stage} to make its results, and all "
        f"that follow from them, anew"
    )


def state_of(stage: Stage, *, early_rules: Mapping[str, Any] | None, before: str) -> State:
    """What the results of a stage depend on; `before` is the fingerprint of what it works on."""
    plain = {
        "stage": stage.name,
        "identity": public(to_plain(stage.identity)),
        "models": [to_plain(card) for card in stage.models],
        "early_rules": early_rules,
        "input": before,
    }
    # Through JSON, so that a stored state and a new one are compared in the same form.
    return with_fingerprint(State(**json.loads(json.dumps(plain))))


def _refuse_looser_rules(stored: State, rules: FilterSettings) -> None:
    before = early_rules_of(stored)
    looser = loosened(before, rules, after=stored.stage) if before is not None else []
    if looser:
        raise RunError(
            f"stage {stored.stage} has already dropped clips by stricter rules ({'; '.join(looser)}); set them back, "
            f"or add --redo {stored.stage} to judge them anew"
        )


def _changes(stored: Mapping[str, Any], now: Mapping[str, Any], *, stage: str, where: str = "") -> Iterator[str]:
    for key in sorted(stored.keys() | now.keys()):
        old, new = stored.get(key), now.get(key)
        if old == new or key == "fingerprint":
            continue
        name = f"{where}.{key}" if where else key
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _changes(old, new, stage=stage, where=name)
        else:
            yield f"{_setting(name, stage)}: got {new!r}, the run has {old!r}"


def _setting(name: str, stage: str) -> str:
    """What is stored under a name, as a config and `--set` call it."""
    inside = name.removeprefix("identity.")
    if inside.startswith("settings."):
        return f"{stage}.{inside.removeprefix('settings.')}"
    if inside.startswith("rules."):
        return f"{stage}.{inside}"
    return f"engine.{inside}" if stage == layout.PACK and inside != name else inside
