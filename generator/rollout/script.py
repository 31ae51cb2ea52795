"""A plan as a shell script with files beside it. It waits, and stops at the first thing that is not so."""

from __future__ import annotations

import json
import shlex

from generator.output import stream
from generator.rollout.actions import Action, ApplyDocuments, Patch
from generator.rollout.drive import REQUIRE_SECONDS, WAIT_SECONDS
from generator.rollout.steps import RolloutPlan, Step

SCRIPT = "rollout.sh"
FUNCTIONS = r"""
set -eu
cd "$(dirname "$0")"
k() { kubectl "$@" --namespace "$NAMESPACE"; }
value() { k get "$1" "$2" --ignore-not-found --output "jsonpath=$3"; }
exists() { [ -n "$(k get "$1" "$2" --ignore-not-found --output name)" ]; }
gone() { ! exists "$1" "$2"; }
describes() {
  text=$(value "$1" "$2" "$3"); shift 3
  for each; do case $text in *"$each"*) ;; *) return 1 ;; esac; done
}
ready() {
  name=$1 pods=$2; shift 2
  describes deployment "$name" '{.spec.template}' "$@" || return 1
  fields='{.metadata.generation}/{.status.observedGeneration}'
  fields=$fields'/{.status.replicas}/{.status.updatedReplicas}/{.status.availableReplicas}'
  state=$(value deployment "$name" "$fields")
  IFS=/ read -r generation observed replicas updated available <<END
$state
END
  [ "$generation" = "$observed" ] && [ "$replicas" = "$updated" ] && [ "${available:-0}" -ge "$pods" ]
}
min_replicas() { least=$(value inferenceservice "$1" '{.spec.predictor.minReplicas}'); [ "${least:-0}" -ge "$2" ]; }
canary_percent() { [ "$(value inferenceservice "$1" '{.spec.predictor.canaryTrafficPercent}')" = "$2" ]; }
accepted() {
  generation=$(value httproute "$1" '{.metadata.generation}')
  [ -n "$generation" ] || return 1
  said=$(value httproute "$1" '{range .status.parents[*].conditions[*]}{.type}={.status}@{.observedGeneration} {end}')
  case $said in *=False@*) return 1 ;; esac
  case $said in *"Accepted=True@$generation "*) ;; *) return 1 ;; esac
  case $said in *"ResolvedRefs=True@$generation "*) ;; *) return 1 ;; esac
}
weights() { [ "$(value httproute "$1" '{range .spec.rules[-1:].backendRefs[*]}{.name}={.weight} {end}')" = "$2" ]; }
settled() { [ "$(value ksvc "$1" '{.metadata.generation}')" = "$(value ksvc "$1" '{.status.observedGeneration}')" ]; }
revision_ready() {
  name=$1; shift
  newest=$(value ksvc "$name" '{.status.latestCreatedRevisionName}')
  [ -n "$newest" ] && [ "$newest" = "$(value ksvc "$name" '{.status.latestReadyRevisionName}')" ] || return 1
  settled "$name" && describes revision "$newest" '{.spec}' "$@"
}
rolled_out() {
  recorded=$(value inferenceservice "$1" '{.status.components.predictor.latestRolledoutRevision}')
  [ -n "$recorded" ] && [ "$recorded" = "$(value ksvc "$2" '{.status.latestReadyRevisionName}')" ]
}
latest_share() {
  shares=$(value ksvc "$1" '{range .status.traffic[?(@.latestRevision==true)]}{.percent}+{end}0')
  settled "$1" && [ "$((shares))" -eq "$2" ]
}
stop() { echo "stopped: $1" >&2; exit 1; }
hold_within() {
  seconds=$1 text=$2; shift 2
  left=$seconds
  until "$@"; do
    [ "$left" -gt 0 ] || stop "after $seconds s this does not hold: $text"
    left=$((left - 1)); sleep 1
  done
}
require() { hold_within "$REQUIRE_SECONDS" "$@"; }
wait_for() { hold_within "$WAIT_SECONDS" "$@"; }
""".strip()


def script(plan: RolloutPlan, namespace: str, context: str | None = None) -> dict[str, str]:
    """The files of a folder: the script, and what it patches and applies."""
    files: dict[str, str] = {}
    lines = [
        "#!/bin/sh",
        f"# {plan.note}",
        "# May be run again after an interruption: what has been done is passed over.",
        f"NAMESPACE={shlex.quote(namespace)}",
        f"WAIT_SECONDS=${{WAIT_SECONDS:-{WAIT_SECONDS:.0f}}}",
        f"REQUIRE_SECONDS={REQUIRE_SECONDS:.0f}",
        *([f'kubectl() {{ command kubectl --context {shlex.quote(context)} "$@"; }}'] if context else []),
        FUNCTIONS,
    ]
    for number, step in enumerate(plan.steps, 1):
        lines += ["", *of_step(number, len(plan.steps), step, files)]
    lines += ["", f"echo {shlex.quote('done: ' + plan.note)}"]
    return {SCRIPT: "\n".join(lines) + "\n", **files}


def of_step(number: int, total: int, step: Step, files: dict[str, str]) -> list[str]:
    title = shlex.quote(f"{number}/{total} {step.text}")
    if step.moot:
        passed = " && ".join(each.shell() for each in step.moot)
        return [
            f"if {passed}; then",
            f"  echo {title}: done before",
            "else",
            *indented(carried(number, title, step, files)),
            "fi",
        ]
    return carried(number, title, step, files)


def carried(number: int, title: str, step: Step, files: dict[str, str]) -> list[str]:
    acts = [f"require {shlex.quote(str(each))} {each.shell()}" for each in step.requires]
    acts += [command(number, place, each, files) for place, each in enumerate(step.actions)]
    lines = [f"echo {title}"]
    if step.done:
        done = " && ".join(each.shell() for each in step.done)
        lines += [f"if ! {{ {done}; }}; then", *indented(acts), "fi"]
    else:
        lines += acts
    lines += [f"wait_for {shlex.quote(str(each))} {each.shell()}" for each in step.waits]
    if step.settle:
        lines += [
            f"sleep {step.settle:g}",
            *(f"{each.shell()} || stop {shlex.quote(str(each))}" for each in step.waits),
        ]
    return lines


def indented(lines: list[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def command(number: int, place: int, action: Action, files: dict[str, str]) -> str:
    """The kubectl command of an action, whose content goes into a file."""
    if isinstance(action, ApplyDocuments):
        name = f"{number}-{action.documents[0]['metadata']['name']}.yaml"
        files[name] = stream(action.documents)
        return action.command(file=name)
    if isinstance(action, Patch):
        name = f"{number}-{action.kind.lower()}-{action.name}.patch.json"
        files[name] = json.dumps(action.content, indent=2, ensure_ascii=False) + "\n"
        return action.command(file=name)
    return action.command()
